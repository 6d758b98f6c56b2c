"""Evaluations that are stopped, and those of several processes."""

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from transformers import WhisperProcessor

import eval.evaluate as stage
from eval.evaluate import evaluate
from eval.measuring import decoded_clips
from eval.measuring.engines import Assistant, Engines
from tests.eval.reports import report_of
from whisper_pair.audio.log_mel import LogMel
from whisper_pair.checkpoints.load import load_draft, load_main
from whisper_pair.commands.command_line import guarded
from whisper_pair.data.clips import Clip
from whisper_pair.data.corpus import load_test_clips


def test_an_evaluation_that_is_stopped_ends_with_143_and_goes_on_with_what_it_decoded(eval_config, monkeypatch, capsys):
    whole = eval_config()
    assert evaluate(whole) == 0
    monkeypatch.setattr(decoded_clips, "AT_ONCE", 1)
    config = replace(whole, output=whole.output + "-again")
    write, parts = decoded_clips.write_json, []

    def written(file, content) -> None:
        write(file, content)
        parts.append(file)
        if len(parts) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(decoded_clips, "write_json", written)
    assert guarded(lambda: evaluate(config)) == 143
    assert "stopped by SIGTERM; 2 of 3 test clips are decoded and kept; " in capsys.readouterr().err
    assert evaluate(config) == 0
    assert len(parts) == len(set(parts)) == 3
    assert not list(Path(config.output).rglob("decoded"))
    one, two = report_of(whole), report_of(config)
    for section in ("quality", "identity", "data", "utterances"):
        assert one[section] == two[section], section


def test_processes_decode_each_clip_once_and_all_get_every_result(eval_config, pair, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded_clips, "AT_ONCE", 2)
    main = load_main(pair[0], torch.float32)
    ours = Assistant("ours", pair[1], load_draft(pair[1], torch.float32), None)
    config = eval_config()
    log_mel = LogMel(WhisperProcessor.from_pretrained(pair[0]).feature_extractor)
    clips = load_test_clips(config.data.test, config.data, log_mel.seconds, "test")
    read, barrier = [], threading.Barrier(2, timeout=60)
    monkeypatch.setattr(Clip, "read", lambda self, original=Clip.read: read.append(self.name) or original(self))

    def decode_share(folder: Path, index: int, of: int):
        wait = barrier.wait if of > 1 else lambda: None
        me = SimpleNamespace(process_index=index, num_processes=of, is_main_process=index == 0, wait_for_everyone=wait)
        engines = Engines(main, [ours])
        return decoded_clips.decode_clips(engines, None, clips, log_mel, stage.options_of(config), folder, me)

    alone = decode_share(tmp_path / "one", 0, 1)
    read.clear()
    with ThreadPoolExecutor(2) as both:
        shares = list(both.map(lambda index: decode_share(tmp_path / "two", index, 2), range(2)))
    assert shares == [alone, alone]
    assert sorted(read) == sorted(clip.name for clip in clips)

    for file in (tmp_path / "one").glob("*.json"):  # as an older version wrote them: the choices beside the ranks
        part = json.loads(file.read_text())
        for stored in part["by"].values():
            stored["choices"] = [row.pop("choices") for row in stored["ranks"]]
        file.write_text(json.dumps(part))
    read.clear()
    assert decode_share(tmp_path / "one", 0, 1) == alone
    assert not read
