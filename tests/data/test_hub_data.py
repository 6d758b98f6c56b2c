"""Data sets read from a Hub: one on the loopback, asked by the `datasets` library in a process of its own."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.corpora import clips, write_parquet, write_tar
from tests.hub_data import DataHub, DataSet
from tests.hub_server import TOKEN

CARD = b"""---
configs:
- config_name: nl
  data_files:
  - {split: train, path: nl/train-*.parquet}
  - {split: test, path: nl/test-*.parquet}
- config_name: de
  data_files: [{split: train, path: de/*.parquet}]
---
"""
SPEECH, CONVERTED = "org/speech", "refs/convert/parquet"

READER = textwrap.dedent("""
    import functools, hashlib, json, sys
    import datasets, huggingface_hub.hf_file_system as files
    from whisper_pair.config import Data, Source
    from whisper_pair.data import load_training_clips, pack, survey
    from whisper_pair.errors import InputError

    datasets.disable_progress_bars()
    datasets.config.STREAMING_READ_MAX_RETRIES, datasets.config.STREAMING_READ_RETRY_INTERVAL = 1, 0
    datasets.config.STREAMING_OPEN_MAX_RETRIES, datasets.config.STREAMING_OPEN_RETRY_INTERVAL = 1, 0
    files.http_backoff = functools.partial(files.http_backoff, max_retries=0)  # as after a minute of tries
    survey.PART, survey.AT_ONCE = 4, 2
    for source in json.load(sys.stdin):
        try:
            data = Data((), (), (), cache=sys.argv[1], unpacked_share=0.0)
            corpus = load_training_clips([Source(**source)], data, 30.0)
            decoded = [hashlib.sha256(clip.read().tobytes()).hexdigest() for clip in corpus.clips]
            about = [[clip.text, clip.speaker, clip.seconds] for clip in corpus.clips]
            windows = [window.text for window in pack(corpus.clips, data, 30.0, 0)]
            found = {"decoded": decoded, "clips": about, "windows": windows, "dropped": dict(corpus.dropped)}
        except InputError as error:
            found = {"refused": str(error)}
        print(json.dumps(found), flush=True)
""")


def read(hub: DataHub, place: Path, *sources: dict) -> list[dict]:
    """What comes of each source in a new process, whose caches are in `place`."""
    env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_HOME": str(place / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_TOKEN": TOKEN}
    command = [sys.executable, "-c", READER, str(place / "cache")]
    done = subprocess.run(command, input=json.dumps(sources), env=env, capture_output=True, text=True, timeout=280)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(sources), done.stderr[-3000:]
    return found


def parquet(folder: Path, rows: list[dict]) -> bytes:
    write_parquet(folder / "some.parquet", rows)
    return (folder / "some.parquet").read_bytes()


def tar(folder: Path, rows: list[dict]) -> bytes:
    write_tar(folder / "some.tar", rows)
    return (folder / "some.tar").read_bytes()


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    hub, folder, rows = DataHub(), tmp_path_factory.mktemp("sets"), clips(10)
    main = {
        "README.md": CARD,
        "nl/train-0.parquet": parquet(folder, rows[:3]),
        "nl/train-1.parquet": parquet(folder, rows[3:6]),
        "nl/test-0.parquet": parquet(folder, rows[6:8]),
        "de/a.parquet": parquet(folder, rows[8:]),
    }
    converted = {  # what the Hub makes of a set: a folder for each configuration, and no card
        "nl_nl/train/0000.parquet": parquet(folder, rows[:6]),
        "nl_nl/test/0000.parquet": parquet(folder, rows[6:8]),
        "de_de/train/0000.parquet": parquet(folder, rows[8:]),
    }
    hub.sets[SPEECH] = DataSet({"main": main, CONVERTED: converted})
    hub.sets["org/private"] = DataSet({"main": main}, private=TOKEN)
    hub.sets["org/hidden"] = DataSet({"main": main}, private="hf_anothers")
    hub.sets["org/tars"] = DataSet(
        {"main": {"train/0.tar": tar(folder, rows[:3]), "train/1.tar": tar(folder, rows[3:6])}}
    )
    yield hub
    hub.close()


SAME = [  # the same six clips
    {"hub": SPEECH, "config": "nl"},
    {"hub": SPEECH, "config": "nl", "stream": True},
    {"hub": "org/private", "config": "nl"},
    {"hub": SPEECH, "config": "nl_nl", "revision": CONVERTED},
    {"hub": SPEECH, "config": "nl_nl", "revision": CONVERTED, "stream": True},
]
REFUSED = [
    ({"config": "fr"}, "BuilderConfig 'fr' not found. Available: ['nl', 'de']"),
    ({"config": "fr", "stream": True}, "BuilderConfig 'fr' not found. Available: ['nl', 'de']"),
    ({}, "pick one among the available configs: ['nl', 'de']"),
    ({"config": "nl", "split": "dev"}, "Should be one of ['train', 'test']"),
    ({"config": "nl", "split": "dev", "stream": True}, "Available splits: ['train', 'test']"),
    ({"config": "nl", "text": "words"}, "no column 'words'; it has audio, text, speaker"),
    ({"config": "nl", "audio": "sound", "stream": True}, "no column 'sound'; it has audio, text, speaker"),
    ({"config": "nl", "revision": "v9"}, "Revision 'v9' doesn't exist"),
    ({"config": "fr_fr", "revision": CONVERTED}, "no configuration 'fr_fr'; it has de_de, nl_nl"),
    ({"config": "nl_nl", "split": "dev", "revision": CONVERTED}, "['train', 'test']"),
    ({"hub": "org/tars", "audio": "wav", "text": "txt", "stream": True}, "fetch them by `hf download`"),
    ({"hub": "org/hidden"}, "'org/hidden' doesn't exist on the Hub or cannot be accessed"),
    ({"hub": "org/nothing"}, "'org/nothing' doesn't exist on the Hub or cannot be accessed"),
    ({"hub": "org/nothing", "stream": True}, "'org/nothing' doesn't exist on the Hub or cannot be accessed"),
]  # fmt: skip


@pytest.fixture(scope="module")
def answers(hub, tmp_path_factory) -> list[dict]:
    return read(hub, tmp_path_factory.mktemp("read"), *SAME, *({"hub": SPEECH} | source for source, _ in REFUSED))


def test_a_set_on_the_hub_gives_the_same_clips_and_windows_in_every_form(answers):
    first, *others = answers[: len(SAME)]
    assert [text for text, _, _ in first["clips"]] == [f"zin nummer {i}" for i in range(6)]
    assert first["windows"] == [" ".join(f"zin nummer {i}" for i in range(6))]
    assert first["dropped"] == {}
    for other in others:
        assert other == first


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[str(source) for source, _ in REFUSED])
def test_what_is_not_there_is_refused_in_one_sentence_that_names_what_is(answers, number):
    message = answers[len(SAME) + number]["refused"]
    assert REFUSED[number][1] in message
    assert "\n" not in message


def test_a_stream_that_breaks_off_is_reported_in_a_sentence_and_continues_without_loss_or_repetition(hub, tmp_path):
    rows = clips(20)
    files = {f"train-{i:02d}.parquet": parquet(tmp_path, rows[2 * i : 2 * i + 2]) for i in range(10)}
    hub.sets["org/long"] = DataSet({"main": files})
    hub.sent, hub.patience = {}, round(0.6 * sum(map(len, files.values())))
    (found,) = read(hub, tmp_path, {"hub": "org/long", "stream": True})
    assert "the stream broke off" in found["refused"]
    assert "the same command goes on" in found["refused"]
    kept = len(list((tmp_path / "cache").rglob("part-*.parquet")))
    assert 0 < kept < 5
    hub.sent, hub.patience = {}, None
    (found,) = read(hub, tmp_path, {"hub": "org/long", "stream": True})
    assert [text for text, _, _ in found["clips"]] == [row["text"] for row in rows]
    assert len(set(found["decoded"])) == 20
    assert found["dropped"] == {}
