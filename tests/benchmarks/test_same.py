"""Two runs are the same where weights, labels and figures are, whatever the clock measured."""

import json
import shutil

import pyarrow
import pyarrow.parquet
import torch
from safetensors.torch import save_file

from benchmarks import same


def write_output(folder) -> None:
    """A run's folder, as far as it is compared."""
    for part in ("main", "assistant", "labels", "eval"):
        (folder / part).mkdir(parents=True)
    for part in ("main", "assistant"):
        save_file({"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2).half()}, folder / part / "model.safetensors")
    pyarrow.parquet.write_table(pyarrow.table({"window": [0], "tokens": [[1, 2]]}), folder / "labels/labels.parquet")
    report = {name: {"figure": 1} for name in same.SECTIONS} | {"speed": {"seconds": 1.0}}
    report["pair"] = {"main": str(folder), "layers": [0]}
    report["acceptance"] = {"agreement": 0.5, "by_draft_tokens": [{"acceptance_rate": 0.5, "predicted_speedup": 1.2}]}
    (folder / "eval/report.json").write_text(json.dumps(report))


def compared(tmp_path, change) -> int:
    before, after = tmp_path / "before", tmp_path / "after"
    write_output(before)
    shutil.copytree(before, after)
    change(after)
    return same.main(str(before), str(after))


def test_equal_outputs_are_the_same(tmp_path, capsys):
    assert compared(tmp_path, lambda after: None) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "the same"


def test_what_a_clock_measured_does_not_count(tmp_path):
    def slower(after):
        text = (after / "eval/report.json").read_text()
        (after / "eval/report.json").write_text(text.replace("1.2", "0.9").replace('"seconds": 1.0', '"seconds": 7.0'))

    assert compared(tmp_path, slower) == 0


def test_one_changed_weight_label_or_figure_is_seen(tmp_path, capsys):
    def other_weight(after):
        save_file({"a": torch.arange(6.0).view(3, 2), "b": torch.ones(2).half()}, after / "main/model.safetensors")

    def other_label(after):
        pyarrow.parquet.write_table(pyarrow.table({"window": [0], "tokens": [[1, 3]]}), after / "labels/labels.parquet")

    def other_figure(after):
        text = (after / "eval/report.json").read_text()
        (after / "eval/report.json").write_text(text.replace('"agreement": 0.5', '"agreement": 0.6'))

    for change, part in ((other_weight, "main"), (other_label, "labels"), (other_figure, "report")):
        assert compared(tmp_path / part, change) == 1
        changed = [line for line in capsys.readouterr().out.splitlines() if " after" in line]
        assert [line.partition(":")[0] for line in changed] == [part]
