"""The contest behind demo-server, and its page, without a browser."""

from dataclasses import replace

import numpy as np
import pytest

from whisper_pair.audio.reading import read_audio
from whisper_pair.cli import main
from whisper_pair.commands import demo_server
from whisper_pair.decoding.options import Options, Round
from whisper_pair.errors import InputError
from whisper_pair.live.contest import Contest
from whisper_pair.live.view import Spelling, contest_html, sentence_html
from whisper_pair.pair import Pair

ASKED = Options(language="nl", draft_tokens=3)


@pytest.fixture(scope="module")
def loaded(pair) -> Pair:
    return Pair.from_pretrained(*pair)


@pytest.fixture(scope="module")
def clips(demo_data) -> list[np.ndarray]:
    return [read_audio(file) for file in sorted((demo_data / "test").glob("*.wav"))]


@pytest.fixture(scope="module")
def spelling(loaded) -> Spelling:
    return Spelling(loaded.processor.tokenizer, loaded.engine.special)


def over(contest: Contest) -> Contest:
    return [*contest.watch()][-1]


def test_both_sides_show_the_engines_text_and_never_run_at_once(loaded, clips, monkeypatch):
    monkeypatch.setattr("whisper_pair.live.contest.REFRESH", 0.001)
    contest = Contest(loaded, clips[0], ASKED)
    for seen in contest.watch():
        assert not seen.pair.began or seen.main.done
    transcribed = loaded.transcribe([clips[0]], language="nl", draft_tokens=3)[0]
    assert contest.main.tokens == contest.pair.tokens == transcribed.tokens
    assert (len(contest.pair.rounds), contest.pair.drafted, contest.pair.accepted) == (
        transcribed.rounds, transcribed.drafted, transcribed.accepted,
    )  # fmt: skip
    assert 0 < contest.pair.accepted < contest.pair.drafted  # else the above says little
    assert contest.main.drafted == 0
    for side in (contest.main, contest.pair):
        assert side.encoder.seconds > 0
        assert side.decoder.seconds > 0
        assert side.seconds == side.encoder.seconds + side.decoder.seconds == side.seconds  # stopped
    assert contest.first_difference is None


def test_a_recording_longer_than_the_window_is_transcribed_completely_in_longform_windows(loaded, clips, spelling):
    samples = np.concatenate(clips)
    contest = over(Contest(loaded, samples, ASKED))
    assert len(contest.windows) >= 2
    (longform,) = loaded.transcribe_long([samples], language="nl", chunked=True, timestamps=False, draft_tokens=0)
    message = [token for segment in longform.segments for token in segment.tokens]
    assert [token for token in contest.pair.tokens if token < loaded.engine.special.end] == message
    assert f"cut at quiet places into {len(contest.windows)}" in contest_html(contest, spelling, "")


def test_a_contest_that_is_called_off_ends_at_once_and_leaves_the_engine_good(loaded, clips, spelling):
    contest = Contest(loaded, clips[1], ASKED)
    watch = contest.watch()
    next(watch)
    contest.stop()
    assert [*watch][-1].stopped
    assert "Stopped." in contest_html(contest, spelling, "")
    assert over(Contest(loaded, clips[1], ASKED)).main.tokens == loaded.transcribe([clips[1]], language="nl")[0].tokens


def test_texts_that_differ_are_shown_loudly_and_compared_by_their_ids(loaded, clips, spelling):
    contest = over(Contest(loaded, clips[0], ASKED))
    assert f"all {len(contest.main.tokens)} token ids are the same" in contest_html(contest, spelling, "")
    last = contest.pair.rounds[-1]
    contest.pair.rounds[-1] = replace(last, tokens=(*last.tokens[:-1], last.tokens[-1] - 1))
    html = contest_html(contest, spelling, "")
    assert f"NOT THE SAME TEXT:</b> the token ids differ from token {len(contest.main.tokens)} of" in html
    assert 'role="alert"' in html
    assert "must not happen" in html


@pytest.mark.parametrize("options", [replace(ASKED, language="xx"), replace(ASKED, task="sing")])
def test_what_the_engine_refuses_reaches_whoever_watches(loaded, clips, options):
    with pytest.raises(InputError, match="is not one of this model's"):
        over(Contest(loaded, clips[0], options))


def test_silence_is_refused(loaded):
    with pytest.raises(InputError, match=r"^quiet\.wav: holds nothing but silence"):
        Contest(loaded, np.zeros(16_000, np.float32), ASKED, "quiet.wav")


def test_tokens_are_spelt_as_they_come_and_rejected_drafts_leave_no_trace_in_the_text(spelling):
    def ids(text: str) -> list[int]:
        return spelling.tokenizer.encode(text, add_special_tokens=False)

    one, other = ids("é")[0], ids("é")[1]  # this vocabulary writes é in two tokens
    a, b, end = *ids("a"), *ids("<"), spelling.special.end
    rounds = [Round((one, a, b), 1, (one, other)), Round((end,), 1, (end,))]
    assert [tuple(piece) for piece in spelling.pieces(rounds)] == [
        ("accepted", "", False), ("rejected", "�a", False), ("rejected", "<", False), ("own", "é", False),
        ("accepted", "<|endoftext|>", True),
    ]  # fmt: skip


def test_of_a_tree_the_choices_beside_the_accepted_path_are_shown(spelling):
    one, other = spelling.tokenizer.encode("é", add_special_tokens=False)
    a, b = (spelling.tokenizer.encode(text, add_special_tokens=False)[0] for text in ("a", "<"))
    drafted, parents = (a, one, b, other, a), (-1, -1, 1, 1, 0)
    tree = Round(drafted, 2, (one, other, b), parents, path=(1, 3))
    assert tree.rejected == ((a,), (b,), ())
    assert [tuple(piece) for piece in spelling.pieces([tree])] == [
        ("rejected", "a", False), ("accepted", "", False), ("rejected", "\ufffd<", False), ("accepted", "é", False),
        ("own", "<", False),
    ]  # fmt: skip


def test_nothing_that_is_said_or_named_becomes_markup(loaded, clips, spelling):
    contest = over(Contest(loaded, clips[0], ASKED))
    low = spelling.tokenizer.encode("<&", add_special_tokens=False)
    contest.main.rounds[:] = contest.pair.rounds[:] = [Round((), 0, tuple(low))]
    contest.language = '"><script>'
    html = contest_html(contest, spelling, "<script>") + sentence_html("<script>.wav: cannot be decoded")
    assert "<script" not in html
    assert "&lt;</span>" in html
    assert "&amp;</span>" in html


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --pair DIR"),
        (["x", "--pair", "y"], "name one pair"),
        (["--main", "x"], "add --assistant A"),
        (["--main", "x", "--assistant", "y", "--port", "0"], "from 1 to 65535"),
        (["--main", "x", "--assistant", "y"], "pip install 'whisper-pair[server]'"),
    ],
)
def test_what_cannot_be_shown_is_reported_in_one_sentence(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(demo_server, "find_spec", lambda name: None)
    assert main(["demo-server", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
