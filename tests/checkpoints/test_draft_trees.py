"""The trees beside an assistant are those that "auto" may draft, and a file that is no list of trees is refused."""

import json
import shutil

import pytest

from whisper_pair import Pair
from whisper_pair.checkpoints.draft_trees import DRAFT_TREES_FILE, load_draft_trees, save_draft_trees
from whisper_pair.decoding.rank_shares import TREES
from whisper_pair.decoding.tree import DraftTree
from whisper_pair.errors import InputError

FEW = [DraftTree.of([(0,), (1,), (1, 0)]), DraftTree.of([(0,), (0, 0), (0, 1), (1,), (2,)])]


def test_a_pair_loads_with_the_trees_beside_its_assistant(pair, tmp_path):
    assistant = tmp_path / "assistant"
    shutil.copytree(pair[1], assistant)
    (assistant / DRAFT_TREES_FILE).unlink(missing_ok=True)
    assert load_draft_trees(assistant) is None
    assert Pair.from_pretrained(pair[0], assistant).engine.round_times.trees == sorted(TREES, key=len)
    save_draft_trees(FEW, assistant)
    assert load_draft_trees(assistant) == FEW
    assert Pair.from_pretrained(pair[0], assistant).engine.round_times.trees == FEW
    save_draft_trees([], assistant)
    assert Pair.from_pretrained(pair[0], assistant).engine.round_times.trees == []


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is not a list of draft trees; remove the file"),
        ("[]", "is not a list of draft trees"),
        (json.dumps({"trees": [3]}), "is not a list of draft trees"),
        (json.dumps({"trees": [["0", "10"]]}), r"the path \[1, 0\] and not \[1\], which leads to it; remove the file"),
        (json.dumps({"trees": [["0"]] * 9}), "has 9 trees, expected at most 8"),
    ],
)
def test_a_file_that_holds_no_trees_is_refused_in_one_sentence(tmp_path, text, match):
    (tmp_path / DRAFT_TREES_FILE).write_text(text)
    with pytest.raises(InputError, match=match) as caught:
        load_draft_trees(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / DRAFT_TREES_FILE))
    assert "\n" not in str(caught.value)
