"""`whisper-pair publish` with the Hub's real client, against a Hub on the loopback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.hub_server import TOKEN, Hub
from tests.publishing.publishing import connected, environment, publish
from whisper_pair.audio.reading import read_audio
from whisper_pair.checkpoints.identity import check_pair
from whisper_pair.checkpoints.locate_pair import locate_pair
from whisper_pair.cli import main
from whisper_pair.errors import InputError


def test_a_killed_upload_goes_on_where_it_was_and_a_repeated_one_changes_nothing(run, hub, tmp_path, capsys):
    hub.hang_at = 2  # the assistant's weights; the main's are there by then
    command = [sys.executable, "-m", "whisper_pair.cli", "publish", str(run), "--to", "me/pair"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(hub, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert hub.hangs.wait(120)
    process.kill()
    message = process.communicate()[0].decode()
    assert len(hub.repos["me/pair"].commits) == 2
    assert len(hub.repos["me/pair-assistant"].commits) == 1  # nothing of it is to be seen
    assert publish(run, "--to", "me/pair") == 0
    assert len(hub.puts) == 3  # the main's was not sent again
    assert len(hub.repos["me/pair"].commits) == len(hub.repos["me/pair-assistant"].commits) == 2
    assert publish(run, "--to", "me/pair") == 0
    assert len(hub.puts) == 3
    assert len(hub.repos["me/pair"].commits) == len(hub.repos["me/pair-assistant"].commits) == 2
    printed = capsys.readouterr()
    assert TOKEN not in message + printed.out + printed.err


def test_a_large_file_goes_in_parts_where_the_hub_asks_for_them(run, monkeypatch, tmp_path):
    with connected(Hub(part=100_000), monkeypatch, tmp_path) as hub:
        assert publish(run, "--to", "me/pair") == 0
        weights = (run / "main" / "model.safetensors").read_bytes()
        assert hub.repos["me/pair"].files["model.safetensors"] == weights
        assert len(hub.puts) > len(weights) // 100_000


def test_by_xet_a_repeated_upload_sends_and_changes_nothing(run, xet_hub, tmp_path, command):
    def stored():
        return {file: file.stat().st_mtime_ns for file in (tmp_path / "storage" / "xet" / "xorbs" / "xorbs").iterdir()}

    arguments = ["-m", "whisper_pair.cli", "publish", run, "--to", "me/pair"]
    assert command(*arguments, **environment(xet_hub, tmp_path / "one")).returncode == 0
    assert xet_hub.puts == []  # nothing went another way
    sent = stored()
    again = command(*arguments, **environment(xet_hub, tmp_path / "other"))  # a machine that knows nothing of the first
    assert again.returncode == 0, again.stderr
    assert stored() == sent
    assert len(xet_hub.repos["me/pair"].commits) == len(xet_hub.repos["me/pair-assistant"].commits) == 2
    assert TOKEN not in again.stdout + again.stderr


def test_a_hub_without_xet_and_one_out_of_reach_are_reported_in_one_sentence(run, hub, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    assert publish(run, "--to", "me/pair") == 2
    assert "HF_HUB_DISABLE_XET=1" in capsys.readouterr().err
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert publish(run, "--to", "me/pair") == 2
    error = capsys.readouterr().err
    assert "give the same command again" in error
    assert "Traceback" not in error


def test_what_was_published_gives_stock_transformers_the_same_text_elsewhere(run, xet_hub, demo_data, tmp_path, capsys):
    hub = xet_hub
    assert publish(run, "--to", "me/pair", "--standalone") == 0
    assert set(hub.repos) == {"me/pair", "me/pair-assistant", "me/pair-standalone"}
    clip = sorted((demo_data / "test").glob("*.wav"))[0]
    script = f"""
import importlib.util, soundfile, sys
sys.meta_path = [finder for finder in sys.meta_path if "__editable__" not in type(finder).__module__ + repr(finder)]
sys.path = [place for place in sys.path if place != {str(ROOT)!r}]
assert importlib.util.find_spec("whisper_pair") is None  # another environment, without any of our code
from transformers import (AutoModelForCausalLM, AutoModelForSpeechSeq2Seq, AutoProcessor,
                          WhisperForConditionalGeneration)
main = AutoModelForSpeechSeq2Seq.from_pretrained("me/pair")
assistant = AutoModelForCausalLM.from_pretrained("me/pair-assistant")
alone = WhisperForConditionalGeneration.from_pretrained("me/pair-standalone")
processor = AutoProcessor.from_pretrained("me/pair")
samples, rate = soundfile.read({str(clip)!r}, dtype="float32")
inputs = processor(samples, sampling_rate=rate, return_tensors="pt")
for model, more in ((main, {{}}), (main, {{"assistant_model": assistant}}), (alone, {{}})):
    tokens = model.generate(**inputs, **more, language="nl", task="transcribe", max_new_tokens=8)
    print(repr(processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment(hub, tmp_path),
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    main_alone, assisted, standalone = done.stdout.splitlines()

    from whisper_pair import Pair

    pairs = (
        Pair.from_pretrained("me/pair"),
        Pair.from_pretrained("me/pair-assistant"),
        Pair.from_pretrained("me/pair", None),
    )
    for pair in pairs:
        transcribed = pair.transcribe([read_audio(clip)], language="nl", max_new_tokens=8, draft_tokens=3)[0].text
        assert repr(transcribed) == main_alone == assisted
    whole = Pair.from_pretrained(str(run / "standalone"), None)
    assert repr(whole.transcribe([read_audio(clip)], language="nl", max_new_tokens=8)[0].text) == standalone
    assert locate_pair("me/pair-assistant")[0] == locate_pair("me/pair")[0] == "me/pair"
    capsys.readouterr()
    assert main(["transcribe", str(clip), "--pair", "me/pair", "--language", "nl", "--no-timestamps"]) == 0
    message = capsys.readouterr().out.strip()
    assert message.startswith(main_alone.strip("'"))  # which was held to eight tokens
    assert main_alone != "''"


def test_a_main_without_an_assistant_of_its_own_is_no_pair(run, hub):
    assert publish(run, "--to", "me/pair") == 0
    assistant = hub.repos.pop("me/pair-assistant")
    with pytest.raises(InputError, match="me/pair-assistant was not found"):
        locate_pair("me/pair")
    manifest = json.loads(assistant.files["pair.json"]) | {"main": "me/another"}
    assistant.files["pair.json"] = json.dumps(manifest).encode()
    hub.repos["me/pair-assistant"] = assistant
    with pytest.raises(InputError, match="was made for me/another"):
        locate_pair("me/pair")


def test_one_repository_holds_both_where_that_is_wanted(run, hub):
    assert publish(run, "--to", "me/both", "--layout", "one", "--private") == 0
    assert hub.repos["me/both"].private
    files = set(hub.repos["me/both"].files)
    assert {"model.safetensors", "assistant/model.safetensors", "assistant/pair.json", "README.md"} <= files
    main_at, assistant_at = locate_pair("me/both")
    assert check_pair(Path(main_at), Path(assistant_at)).main == "me/both"


def test_shards_of_an_earlier_release_are_removed_in_the_same_commit(run, hub):
    assert publish(run, "--to", "me/pair") == 0
    hub.repos["me/pair"].files["model-00001-of-00002.safetensors"] = b"old"
    (run / "main" / "merges.txt").write_text("new")
    try:
        assert publish(run, "--to", "me/pair") == 0
    finally:
        (run / "main" / "merges.txt").unlink()
    assert "model-00001-of-00002.safetensors" not in hub.repos["me/pair"].files
    assert "merges.txt" in hub.repos["me/pair"].files
    assert len(hub.repos["me/pair"].commits) == 3


def test_without_a_token_the_way_to_log_in_is_named(run, hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert publish(run, "--to", "me/pair") == 2
    message = capsys.readouterr().err
    assert "hf auth login" in message
    assert "hf_wrong" not in message
