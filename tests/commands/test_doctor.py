"""The doctor says what is missing and what fixes it, and never a secret."""

from types import SimpleNamespace

import pytest
import torch

from whisper_pair.commands import doctor
from whisper_pair.commands import self_test as selftest

SECRET = "hf_" + "doctorsecret" * 3


def findings(part) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in part}


def test_a_machine_without_faults_is_reported_as_such(command):
    done = command("-m", "whisper_pair.cli", "doctor", HF_TOKEN=SECRET, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("torch:", "transformers:", "CPU:", "attention:", "audio by soundfile:", "Hub:", "disk of the output:"):
        assert f" {name} " in done.stdout
    assert "tokens are the same in 4 windows" in done.stdout
    assert done.stdout.endswith("all is well\n")
    assert SECRET not in done.stdout + done.stderr


def test_what_is_missing_comes_with_the_command_that_mends_it(monkeypatch, capsys):
    installed = doctor.metadata.version

    def version(name):
        if name == "jiwer":
            raise doctor.metadata.PackageNotFoundError
        return "0.1" if name == "peft" else installed(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    found = findings(doctor.versions())
    assert str(found["jiwer"]) == 'MISSING jiwer: not installed; fix: pip install "jiwer>=4.0"'
    assert found["peft"].fails
    assert not found["torch"].fails


def test_a_pair_that_is_not_exact_fails_the_doctor(monkeypatch):
    monkeypatch.setattr(selftest, "generated", lambda main, window: [1, 2, 3])
    found = findings(doctor.exactness())["exactness on cpu"]
    assert found.fails
    assert "NOT the same" in found.found


def test_the_self_test_accepts_some_drafts_and_refuses_some():
    """Else it would prove nothing: neither the keeping of drafts nor their undoing."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    tested = selftest.self_test()
    assert 0 < tested.accepted < 1
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_that_is_shut_or_unknown_is_a_note_not_a_failure(monkeypatch, offline):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    found = findings(doctor.hub())["Hub"]
    assert found.fix
    assert not found.fails


def test_every_kind_of_audio_that_is_claimed_is_tried(monkeypatch):
    found = findings(doctor.audio())["audio by PyAV"]
    assert not found.fix
    assert found.found.endswith("reads WAV, FLAC, OGG, MP3, M4A, WebM, Matroska")
    monkeypatch.setitem(doctor.CONTAINERS, "M4A", ("mp4", "no-such-codec", 44_100))
    assert findings(doctor.audio())["audio by PyAV"].fails


def test_a_disk_that_cannot_be_written_to_fails_the_doctor(tmp_path, monkeypatch):
    def refused(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refused)
    found = findings(doctor.disk(tmp_path))["disk of the output"]
    assert found.fails
    assert "Read-only file system" in found.found


def test_a_small_disk_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=5e9))
    found = findings(doctor.disk(tmp_path / "not" / "yet"))
    assert "5 GB free" in found["disk of the output"].found
    assert not found["disk of the output"].fails
