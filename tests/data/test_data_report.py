"""data.md shows what a stage trains on, why the rest is left out, and what it costs."""

from collections import Counter
from pathlib import Path

from whisper_pair.config.schema import Data
from whisper_pair.data.clips import Clip
from whisper_pair.data.corpus import Corpus
from whisper_pair.data.packing import pack, padding_saved
from whisper_pair.data.report import write_data_report


def spoken(count: int) -> Corpus:
    clips = [
        Clip(f"{i}.wav", Path("none"), 3.0, "ja | nee" if i < 4 else f"zin {i}", f"s{i % 2}") for i in range(count)
    ]
    return Corpus(clips, Counter({"silent": 2, "too short": 7}), {"silent": ["a.wav", "b.wav"], "too short": ["c.wav"]})


def test_the_report_counts_what_a_reader_asks(tmp_path):
    corpus = spoken(20)
    windows = pack(corpus.clips, Data((), (), (), unpacked_share=0.0), 30.0, 0)
    assert padding_saved(windows, 30.0) == "4 windows, 54 % of them sound; unpacked 20 windows, 10 % of them"
    write_data_report(tmp_path, "main", corpus, windows, [10, 20, 30, 40], 30.0)
    text = (tmp_path / "data.md").read_text()
    for line in (
        "| clips | 20 |",
        "| hours | 0.02 |",
        "| speakers or recordings | 2 |",
        "| windows | 4 |",
        "| clips for one window (the encoder's work saved) | 5.00 |",
        "| too short | 7 | c.wav |",
        "| silent | 2 | a.wav, b.wav |",
        "| 4 | ja \\| nee |",
    ):
        assert line in text, line
    assert "| tokens a window | median 25.0" in text
    for link in ("main-clip-seconds", "main-window-seconds", "main-window-tokens"):
        assert f"](data/{link}.png)" in text
        assert (tmp_path / "data" / f"{link}.png").stat().st_size > 1000


def test_both_stages_stand_in_one_report_in_their_order(tmp_path):
    corpus = spoken(4)
    windows = pack(corpus.clips, Data((), (), (), pack=False), 30.0, 0)
    for stage in ("assistant", "main", "assistant"):
        write_data_report(tmp_path, stage, corpus, windows, [5] * 4, 30.0, "### Labels of the " + stage)
    text = (tmp_path / "data.md").read_text()
    assert text.count("\n## ") == 2
    assert text.index("## Fine-tuning the main") < text.index("## Distilling the assistant")
    assert text.index("### Labels of the main") < text.index("### Labels of the assistant")
