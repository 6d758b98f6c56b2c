"""Two runs on one output folder: the second is refused while the first lives, and only then."""

import json
import os
import signal
import subprocess
import sys

import pytest

from whisper_pair.errors import InputError
from whisper_pair.runs.locks import FILE, lock_run

HOLD = """
import sys, time
from pathlib import Path
from whisper_pair.runs.locks import lock_run
with lock_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Starts processes that hold the folder; gives each once it does."""
    started = []

    def start(**environment) -> subprocess.Popen:
        env = {**os.environ, "PYTHONPATH": os.getcwd(), **environment}
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], env=env, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_second_run_is_refused_while_the_first_lives_with_its_process_named(holder, tmp_path):
    first = holder()
    with (
        pytest.raises(InputError, match=rf"another run is at work in it \(process {first.pid} on "),
        lock_run(tmp_path),
    ):
        pass


def test_where_the_system_has_no_such_locks_as_on_windows_another_one_does(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with (
        lock_run(tmp_path),
        pytest.raises(InputError, match=rf"another run is at work in it \(process {os.getpid()} on "),
        lock_run(tmp_path),
    ):
        pass
    with lock_run(tmp_path):  # the lock goes with its run, and what it leaves makes the folder nobody else's
        pass


def test_the_lock_of_a_run_that_was_killed_is_none(holder, tmp_path):
    first = holder()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert json.loads((tmp_path / FILE).read_text())["process"] == first.pid
    with lock_run(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())["process"] == os.getpid()


def test_a_lock_file_that_names_a_living_process_of_another_time_is_none(tmp_path):
    """As after a restart of the machine, when another process has the number."""
    (tmp_path / FILE).write_text(json.dumps({"process": 1, "machine": "here", "since": "2020-01-01"}))
    with lock_run(tmp_path):
        pass


def test_the_processes_of_one_launch_are_one_run(holder, tmp_path):
    holder(RANK="0")
    holder(RANK="1")


def test_a_worker_that_outlives_its_killed_run_does_not_hold_the_folder(tmp_path):
    fork = HOLD.replace(
        "    print(", "    import os\n    child = os.fork()\n    if child == 0: time.sleep(60)\n    print("
    )
    fork = fork.replace('"held"', "child")
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    run = subprocess.Popen([sys.executable, "-c", fork, str(tmp_path)], env=env, stdout=subprocess.PIPE, text=True)
    worker = int(run.stdout.readline())
    run.kill()
    run.wait()
    try:
        os.kill(worker, 0)  # lives
        with lock_run(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot be written"), lock_run(tmp_path / "file"):
        pass


def test_the_stages_take_the_lock(holder, write_config, command, tmp_path, tmp_path_factory):
    holder()
    config = write_config(tmp_path_factory.mktemp("config") / "pair.yaml", output=str(tmp_path))
    done = command("-m", "train", config)
    assert done.returncode == 2
    assert "another run is at work" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def precious(tmp_path):
    """A file beside the output folder that no run may change."""
    file = tmp_path / "precious.txt"
    file.write_text("precious")
    (tmp_path / "output").mkdir()
    yield file
    assert file.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output", "precious.txt"]


def refusal(output) -> str:
    with pytest.raises(InputError) as refused, lock_run(output):
        pass
    return str(refused.value)


def test_nothing_is_written_into_a_folder_that_is_no_runs(precious):
    output = precious.parent / "output"
    (output / "notes.md").write_text("not a run")
    assert "no config.yaml of a run" in refusal(output)
    assert [path.name for path in output.iterdir()] == ["notes.md"]


@pytest.mark.parametrize(
    "name", [FILE, "config.yaml", "main.partial", "labels/shard", "eval/decoded/x", "data/part.flac"]
)
@pytest.mark.parametrize("of_a_run", [True, False])
def test_a_link_in_a_runs_folder_that_leads_out_is_refused(precious, name, of_a_run):
    output = precious.parent / "output"
    if of_a_run:
        (output / "config.yaml").write_text("a run's")
    link = output / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(precious)
    message = refusal(output)
    assert "is a link that leads out" in message or "no config.yaml of a run" in message
    link.unlink()
    link.symlink_to(link.name)  # to itself
    assert refusal(output)
    link.unlink()


def test_a_lock_that_is_another_name_of_someones_file_is_refused(precious):
    (precious.parent / "output" / FILE).hardlink_to(precious)
    assert "is not the lock file of a run" in refusal(precious.parent / "output")


def test_links_within_a_run_and_the_output_as_a_link_are_let_be(tmp_path):
    """A tracker links to its latest run; an output may be on another disk."""
    (tmp_path / "disk" / "logs" / "run-1").mkdir(parents=True)
    (tmp_path / "disk" / "logs" / "latest").symlink_to("run-1")
    (tmp_path / "disk" / "config.yaml").touch()
    (tmp_path / "output").symlink_to("disk")
    with lock_run(tmp_path / "output"):
        pass


def test_of_a_link_the_link_alone_is_discarded(precious):
    from whisper_pair.runs.stages import discard

    link = precious.parent / "output" / "main"
    link.symlink_to(precious.parent)
    discard(link)
    assert not link.is_symlink()
