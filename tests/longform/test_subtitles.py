"""Subtitles and the other formats that a transcription is written in."""

import itertools
import json

import pytest

from whisper_pair.longform.recording import Segment, Transcription, Word
from whisper_pair.longform.subtitles import as_json, as_srt, as_tsv, as_txt, as_vtt


@pytest.fixture
def transcribed() -> Transcription:
    words = [Word(f" woord{i}", 3661.0 + i, 3661.5 + i) for i in range(20)]
    segments = [
        Segment(0.0, 2.5, " Hallo --> <allen>", [1]),
        Segment(2.0, 3.0, " en verder", [2]),
        Segment(3661.0, 3681.0, "".join(word.text for word in words), [3], words),
    ]
    return Transcription("Hallo en verder", "nl", 3700.0, segments, 3, 9, 6)


def test_subtitles_keep_their_syntax_whatever_the_text(transcribed):
    assert as_srt(transcribed).startswith(
        "1\n00:00:00,000 --> 00:00:02,000\nHallo -> <allen>\n\n2\n00:00:02,000 --> 00:00:03"
    )
    assert as_vtt(transcribed).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nHallo --&gt; &lt;allen&gt;\n")
    assert as_tsv(transcribed).splitlines()[:3] == [
        "start\tend\ttext",
        "0\t2500\tHallo --> <allen>",
        "2000\t3000\ten verder",
    ]
    assert as_txt(transcribed) == "Hallo en verder\n"
    assert json.loads(as_json(transcribed))["segments"][2]["words"][0] == {
        "text": " woord0",
        "start": 3661.0,
        "end": 3661.5,
    }


def test_with_words_a_cue_is_two_short_lines_of_a_few_seconds(transcribed):
    blocks = as_srt(transcribed).split("\n\n")[2:]
    assert len(blocks) > 2
    texts = [block.split("\n")[2:] for block in blocks]
    assert all(len(line) <= 42 for lines in texts for line in lines)
    assert all(len([line for line in lines if line]) <= 2 for lines in texts)
    assert " ".join(" ".join(lines).strip() for lines in texts).split() == [f"woord{i}" for i in range(20)]
    assert "01:01:01,000 --> " in blocks[0]


def cue_times(srt: str) -> list[tuple[float, float]]:
    def seconds(clock: str) -> float:
        hours, minutes, rest = clock.replace(",", ".").split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(rest)

    return [tuple(map(seconds, line.split(" --> "))) for line in srt.splitlines() if " --> " in line]


@pytest.mark.parametrize(
    ("language", "text"), [("nl", " Dat is een hele lange zin." * 12), ("ja", "これは長い文です" * 30), ("nl", " kort")]
)
def test_without_word_times_a_long_segment_is_cut_into_cues_of_about_equal_length(language, text):
    transcribed = Transcription(text, language, 40.0, [Segment(2.0, 32.0, text, [1])], 1, 0, 0)
    blocks = as_srt(transcribed).strip().split("\n\n")
    texts = [block.split("\n")[2:] for block in blocks]
    assert all(len(lines) <= 2 and max(map(len, lines)) <= 42 for lines in texts)
    joint = "" if language == "ja" else " "
    assert joint.join(joint.join(lines) for lines in texts) == text.strip()
    sizes = [len("".join(lines)) for lines in texts]
    assert max(sizes) <= 1.5 * min(sizes)
    times = cue_times(as_srt(transcribed))
    assert times[0][0] == 2.0
    assert times[-1][1] == 32.0
    assert all(start < end for start, end in times)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(times))
