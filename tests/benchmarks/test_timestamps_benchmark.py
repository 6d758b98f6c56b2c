"""Each share of windows with timestamps is trained once; written ends of segments are compared with the true ones."""

import json
from pathlib import Path

import pytest
import soundfile
import yaml

from benchmarks import timestamps
from benchmarks.cpu_tables import table
from train.__main__ import main as train
from whisper_pair.audio import read_audio
from whisper_pair.config import Data, load_config
from whisper_pair.data import Clip, Window

STAMPS = range(100, 301)  # <|0.00|> to <|4.00|>


def window(*seconds: float) -> Window:
    return Window(tuple(Clip(str(i), Path("none"), length, "ja", None) for i, length in enumerate(seconds)), 0.5)


def test_segments_end_at_timestamps_that_follow_text():
    tokens = [100, 7, 8, 150, 175, 9, 225, 3]  # <|0.00|> text <|1.00|><|1.50|> text <|2.50|> end
    assert timestamps.segment_ends(tokens, STAMPS) == pytest.approx([1.0, 2.5])


def test_a_text_that_repeats_itself_is_a_loop():
    assert timestamps.loops("Kijk, een vis. " + "die " * 100)
    assert not timestamps.loops("Kijk, een vis die zwemt, en die praat.")
    assert not timestamps.loops("")


def test_each_true_end_is_compared_with_the_nearest_written_one():
    windows = [window(1.0, 1.0), window(2.0, 0.5)]
    rows = [[100, 7, 155, 175, 9, 225, 3], [7, 8, 3]]  # the second row has no timestamps
    errors, segments = timestamps.boundary_errors(windows, rows, STAMPS)
    assert errors == pytest.approx([0.1, 0.0, 3.0, 3.0])
    assert segments == 2


def test_a_small_run_measures_every_share_once(write_config, demo_data, tmp_path, monkeypatch):
    def in_this_process(config, overrides, share, output):
        assert train([config, *overrides, f"data.timestamps={share:g}", f"output={output}"]) == 0
        return output / "main"

    monkeypatch.setattr(timestamps, "fine_tuned", in_this_process)
    speech = tmp_path / "speech"
    speech.mkdir()
    for number, file in enumerate(sorted((demo_data / "train").glob("*.wav"))[:6]):
        soundfile.write(speech / f"{number}.wav", read_audio(file)[:16_000], 16_000)  # short enough to join
    (speech / "metadata.csv").write_text(
        "file_name,text,speaker\n" + "".join(f"{n}.wav,een twee,anna\n" for n in range(6))
    )
    config = write_config(tmp_path / "pair.yaml")
    tree = yaml.safe_load(config.read_text())
    tree["data"]["test"] = [{"folder": str(speech), "speaker": "speaker"}]
    config.write_text(yaml.safe_dump(tree))
    out = tmp_path / "timestamps.json"
    share = f"{timestamps.load_default():g}"
    given = [str(config), "--runs", str(tmp_path / "runs"), "--shares", "0", share, "--out", str(out)]
    result = timestamps.main(given)
    assert [row["share"] for row in result["rows"]] == [None, 0.0, float(share)]
    for row in result["rows"]:
        assert row["error_rate"] > 0
        assert row["boundary_error_ms"] > 0
        assert row["error_rate_long"] > 0
    assert len(result["targets"]) == 3
    made = (table("timestamps-cpu", result) or "").splitlines()
    assert made[2].startswith(f"| before fine-tuning | {100 * result['rows'][0]['error_rate']:.1f} % |")
    assert made[3].startswith("| 0 | ")
    assert str(tmp_path) not in result["command"]
    monkeypatch.setattr(timestamps, "fine_tuned", lambda *_: pytest.fail("trained again"))
    assert timestamps.main(given)["rows"] == json.loads(json.dumps(result["rows"]))
    assert load_config(config).data.timestamps == Data((), (), ()).timestamps
