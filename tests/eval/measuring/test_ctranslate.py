"""faster-whisper as a contender."""

import types

import torch

from eval.measuring import ctranslate
from whisper_pair.decoding.options import Options


def test_faster_whisper_gets_the_same_work_as_everyone_else():
    special = types.SimpleNamespace(
        suppressed=(7, 8),
        suppressed_first=(9,),
        language_token={"nl": 2}.__getitem__,
        prefix=lambda language, task, timestamps, prompt: [1, language, 3, 4],
        limit=lambda prefix, most: 448,
    )
    requested = ctranslate.settings(special, Options(language="nl"))
    new = min(requested["max_length"] // 2, requested["max_length"] - 4)  # as CTranslate2 counts
    assert new == 448 - 4
    assert (requested["prompts"], requested["beam_size"]) == ([[1, 2, 3, 4]], 1)
    assert (requested["suppress_tokens"], requested["suppress_blank"]) == ([7, 8], True)


def test_a_contender_that_is_missing_is_accounted_for(monkeypatch):
    main = types.SimpleNamespace(dtype=torch.bfloat16)
    monkeypatch.setattr(ctranslate, "installed", lambda: False)
    assert ctranslate.contenders(main, None, None)[1][0].startswith("faster-whisper, which is not installed")

    def refuse(*_):
        raise ValueError("no such\n  type")

    monkeypatch.setattr(ctranslate, "installed", lambda: True)
    monkeypatch.setattr(ctranslate, "faster_whisper", refuse)
    found, reasons = ctranslate.contenders(main, None, None)
    assert not found
    assert reasons == ["faster-whisper, which cannot take this main in bfloat16 (no such type)."]
