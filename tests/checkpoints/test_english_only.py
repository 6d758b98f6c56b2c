"""English-only checkpoints: recognized, decoded, trained and published."""

import json
from pathlib import Path

import pytest

from tests.checkpoints.micro_checkpoint import edit, generation_config, speech
from whisper_pair import Pair
from whisper_pair.checkpoints.generation_config import (
    GPT2_END,
    WHISPER_END,
    is_multilingual,
)
from whisper_pair.config.load import load_config
from whisper_pair.errors import InputError


def test_whether_a_model_is_multilingual_is_told_by_its_tokenizer_and_vocabulary():
    names = {"<|nl|>": 50_300, "<|en|>": 50_259, "<|transcribe|>": 50_359, "<|translate|>": 50_358}
    english, whole = {**names, "<|endoftext|>": GPT2_END}, {**names, "<|endoftext|>": WHISPER_END}
    for config in ({}, {"is_multilingual": True}, {"is_multilingual": False}, {"lang_to_id": {"<|nl|>": 50_300}}):
        assert not is_multilingual(english, config)
        assert is_multilingual(whole, config)
    own = {**names, "<|endoftext|>": 550}
    assert is_multilingual(own, {})
    assert not is_multilingual(own, {"is_multilingual": False})
    assert is_multilingual(own, {"is_multilingual": False, "lang_to_id": {"<|nl|>": 50_300}})
    assert not is_multilingual({"<|endoftext|>": 550, "<|en|>": 551}, {})  # no tasks


@pytest.fixture
def english(main) -> Path:
    """As OpenAI's .en models: the tokenizer names languages, of which the model knows nothing."""
    edit(main, lang_to_id=None, task_to_id=None, is_multilingual=False)
    (main / "normalizer.json").write_text(json.dumps({"colour": "color"}))
    return main


def test_an_english_only_main_takes_english_or_no_language(english):
    pair = Pair.from_pretrained(str(english), None)
    features = pair.log_mel(pair.log_mel.pad([speech()]))
    theirs = pair.main.generate(features, num_beams=1, return_dict_in_generate=True, force_unique_generate_call=True)
    for language in (None, "en", "English"):
        (transcribed,) = pair.transcribe([features[0]], language=language)
        assert [*transcribed.decoded.prompt, *transcribed.tokens] == theirs.sequences[0].tolist()
        assert len(transcribed.decoded.prompt) == 2
    with pytest.raises(InputError, match=r"'nl' is not one of this model's .*English-only"):
        pair.transcribe([features[0]], language="nl")
    with pytest.raises(InputError, match="English-only model, which can only transcribe"):
        pair.transcribe([features[0]], task="translate")


def test_an_english_only_main_goes_from_training_to_publication(english, tmp_path, write_config):
    from distill.distil import distil
    from eval.evaluate import evaluate
    from train.finetune import finetune
    from whisper_pair.publishing.release import release

    path = write_config(
        tmp_path / "pair.yaml", language="en", model=str(english),
        distill={"max_compression_ratio": None, "max_repeats": None, "max_tokens_per_second": None},
        eval={"draft_tokens": [2], "batch_sizes": [1], "timed_clips": 1, "repeats": 1, "long_form_minutes": 0},
    )  # fmt: skip
    config = load_config(path)
    finetune(config)
    distil(config)
    assert evaluate(config) == 0
    report = json.loads((tmp_path / "output" / "eval" / "report.json").read_text())
    assert report["identity"]["identical"] == report["identity"]["utterances"] > 0
    assert {row["engine"] for row in report["speed"]["rows"]} >= {"pair", "transformers"}
    pair = Pair.from_pretrained(str(tmp_path / "output"))
    assert pair.transcribe([speech()], language="en")[0].decoded.prompt == [551, 657]
    assert generation_config(tmp_path / "output" / "main")["is_multilingual"] is False
    for repository in release(config, "some/one", "two", standalone=True, whatever_the_verdict=True):
        card = repository.files["README.md"]
        card = card.decode() if isinstance(card, bytes) else card.read_text()
        assert 'task="transcribe"' not in card
        assert "generate_kwargs" not in card
