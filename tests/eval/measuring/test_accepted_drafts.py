"""Acceptance by draft length, and agreement by kind of token."""

import pytest

from eval.measuring.acceptance import BOUNDS, acceptance_section, agreement_by_group, least_accepted
from eval.measuring.tokens import token_class
from tests.decoding.models import END, FIRST_TIMESTAMP, tiny_whisper
from tests.eval.measuring.samples import COSTS, matches
from whisper_pair.decoding.acceptance import TokenMatches, acceptances
from whisper_pair.decoding.special_tokens import SpecialTokens

SPECIAL = SpecialTokens.of(tiny_whisper())


def test_every_draft_length_has_its_histogram_and_intervals():
    some = matches()
    section = acceptance_section(some, COSTS)
    truth = acceptances(some)
    assert [row["draft_tokens"] for row in section["by_draft_tokens"]] == list(range(1, 17))
    for row in section["by_draft_tokens"]:
        found = truth[row["draft_tokens"]]
        assert row["acceptance_rate"] == found.acceptance_rate
        assert sum(row["accepted_histogram"]) == row["rounds"] == found.rounds
        assert sum(k * count for k, count in enumerate(row["accepted_histogram"])) == row["accepted"]
        for name in ("acceptance_rate", "mean_accepted_length"):
            low, high = row[f"{name}_interval"]
            assert low <= row[name] <= high
    low, high = section["agreement_interval"]
    assert low < section["agreement"] < high


@pytest.mark.parametrize(
    ("token", "piece", "first", "message"),
    [
        (1, " huis", False, "word start"),
        (1, "huis", False, "word inside"),
        (1, "Huis", True, "word start"),
        (2, ",", False, "punctuation"),
        (2, " «", False, "punctuation"),
        (3, " 12", False, "digits"),
        (4, "\ufffd", False, "word inside"),
        (END, "", False, "end of text"),
        (END + 3, "", False, "special"),
        (FIRST_TIMESTAMP, "", False, "timestamp"),
        (FIRST_TIMESTAMP + 5, "", True, "timestamp"),
    ],
)
def test_a_token_is_of_one_kind(token, piece, first, message):
    assert token_class(SPECIAL.kind(token), piece, first) == message


def test_groups_of_tokens_add_up_to_all_of_them():
    tokens = [[1, 2, 3, END], [1, END]]
    some = [TokenMatches.of(tokens[0], [1, 9, 3, END], END, 9), TokenMatches.of(tokens[1], [9, END], END, 9)]
    pieces = {1: " een", 2: "tje", 3: "3", END: ""}.__getitem__
    section = agreement_by_group(some, tokens, pieces, SPECIAL)
    kinds = {row["name"]: (row["tokens"], row["agreed"]) for row in section["by_token_class"]}
    assert kinds == {"word start": (2, 1), "word inside": (1, 0), "digits": (1, 1), "end of text": (2, 2)}
    for rows in section.values():
        assert sum(row["tokens"] for row in rows) == 6
        assert sum(row["agreed"] for row in rows) == 4
    assert [row["name"] for row in section["by_length"]] == [f"{BOUNDS[0]} to {BOUNDS[1] - 1}", "4 to 7"]


def test_the_tokens_most_often_rejected_are_shown_where_they_stand():
    tokens = [[1, 2, 7, END], [2, 7, END], [7, 1, 1, END]]
    choices = [[1, 2, 9, END], [2, 7, END], [9, 1, 1, END]]
    some = [TokenMatches.of(t, c, END, 9) for t, c in zip(tokens, choices, strict=True)]
    (worst, *others) = least_accepted(some, tokens, choices, ["a", "b", "c"], lambda token: f"<{token}>")
    assert not others  # the rest is never rejected
    assert (worst["text"], worst["tokens"], worst["agreed"]) == ("<7>", 3, 1)
    assert worst["examples"][0] == {"clip": "a", "before": "<1><2>", "assistant": "<9>"}
