"""A disk may fail at any write of anyone: it is one sentence, and what was finished before is kept."""

import errno
import io
import json
import os
import signal
import stat
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from whisper_pair.cli import main
from whisper_pair.commands.command_line import guarded, stage_command
from whisper_pair.commands.devices import refuse_missing
from whisper_pair.commands.run import status_of
from whisper_pair.errors import InputError
from whisper_pair.runs.files import WHY, disk_failure, readable_to_others, write_json, write_table, write_text
from whisper_pair.runs.trackers import started
from whisper_pair.training.progress import write_whole


@pytest.fixture
def fails_at(monkeypatch):
    """Writes and fsyncs of whole_file fail from the given one on."""

    def at(number: int) -> None:
        left = [number]

        def spend(*_) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        class Failing(io.FileIO):
            def write(self, data):
                spend()
                return super().write(data)

        monkeypatch.setattr("whisper_pair.runs.files.open", Failing, raising=False)
        monkeypatch.setattr("whisper_pair.runs.files.os.fsync", spend)

    return at


def text(path, value):
    write_text(path, value)


def rows(path, value):
    import pyarrow as pa

    write_table(path, pa.table({"text": [value] * 1000}))


@pytest.mark.parametrize("write", [text, rows, write_json])
def test_a_file_is_the_old_one_or_the_new_one_at_whichever_write_the_disk_fails(tmp_path, fails_at, write):
    path, failed = tmp_path / "file", 0
    write(path, "old")
    old = path.read_bytes()
    for number in range(50):
        fails_at(number)
        error = caught(lambda: write(path, "new"))
        if error is None:
            break
        failed += 1
        assert (error.errno, str(error.filename)) == (errno.ENOSPC, str(path))
        assert path.read_bytes() == old
        assert os.listdir(tmp_path) == ["file"]
    assert failed >= 2
    assert path.read_bytes() != old


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "precious").write_text("precious")
    for name in ("file", "file.partial"):
        (tmp_path / name).symlink_to("precious")
    write_text(tmp_path / "file", "ours")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "ours"
    assert not (tmp_path / "file").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["file", "precious"]


@pytest.mark.parametrize("length", [1, 247, 248, 255])
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path, length):
    write_text(tmp_path / ("x" * length), "whole")
    assert os.listdir(tmp_path) == ["x" * length]


def test_a_name_that_cannot_be_encoded_is_still_json(tmp_path):
    write_json(tmp_path / "file", {"clip": "caf\udce9.wav"})
    assert json.loads((tmp_path / "file").read_text()) == {"clip": "caf\udce9.wav"}


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_are_as_readable_as_the_umask_says(tmp_path, umask):
    from safetensors.torch import save_file

    before = os.umask(umask)
    try:
        write_text(tmp_path / "text", "x")
        (tmp_path / "folder").mkdir()
        save_file({"x": torch.zeros(1)}, tmp_path / "folder" / "model.safetensors")
        (tmp_path / "folder" / "model.safetensors").chmod(0o600)
        readable_to_others(tmp_path)
    finally:
        os.umask(before)
    for path in (tmp_path / "text", tmp_path / "folder" / "model.safetensors"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_checkpoint_is_as_readable_as_its_neighbours(tmp_path):
    class Alone:
        is_main_process = True

        def wait_for_everyone(self):
            pass

    def write(aside):
        for name, mode in (("model.safetensors", 0o600), ("config.json", 0o644)):
            (aside / name).touch(mode)

    write_whole(Alone(), tmp_path / "best", write)
    assert len({path.stat().st_mode for path in (tmp_path / "best").iterdir()}) == 1


# What is said


def caught(action) -> Exception | None:
    try:
        action()
    except Exception as error:
        return error
    return None


@pytest.fixture
def full(tmp_path) -> str:
    """Every write to it fails with ENOSPC. Through a link, for some libraries remove what they could not write."""
    (tmp_path / "full").symlink_to("/dev/full")
    return str(tmp_path / "full")


def write_to(path):
    with open(path, "wb") as file:
        file.write(b"x")


def write_torch(path):
    torch.save(torch.zeros(100_000), path)


def write_parquet(path):
    import pyarrow as pa
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table({"x": [1]}), path)


def write_picture(path):
    from matplotlib.figure import Figure

    with open(path, "wb") as file:
        Figure().savefig(file, format="png")


@pytest.mark.parametrize("write", [write_to, write_torch, write_parquet, write_picture])
def test_a_full_disk_is_reported_in_a_sentence_whichever_library_writes(write, full, capsys):
    assert guarded(lambda: write(full)) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: the disk is full")
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, os.strerror(number), "x") for number in WHY),
        Exception("No space left on device (os error 28)"),  # tokenizers'
        RuntimeError("Caught OSError in DataLoader worker process 0.\n[Errno 122] Disk quota exceeded"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ..."),
    ],
)
def test_each_refusal_of_a_disk_is_one_sentence(error, capsys):
    def failing():
        raise error

    assert guarded(failing) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_no_refusal_of_a_disk_keeps_its_traceback():
    def failing():
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError):
        guarded(failing)
    assert disk_failure(FileNotFoundError(errno.ENOENT, "x")) is None


LIMITED = """
import resource, runpy, sys
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.argv = sys.argv[1:2] + sys.argv[3:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


def test_a_training_without_room_for_its_weights_says_so_and_continues_later(write_config, tmp_path, command):
    """Under a limit on files' sizes the kernel refuses a library's writes as a full disk does."""
    config = write_config(tmp_path / "pair.yaml")
    done = command("-c", LIMITED, "train", 1_000_000, config)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: no file may be that large" in done.stderr
    assert not (tmp_path / "output" / "main").exists()
    assert command("-m", "train", config).returncode == 0
    assert (tmp_path / "output" / "main" / "model.safetensors").stat().st_mode & 0o444 == 0o666 & ~_umask() & 0o444


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_real_disk_that_is_full_keeps_what_was_there(disk):
    write_json(disk / "report.json", {"old": 1})
    for size in (100_000, 150_000, 199_000, 400_000):
        error = caught(lambda size=size: write_text(disk / "report.json", " " * size))
        if error is not None:
            break
        write_json(disk / "report.json", {"old": 1})
    assert disk_failure(error).startswith(f"the disk is full at {disk}/report.json")
    assert json.loads((disk / "report.json").read_text()) == {"old": 1}
    assert os.listdir(disk) == ["report.json"]


# Whoever reads goes away


def piped(*arguments, to: str) -> subprocess.CompletedProcess:
    line = f'"$@" {to}'
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    program = ["bash", "-c", f"set -o pipefail; {line}", "bash", sys.executable, "-m", "whisper_pair.cli"]
    return subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True, env=env, timeout=100)


@pytest.mark.parametrize(
    ("to", "status", "message"),
    [("| true", 141, "stopped because the reader"), ("> /dev/full", 1, "error: the disk is full"), (">&-", 0, "")],
)
def test_output_that_nobody_takes_is_one_sentence(to, status, message):
    done = piped("init", "nl", "--out", "-", to=to)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == bool(message)


# What is not here


@pytest.mark.parametrize("device", ["cuda:7", "cuda", "nonsense", "cuda:-1", "xpu", "meta"])
def test_a_device_that_is_not_here_is_one_sentence(device, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(InputError, match=f"^--device {device}: "):
        refuse_missing(device)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(InputError, match="torch sees 2 here; the last one is cuda:1"):
        refuse_missing("cuda:2")
    refuse_missing("cpu")


@pytest.mark.parametrize("tracker", ["wandb", "trackio", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_reported_before_anything_is_read(
    tracker, write_config, tmp_path, monkeypatch
):
    monkeypatch.setattr("whisper_pair.runs.trackers.find_spec", lambda name: None)
    config = write_config(tmp_path / "pair.yaml", tracker=tracker, model="gone")
    with pytest.raises(InputError, match=f"^tracker: {tracker} is not installed; pip install {tracker}"):
        stage_command("train", "", pytest.fail, [str(config), "--debug"])
    with pytest.raises(InputError, match=f"^tracker: {tracker} is not installed"):
        main(["run", str(config), "--debug"])


def test_a_tracker_that_does_not_start_is_one_sentence():
    def start():
        raise ConnectionError("no\nroute")

    with pytest.raises(InputError, match=r"^tracker: wandb does not start \(no route\); "):
        started("wandb", start)


@pytest.mark.parametrize(("name", "why"), [("SIGKILL", "out of memory"), ("SIGBUS", "a disk may be full")])
def test_a_stage_that_a_signal_ended_is_reported(name, why, capfd):
    number = signal.Signals[name]
    kill = f"import os; os.kill(os.getpid(), {int(number)})"
    assert status_of([sys.executable, "-c", kill]) == 128 + number
    message = capfd.readouterr().err
    assert f"was ended by {name}; " in message
    assert why in message
