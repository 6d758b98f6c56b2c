"""The benchmark of short windows times full and short ones on the same clips, and weighs their caches."""

import json

from benchmarks import short_windows
from benchmarks.cpu_tables import table


def test_every_contender_decodes_all_clips_and_short_windows_need_less_memory(pair, demo_data, tmp_path, monkeypatch):
    monkeypatch.setattr(short_windows, "MEMORY_SECONDS", 1.0)  # the micro Whisper's full window is 4 s
    main, assistant = map(str, pair)
    out = tmp_path / "found.json"
    short_windows.main(
        ["--main", main, "--assistant", assistant, "--audio", str(demo_data / "test"), "--language", "nl", "--clips",
         "2", "--batch-sizes", "1", "2", "--repeats", "1", "--draft-tokens", "2", "--clock", "cpu", "--out", str(out)]
    )  # fmt: skip
    found = json.loads(out.read_text(encoding="utf-8"))
    rows = {(row["windows"], row["mode"], row["batch_size"]): row for row in found["rows"]}
    assert len(rows) == 8
    assert found["clips"] == 2
    for (kind, _, batch), row in rows.items():
        assert row["identical"] == 2  # what the main alone writes over the same windows
        assert row["seconds"] > 0
        assert row["cache_bytes"] <= rows["full", row["mode"], batch]["cache_bytes"]
        assert (row["speedup_over_full"]["ratio"] == 1.0) == (kind == "full")
    share = found["targets"]["cache_share_batch_2"]["reached"]
    assert share == rows["short", "speculative", 2]["cache_bytes"] / rows["full", "speculative", 2]["cache_bytes"] < 0.8
    made = (table("short_windows-cpu", found) or "").splitlines()
    assert [line.split(" | ")[:3] for line in made[2:6]] == [
        [f"| {row['batch_size']}", "main alone" if row["mode"] == "greedy" else "pair", row["windows"]]
        for row in found["rows"][:4]
    ]
