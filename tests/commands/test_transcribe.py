"""`whisper-pair transcribe`: files in, text and subtitles out, and where a pair may be."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from tests.conftest import ROOT
from tests.finished_run import write_run
from tests.sounds import encode, melody, written
from whisper_pair.audio.reading import read_audio
from whisper_pair.checkpoints import Capabilities
from whisper_pair.checkpoints.locate_pair import locate_pair
from whisper_pair.cli import main
from whisper_pair.errors import InputError


@pytest.fixture(scope="module")
def run(demo_data, write_config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder / "output", demo_data / "micro-whisper", write_config(folder / "pair.yaml"), max_length=12)
    return folder / "output"


@pytest.fixture(scope="module")
def clips(demo_data) -> list[str]:
    return [str(file) for file in sorted((demo_data / "test").glob("*.wav"))[:3]]


def video(path: Path, samples: np.ndarray) -> Path:
    """A Matroska file with a picture and sound."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=5)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        blank = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = 16_000
        for packet in [*picture.encode(blank), *picture.encode(None), *sound.encode(frame), *sound.encode(None)]:
            container.mux(packet)
    return path


def test_files_and_videos_become_subtitles_in_a_folder(pair, clips, tmp_path, capsys):
    film = video(tmp_path / "film.mkv", np.concatenate([read_audio(clip) for clip in clips]))
    out = tmp_path / "out"
    place = str(pair[0].parent)
    arguments = ["transcribe", clips[0], str(film), "--pair", place, "--language", "nl", "--output", str(out)]
    assert main([*arguments, "--format", "srt", "--words"]) == 0
    message = capsys.readouterr().err
    assert "2 files" in message
    assert "drafted tokens accepted" in message or "nothing was drafted" in message
    assert sorted(file.name for file in out.glob("[!.]*")) == [f"{Path(clips[0]).stem}.srt", "film.srt"]
    assert (out / "film.srt").read_text().startswith("1\n00:00:00,")


def test_finished_files_are_left_alone_until_overwritten(run, clips, tmp_path, capsys):
    arguments = ["transcribe", clips[0], "--pair", str(run), "--language", "nl", "--output", str(tmp_path)]
    target = tmp_path / f"{Path(clips[0]).stem}.txt"
    target.write_text("mine")
    assert main(arguments) == 0
    assert target.read_text() == "mine"
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--chunked"]) == 0
    assert target.read_text() != "mine"


def test_the_text_does_not_hang_on_batch_draft_or_assistant(run, clips, capsys):
    outputs = set()
    for more in (["--batch-size", "1"], ["--draft-tokens", "3"], ["--draft-tokens", "0"]):
        assert main(["transcribe", *clips, "--pair", str(run), "--language", "nl", *more]) == 0
        outputs.add(capsys.readouterr().out)
    assert main(["transcribe", *clips, "--main", str(run / "main"), "--language", "nl"]) == 0
    outputs.add(capsys.readouterr().out)
    assert len(outputs) == 1
    assert all(f"{clip}:\n" in next(iter(outputs)) for clip in clips)


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_done(run, clips, tmp_path, capsys):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    assert main(["transcribe", str(bad), clips[0], "--pair", str(run), "--language", "nl"]) == 2
    message = capsys.readouterr()
    assert f"error: {bad}: cannot be decoded as audio." in message.err
    assert clips[0] in message.out


def test_whatever_one_file_is_the_others_are_done_and_each_has_its_reason(run, clips, tmp_path, capsys, monkeypatch):
    """Names that cannot be printed or held by the folder, no files at all, playlists, other rates, a surprise."""
    good = Path(clips[0]).read_bytes()
    odd = {
        b"voicemail.wav": written(melody(2.0, 8_000), subtype="GSM610", rate=8_000),
        b"joined.aac": encode(melody(1.0), "aac") + encode(melody(1.0, 22_050), "aac", 22_050),
        b"latin-1-\xe9.wav": good,
        b"n" * 247 + b".wav": good,
        b"m" * 251 + b".wav": good,  # with .json it is too long
        b"list.m3u8": b"#EXTM3U\n/etc/passwd\n",
        b"surprise.flac": good,
    }
    for name, content in odd.items():
        (tmp_path / os.fsdecode(name)).write_bytes(content)
    os.mkfifo(tmp_path / "pipe.wav")
    names = [*map(os.fsdecode, odd), "pipe.wav", "gone.wav"]
    transcribing = sys.modules["whisper_pair.longform.transcribe"]  # the package gives the function that name
    opened = transcribing.Sound

    def surprised(source, *arguments, **more):
        if "surprise" in str(source):
            raise RuntimeError("nobody expects this\nat all")
        return opened(source, *arguments, **more)

    monkeypatch.setattr(transcribing, "Sound", surprised)
    out = tmp_path / "out"
    files = [str(tmp_path / name) for name in names]
    arguments = ["transcribe", *files, clips[0], "--pair", str(run), "--language", "nl", "--output", str(out)]
    assert main([*arguments, "--format", "json"]) == 2
    message = capsys.readouterr().err
    done = {os.fsencode(file.name) for file in out.glob("[!.]*")}
    wanted = {b"voicemail", b"joined", b"latin-1-\xe9", b"n" * 247, os.fsencode(Path(clips[0]).stem)}
    assert done == {name + b".json" for name in wanted}
    errors = [line for line in message.splitlines() if line.startswith("error: ")]
    assert len(errors) == 5
    for name, why in (
        ("gone.wav", "no such file"), ("pipe.wav", "a pipe"), ("m" * 251, "cannot be named"),
        ("list.m3u8", "a playlist"), ("surprise.flac", "nobody expects this at all"),
    ):  # fmt: skip
        assert any(name in error and why in error for error in errors), (name, errors)
    assert "5 of 10 files failed" in message


def test_names_that_the_folder_cannot_hold_are_reported_before_a_model_is_loaded(clips, tmp_path, capsys):
    path = tmp_path / ("m" * 251 + ".wav")
    path.write_bytes(Path(clips[0]).read_bytes())
    requested = ["transcribe", str(path), "--pair", "nowhere", "--format", "json", "--output", str(tmp_path / "out")]
    assert main(requested) == 2
    assert "cannot be named" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_track_is_chosen_and_what_was_odd_is_noted(pair, clips, tmp_path, capsys):
    film, speech = tmp_path / "film.mka", read_audio(clips[0])
    film.write_bytes(encode(np.zeros_like(speech), "mka", tracks=(speech, np.stack([speech, -speech]))))
    arguments = ["transcribe", str(film), "--main", str(pair[0]), "--language", "nl"]
    texts = []
    for track in ("1", "2", "3"):
        assert main([*arguments, "--track", track]) == 0
        message = capsys.readouterr()
        texts.append(message.out)
        assert f"note: {film}: has 3 audio tracks, of which number {track} is read" in message.err
    assert texts[0] != texts[1]
    assert "channels that cancel each other" in message.err
    assert main([*arguments, "--track", "4"]) == 2
    assert "has 3 audio tracks, and no track 4" in capsys.readouterr().err
    assert main([*arguments, "--track", "0"]) == 2


def test_a_reader_that_goes_away_is_reported_in_a_sentence(run, clips):
    command = [sys.executable, "-m", "whisper_pair.cli", "transcribe", *clips, "--pair", str(run), "--language", "nl"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=300)
    os.close(writing)
    assert done.returncode == 141  # 128 + SIGPIPE, as a shell has it
    assert "the reader of the output has gone away" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.wav", "--pair", "x"], "gone.wav: there is no such file"),
        (["{hollow}", "--pair", "{run}"], "is a folder without audio or video files"),
        (["{clip}", "--pair", "{run}", "--format", "srt,doc"], "--format doc: expected some of txt, srt"),
        (["{clip}", "--pair", "{run}", "--format", "srt,json"], "srt, json need a folder: add --output DIR"),
        (["{empty}", "--pair", "{run}", "--language", "nl"], "empty.wav: cannot be decoded as audio"),
        (["{clip}", "--pair", "{run}", "--output", "{clip}/in"], "cannot be written to"),
        (["{clip}", "--pair", "{run}", "--output", "/proc"], "cannot be written to"),
        (["{clip}"], "either --pair DIR, or --main M"),
        (["{clip}", "--pair", "{run}", "--assistant", "x"], "--assistant goes with --main"),
        (["{clip}", "--pair", "{clips}"], "no pair"),
        (["{clip}", "{other}", "--pair", "{run}", "--format", "srt"], "--output DIR"),
        (["{clip}", "{clip}", "--pair", "{run}", "--output", "{out}"], "several files of that name"),
        (["{clip}", "--pair", "{run}", "--draft-tokens", "-1"], "expected"),
        (["{clip}", "--pair", "{run}", "--batch-size", "0"], "at least 1"),
        (["{clip}", "--pair", "{run}", "--language", "xx"], "--language xx: is not one of"),
        (["{clip}", "--pair", "{run}", "--device", "cuda"], "sees no GPU"),
    ],
)
def test_what_cannot_be_done_is_reported_in_one_sentence(run, clips, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "hollow").mkdir()
    known = {
        "empty": tmp_path / "empty.wav",
        "clip": clips[0],
        "other": clips[1],
        "run": run,
        "clips": Path(clips[0]).parent,
        "out": tmp_path,
        "hollow": tmp_path / "hollow",
    }
    status = main(["transcribe", *(argument.format(**known) for argument in arguments)])
    error = capsys.readouterr().err
    assert status == 2
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_is_transcribed_into_several_formats(run, clips, tmp_path, capsys):
    speech, out = tmp_path / "speech", tmp_path / "out"
    (speech / "day one").mkdir(parents=True)
    for name in ("a.wav", "day one/a.wav"):
        shutil.copy(clips[0], speech / name)
    (speech / "notes.txt").write_text("no sound")
    arguments = ["transcribe", str(speech), "--pair", str(run), "--language", "nl", "--output", str(out)]
    assert main([*arguments, "--format", "srt,json", "--format", "txt"]) == 0
    found = {file.relative_to(out).as_posix() for file in out.rglob("[!.]*") if file.is_file()}
    assert found == {f"{stem}.{ending}" for stem in ("a", "day one/a") for ending in ("srt", "json", "txt")}
    assert (out / "a.txt").read_text() == json.loads((out / "a.json").read_text())["text"] + "\n"
    assert "2 files" in capsys.readouterr().err


def test_standard_input_is_a_file_like_any_other(pair, clips):
    command = [sys.executable, "-m", "whisper_pair.cli", "transcribe", "-", "--main", str(pair[0])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def transcribed(content: bytes) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*command, "--language", "nl", "--quiet"], env=environment, input=content, capture_output=True, timeout=300
        )

    done, bad = transcribed(Path(clips[0]).read_bytes()), transcribed(b"no sound")
    assert done.returncode == 0
    assert done.stdout.strip()
    assert done.stderr == b""  # nothing but errors
    assert bad.returncode == 2
    assert bad.stderr == b"error: standard input: cannot be decoded as audio.\n"


@pytest.fixture
def without_timestamps(pair, tmp_path) -> Path:
    """A pair whose main is known to have been trained without timestamps."""
    own = shutil.copytree(pair[0].parent, tmp_path / "own")
    Capabilities(timestamps=0.0, previous_text=0.0, tasks=("transcribe",), languages=("nl",)).save(own / "main")
    return own


def test_subtitles_of_a_main_without_timestamps_go_by_its_words(without_timestamps, clips, tmp_path, capsys):
    """As the README writes it: no option is needed."""
    film = video(tmp_path / "film.mkv", np.concatenate([read_audio(clip) for clip in clips]))
    arguments = ["transcribe", str(film), "--pair", str(without_timestamps), "--language", "nl", "--format", "srt"]
    assert main(arguments) == 0
    found = capsys.readouterr().out
    assert main([*arguments, "--no-timestamps", "--words"]) == 0
    assert found == capsys.readouterr().out
    assert found.count(" --> ") > 1


def test_its_own_language_is_taken_and_a_detected_one_is_shown(run, without_timestamps, clips, capsys):
    assert main(["transcribe", clips[0], "--pair", str(without_timestamps)]) == 0
    assert "detected" not in capsys.readouterr().err
    assert main(["transcribe", clips[0], "--pair", str(run)]) == 0
    assert f"note: {clips[0]}: its language is " in capsys.readouterr().err


def test_a_language_that_the_main_lacks_is_refused_before_its_weights_are_read(run, clips, tmp_path, capsys):
    own = shutil.copytree(run, tmp_path / "own") / "main"
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (own / name).write_text((own / name).read_text().replace("<|yue|>", "<|qqq|>"))
    (own / "model.safetensors").write_bytes(b"")
    assert main(["transcribe", clips[0], "--main", str(own), "--language", "yue"]) == 2
    assert f"--language yue: the main {own} does not know it; it knows af, " in capsys.readouterr().err


def test_a_result_of_other_settings_is_not_taken_for_one_of_these(run, without_timestamps, clips, tmp_path, capsys):
    out, stem = tmp_path / "out", Path(clips[0]).stem
    arguments = ["transcribe", clips[0], "--language", "nl", "--output", str(out)]
    assert main([*arguments, "--pair", str(run)]) == 0
    before = (out / f"{stem}.txt").read_text()
    capsys.readouterr()
    assert main([*arguments, "--pair", str(run)]) == 0
    assert "exist already" in capsys.readouterr().err
    for more, why in (
        (["--pair", str(run), "--task", "translate"], 'was made with task = "transcribe", not "translate"'),
        (["--pair", str(without_timestamps)], f'was made with main = "{run}/main", not "{without_timestamps}/main"'),
        (["--pair", str(run), "--chunked"], "was made with chunked = false, not true"),
        (["--pair", str(run), "--short-windows", "off"], 'was made with short_windows = null, not "off"'),
    ):
        assert main([*arguments, *more]) == 2
        assert f"{out}/{stem}.txt: {why}; make it again with --overwrite" in capsys.readouterr().err
        assert (out / f"{stem}.txt").read_text() == before
    assert main([*arguments, "--pair", str(run), "--chunked", "--overwrite"]) == 0
    assert main([*arguments, "--pair", str(run), "--chunked"]) == 0


def test_a_pair_is_found_in_each_of_its_places(run, tmp_path):
    assert locate_pair(str(run)) == (str(run / "main"), str(run / "assistant"))
    one = shutil.copytree(run / "main", tmp_path / "one")
    shutil.copytree(run / "assistant", one / "assistant")
    assert locate_pair(str(one)) == (str(one), str(one / "assistant"))
    assert locate_pair(str(run / "assistant")) == (str(run / "main"), str(run / "assistant"))
    lonely = shutil.copytree(run / "assistant", tmp_path / "lonely")
    manifest = json.loads((lonely / "pair.json").read_text())
    (lonely / "pair.json").write_text(json.dumps(manifest | {"main": "../elsewhere"}))
    with pytest.raises(InputError, match="--main"):
        locate_pair(str(lonely))


def test_a_file_without_speech_gives_an_empty_transcript(run, tmp_path, capsys):
    soundfile.write(tmp_path / "short.wav", np.zeros(100, np.float32), 16_000)
    assert main(["transcribe", str(tmp_path / "short.wav"), "--pair", str(run), "--language", "nl"]) == 0
    assert "1 file, 0.0 s" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "requested"), [({"num_beams": 1}, True), ({}, False)])
def test_the_stock_pipeline_asks_the_assistant_without_beams_alone(run, clips, more, requested):
    """As docs/serving.md says; where the second case changes, so must that page."""
    from transformers import AutoModelForCausalLM, pipeline

    calls = []
    assistant = AutoModelForCausalLM.from_pretrained(run / "assistant")
    assistant.register_forward_pre_hook(lambda *_: calls.append(1))
    recogniser = pipeline("automatic-speech-recognition", model=str(run / "main"))
    settings = {"assistant_model": assistant, "language": "nl", "task": "transcribe", **more}
    assert "text" in recogniser(read_audio(clips[0]), generate_kwargs=settings)
    assert bool(calls) == requested
