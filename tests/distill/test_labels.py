"""Labels by the main: written once, whatever is killed, and trusted clip by clip."""

import math
import random
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from distill.label_filter import FilteredLabels, LabelFilter, filtered, most_repeats, trusted_labels
from distill.labelling import label_windows
from distill.labels import LABELS_FILE, read_labels
from tests.distill.labelling import SERVER, Signal, labelling_of, process, started
from tests.label_rows import label_row
from whisper_pair.config.schema import Distill
from whisper_pair.data.clips import Clip, Window
from whisper_pair.errors import InputError
from whisper_pair.runs.stages import Stage
from whisper_pair.text.normalization import Normalizer


@pytest.fixture(scope="module")
def config(write_config, tmp_path_factory) -> Path:
    return write_config(tmp_path_factory.mktemp("labels") / "pair.yaml")


@pytest.fixture(scope="module")
def labelling(config):
    return labelling_of(config)


@pytest.fixture(scope="module")
def undisturbed(labelling, tmp_path_factory):
    labeller, windows = labelling
    folder = tmp_path_factory.mktemp("undisturbed")
    label_windows(labeller, windows, folder, process())
    return read_labels(folder)


def test_every_window_gets_the_label_it_asks_for(labelling, undisturbed):
    labeller, windows = labelling
    rows = undisturbed
    special = labeller.targets.special
    assert [row.window for row in rows] == list(range(len(windows)))
    assert {window.timestamps for window in windows} == {True, False}
    assert any(window.previous for window in windows)
    for row, window in zip(rows, windows, strict=True):
        assert (row.key, row.clips) == (window.key, [clip.name for clip in window.clips])
        assert (special.no_timestamps not in row.prefix) == window.timestamps
        assert (special.previous == row.prefix[0]) == (window.previous is not None)
        assert row.prefix.count(special.previous) <= 1
        stamped = [token for token in row.tokens if token in special.timestamps]
        assert bool(stamped) == window.timestamps
        assert "<|" not in row.text
        assert row.mean_log_probability < 0
        assert row.error > 0


def test_killing_at_ten_random_points_changes_no_row(config, labelling, undisturbed, tmp_path):
    """kill -9 of real processes; each new one goes on where the last one died."""
    labeller, windows = labelling
    chance = random.Random(4)
    batches = math.ceil(len(windows) / labeller.options.batch_size)
    for point in sorted(chance.choices(range(batches - 1), k=10)):  # shards there before the kill
        worker = started(config, tmp_path, sent=Signal(signal.SIGKILL, point, chance.uniform(0, 0.02)))
        worker.join()
        assert worker.exitcode == -signal.SIGKILL
    assert not (tmp_path / LABELS_FILE).exists()
    label_windows(labeller, windows, tmp_path, process())
    assert read_labels(tmp_path) == undisturbed
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".parquet"] == [LABELS_FILE]


def test_a_signal_ends_labelling_with_143_and_prints_how_much_is_kept(config, labelling, undisturbed, tmp_path):
    labeller, windows = labelling
    worker = started(config, tmp_path, sent=Signal(signal.SIGTERM, 2, 0.005))
    worker.join()
    assert worker.exitcode == 143
    message = (tmp_path / "messages").read_text(encoding="utf-8").splitlines()[-1]
    kept, whole = map(
        int, re.search(r"stopped by SIGTERM; labels of (\d+) of (\d+) windows are kept; ", message).groups()
    )
    assert 2 * 3 <= kept < whole == len(windows)
    label_windows(labeller, windows, tmp_path, process())
    assert read_labels(tmp_path) == undisturbed


def test_a_kill_between_the_whole_and_the_removal_of_its_parts_costs_nothing(labelling, undisturbed, tmp_path):
    labeller, windows = labelling
    label_windows(labeller, windows, tmp_path, process())
    (tmp_path / "shard-0003-00000000.parquet").write_bytes(b"left over")
    broken = replace(labeller, engine=None)  # would fail if anything were labelled
    label_windows(broken, windows, tmp_path, process())
    assert read_labels(tmp_path) == undisturbed
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".parquet"] == [LABELS_FILE]


def test_two_processes_write_the_rows_of_one(config, undisturbed, tmp_path):
    barrier = SERVER.Barrier(2, timeout=60)
    workers = [started(config, tmp_path, index, barrier) for index in range(2)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert read_labels(tmp_path) == undisturbed


def test_a_window_that_cannot_be_read_has_no_row_and_is_not_tried_for_ever(labelling, undisturbed, tmp_path, caplog):
    labeller, windows = labelling
    gone = replace(windows[4], clips=(replace(windows[4].clips[0], audio=Path("/nowhere.wav")),))
    some = [*windows[:4], gone, *windows[5:6]]
    label_windows(labeller, some, tmp_path, process())
    assert [row.window for row in read_labels(tmp_path)] == [0, 1, 2, 3, 5]
    assert "no such audio file" in caplog.text


def test_labels_of_other_inputs_are_started_again_with_the_reason_printed(labelling, tmp_path, caplog):
    config = labelling[0].config
    old = Stage(tmp_path / "labels", {"main": {"model.safetensors": "aa"}, "language": "nl"})
    old.begin(config)
    (old.work / "shard-0003-00000000.parquet").write_bytes(b"of the old main")
    new = Stage(tmp_path / "labels", {"main": {"model.safetensors": "bb"}, "language": "nl"})
    with pytest.raises(InputError, match=r'main\.model\.safetensors = "aa", not "bb"; choose another output, or add'):
        new.refuse_other_inputs(overwrite=False)
    new.refuse_other_inputs(overwrite=True)
    new.begin(config)
    assert 'was made with main.model.safetensors = "aa", not "bb"; starting again' in caplog.text
    assert [path.name for path in new.work.iterdir()] == ["inputs.json"]


# What is trusted


def window(*texts: str | None) -> Window:
    return Window(tuple(Clip(f"clip {i}", Path("none"), 2.0, text, "anna") for i, text in enumerate(texts)))


def label_filter(language: str = "nl", **settings) -> LabelFilter:
    return LabelFilter(Distill(**settings), language, Normalizer(language))


def test_a_bad_clip_is_dropped_from_its_window_and_the_rest_is_labelled_again():
    found = FilteredLabels()
    three_clips = window("een twee drie", "vier vijf zes", "zeven acht negen")
    label = label_row("een twee drie heel wat anders zeven acht negen")
    (again,) = filtered(label_filter(max_label_error=0.5), three_clips, label, found)
    assert [clip.name for clip in again.clips] == ["clip 0", "clip 2"]
    assert found.kept == []
    assert found.dropped == {"error above 0.5": 1}
    assert found.samples["error above 0.5"] == [("clip 1", "vier vijf zes", label.text)]
    kept = FilteredLabels()
    assert filtered(label_filter(), three_clips, label, kept) == []  # no limit: all are kept
    assert len(kept.kept) == 1


def test_a_window_without_human_text_is_filtered_by_its_signs_alone():
    found = FilteredLabels()
    assert filtered(label_filter(max_label_error=0.1), window(None, None), label_row("wat dan ook"), found) == []
    assert len(found.kept) == 1


@pytest.mark.parametrize(
    ("sign", "reason"),
    [
        ({"finished": False}, "without an end"),
        ({"compression_ratio": 2.5}, "compression ratio above 2.4"),
        ({"text": "ja dat is zo " + "en toen " * 5}, "a phrase more than 4 times in a row"),
        ({"tokens": [1] * 201}, "over 50 tokens per second"),
    ],
)
def test_a_sign_of_hallucination_sets_each_clip_alone_and_drops_a_single_one(sign, reason):
    found = FilteredLabels()
    again = filtered(label_filter(), window("ja", "nee"), label_row(**{"text": "ja nee"} | sign), found)
    assert [[clip.name for clip in one.clips] for one in again] == [["clip 0"], ["clip 1"]]
    assert not found.dropped
    assert filtered(label_filter(), window("ja"), label_row(**{"text": "ja"} | sign), found) == []
    assert found.dropped == {reason: 1}
    assert reason in found.section()


def test_signs_can_be_switched_off():
    off = label_filter(max_compression_ratio=None, max_repeats=None, max_tokens_per_second=None)
    loop = label_row("ja " * 50, compression_ratio=9.0, tokens=[1] * 400)
    assert off.sign(loop) is None


@pytest.mark.parametrize(
    ("units", "longest", "times"),
    [
        ("", 5, 0),
        ("a b c", 5, 1),
        ("a a a b", 5, 3),
        ("x a b a b a b y", 5, 3),
        ("a b c a b c", 2, 1),
        ("a b c a b c", 3, 2),
        ("a b a b a", 5, 2),
    ],
)
def test_repeats_are_counted_in_a_row(units, longest, times):
    assert most_repeats(units.split(), longest) == times


def test_characters_repeat_where_there_are_no_spaces():
    assert label_filter("ja").sign(label_row("はい。" * 6)) == "a phrase more than 4 times in a row"
    assert label_filter("ja").sign(label_row("今日はいい天気ですね")) is None


def test_what_is_labelled_again_is_filtered_again_until_nothing_is_left(labelling, tmp_path):
    """The micro Whisper talks nonsense, so all is bad but what the human text is made to agree with."""
    labeller, windows = labelling
    packed = [w for w in windows if len(w.clips) > 1][:2] or [Window(windows[0].clips + windows[1].clips[:1])]
    strict = label_filter(max_label_error=0.5, max_compression_ratio=None, max_repeats=None, max_tokens_per_second=None)
    label_windows(labeller, packed, tmp_path, process())
    # as though the main had ended; the second labels say that it does not
    rows = [replace(row, finished=True) for row in read_labels(tmp_path)]
    with pytest.raises(InputError, match=r"none is kept; train the main longer"):
        trusted_labels(strict, labeller, packed, rows, tmp_path, process())
    agreed = [replace(w, clips=tuple(replace(c, text=None) for c in w.clips)) for w in packed]
    found = trusted_labels(strict, labeller, agreed, rows, tmp_path, process())
    assert [w for w, _ in found.kept] == agreed
