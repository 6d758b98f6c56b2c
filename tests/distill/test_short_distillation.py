"""An assistant of a main that was trained on short windows sees the windows that decoding will take."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
import torch

from benchmarks.scripted_main import MICRO, scripted_main
from distill.distil import distil
from distill.inputs import DistillationInputs
from distill.label_filter import LabelFilter
from whisper_pair.checkpoints import Capabilities, PairManifest, ShortWindows
from whisper_pair.config import Config, load_config
from whisper_pair.data import load_training_clips, pack
from whisper_pair.decoding import Engine, Options, shortened
from whisper_pair.training import EncoderCache
from whisper_pair.training.batches import Batches, Example, FrozenEncoder
from whisper_pair.training.short_steps import Draw

TRAINED_AS = Capabilities(0.5, 0.0, ("transcribe",), ("nl",), ShortWindows(0.8, 0.2, 0.5, 0.5))


def made(write_config, folder: Path, trained_as: Capabilities, **distill) -> Config:
    """The assistant of a main that writes one text, and was trained as it says."""
    scripted_main(folder / "main", replace(MICRO, window=8), words=5, dtype=torch.float32)
    trained_as.save(folder / "main")
    settings = {"train": None, "model": str(folder / "main"), "distill": distill}
    config = load_config(write_config(folder / "pair.yaml", **settings))
    distil(config)
    return config


@pytest.fixture(scope="module")
def run(write_config, tmp_path_factory) -> Config:
    """With all caches and perturbed copies."""
    folder = tmp_path_factory.mktemp("short")
    return made(write_config, folder, TRAINED_AS, cache="all", perturb={"copies": 1}, epochs=2)


def inputs(config: Config) -> DistillationInputs:
    return DistillationInputs.read(config, Path(config.model), torch.float32)


def test_the_ability_is_in_the_pair_and_beside_the_assistant(run):
    assistant = Path(run.output) / "assistant"
    assert Capabilities.load(assistant).short_windows == TRAINED_AS.short_windows
    assert PairManifest.load(assistant).short_windows == TRAINED_AS.short_windows


def test_a_label_is_the_mains_own_transcript_of_its_short_window(run):
    given = inputs(run)
    log_mel = given.log_mel
    rows = {
        row["key"]: row for row in pyarrow.parquet.read_table(Path(run.output) / "labels/labels.parquet").to_pylist()
    }
    lengths = {given.frames(window) for window in given.windows}
    assert len(lengths) > 1
    engine, options = Engine(given.main), Options(language="nl", draft_tokens=0)
    for window in given.windows[:12]:
        features = shortened(log_mel.features([window.pcm()[: log_mel.samples]]), given.frames(window))
        found = engine.decode(features, replace(options, timestamps=window.timestamps))[0]
        assert found.tokens == rows[window.key]["tokens"]


def test_cached_states_are_as_long_as_their_windows(run):
    given = inputs(run)
    frames = [given.frames(window) for window in given.windows]
    about = json.loads((Path(run.output) / "labels/states/about.json").read_text())
    assert about["rows"] == sum(frames) < len(frames) * given.main.config.max_source_positions
    assert about["margin"] == 0.5


def test_a_slower_copy_gets_a_longer_window(run):
    given = inputs(run)
    copies = [window for window in given.windows if window.perturbation is not None]
    assert copies
    for window in copies:
        seconds = len(window.pcm()) / 16000
        assert window.audio_seconds == pytest.approx(seconds, abs=0.02)
        assert given.frames(window) >= min(given.main.config.max_source_positions, 50 * (seconds + 0.4))


def test_a_main_that_knows_full_windows_alone_is_distilled_on_them_as_before(write_config, tmp_path):
    config = made(write_config, tmp_path, replace(TRAINED_AS, short_windows=None), cache="states")
    given = inputs(config)
    full = given.main.config.max_source_positions
    assert {given.frames(window) for window in given.windows} == {full}
    assert Capabilities.load(Path(config.output) / "assistant").short_windows is None
    assert "margin" not in json.loads((Path(config.output) / "labels/states/about.json").read_text())
    clips = load_training_clips(config.data.train, config.data, given.log_mel.seconds).clips
    assert [w.key for w in given.windows] == [
        w.key for w in pack(clips, config.data, given.log_mel.seconds, config.seed)
    ]


def test_a_step_of_which_some_states_are_cached_has_those_that_are_computed(run, tmp_path):
    given = inputs(run)
    windows = sorted(given.windows, key=given.frames)[:2]
    frames = given.frames(windows[1])
    assert frames < given.main.config.max_source_positions
    cache = EncoderCache(tmp_path, 2, frames, given.main.config.d_model, dtype="float32")
    encoding = FrozenEncoder(given.main.model.encoder, given.log_mel, cache=cache)
    batches = Batches([Example(window, (1, 2, 3), 1) for window in windows], given.log_mel, cache)
    draws = [Draw(number, 0, frames) for number in range(2)]
    computed = encoding.states(batches.collate(list(map(batches.load, draws))).audio, torch.device("cpu"))
    again = EncoderCache(tmp_path / "again", 2, frames, given.main.config.d_model, dtype="float32")
    again.write(0, computed[0])
    encoding.cache = batches.cache = again
    audio = batches.collate(list(map(batches.load, draws))).audio
    assert audio.cached == (0,)
    torch.testing.assert_close(encoding.states(audio, torch.device("cpu")), computed)


def test_encoder_states_of_unequal_windows_are_kept_and_read_as_they_are(tmp_path):
    cache = EncoderCache(tmp_path, 3, [2, 5, 3], 4, dtype="float32")
    states = [torch.randn(frames, 4) for frames in (2, 5, 3)]
    for number, each in enumerate(states):
        cache.write(number, each)
    for number, each in enumerate(states):
        assert torch.equal(cache.read(number), each)


def test_two_caches_are_read_and_written_as_one(tmp_path):
    one, other = (
        EncoderCache(tmp_path / str(part), len(frames), frames, 4) for part, frames in enumerate(([2, 5], [3]))
    )
    both, states = one.followed_by(other).of([2, 0]), [torch.ones(3, 4), torch.zeros(2, 4)]
    for number, each in enumerate(states):
        assert number not in both
        both.write(number, each)
        assert torch.equal(both.read(number), each)
    assert torch.equal(other.read(0), states[0])
    assert torch.equal(one.read(0), states[1])
    assert one.read(1) is None


def test_states_of_windows_that_keep_their_labels_are_computed_once(write_config, tmp_path, monkeypatch):
    caches, seen = {}, []

    def opened(cache, folder, windows, *given, original=EncoderCache.__init__, **more):
        caches[folder] = windows
        original(cache, folder, windows, *given, **more)

    def sign(label_filter, row, original=LabelFilter.sign):
        """The first window of several clips is taken for a bad one."""
        if len(row.clips) > 1 and row.key not in seen:
            seen.append(row.key)
        return "made up" if row.key == seen[0] else original(label_filter, row)

    monkeypatch.setattr(EncoderCache, "__init__", opened)
    monkeypatch.setattr(LabelFilter, "sign", sign)
    config = made(write_config, tmp_path, replace(TRAINED_AS, short_windows=None), cache="states")
    rows = pyarrow.parquet.read_table(Path(config.output) / "labels/labels.parquet").to_pylist()
    clips = next(row["clips"] for row in rows if row["key"] == seen[0])
    windows = {folder.parent.name: count for folder, count in caches.items()}
    assert windows["labels"] == len(rows)
    assert windows["assistant.partial"] == len(clips) > 1
