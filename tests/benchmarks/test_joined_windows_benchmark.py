"""benchmarks/joined_windows.py over the synthetic corpus."""

from benchmarks import joined_windows
from benchmarks.cpu_tables import table


def test_joined_clips_are_decoded_in_windows_of_both_kinds(demo_data, tmp_path, monkeypatch):
    monkeypatch.setattr("whisper_pair.decoding.short_windows.FRAME_BUCKET", 10)
    given = ["--main", str(demo_data / "micro-whisper"), "--audio", str(demo_data / "test"), "--language", "nl"]
    result = joined_windows.main([*given, "--seconds", "3", "--device", "cpu", "--out", str(tmp_path / "result.json")])
    full, short = result["rows"]
    assert (full["kind"], short["kind"]) == ("full", "short")
    assert full["windows"] == short["windows"] > 0
    assert short["frames"] < full["frames"]
    assert min(full["wer"], short["wer"]) > 0
    assert 0 < result["longest_clip_seconds"] < 6
    made = (table("joined_windows-cpu", result) or "").splitlines()
    assert made[2].startswith(f"| 3 s | {full['windows']} | {short['frames'] / 50:.1f} s | {100 * full['wer']:.1f} % |")
