"""The README's tables are generated from the committed results, never typed."""

from benchmarks.pair import README, fill


def test_the_readmes_tables_are_those_of_the_committed_results():
    text = README.read_text(encoding="utf-8")
    assert fill(text) == text
    assert "<!-- table " in text
