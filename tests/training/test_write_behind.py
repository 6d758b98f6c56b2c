"""Writes are behind: nobody waits for the disk but where too much is to be written, and a kill leaves whole windows."""

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from whisper_pair.training import window_cache as room
from whisper_pair.training.batches import AudioBatch, FrozenEncoder
from whisper_pair.training.encoder_cache import EncoderCache
from whisper_pair.training.window_cache import WindowCache
from whisper_pair.training.write_behind import WriteBehind


class Gate:
    """A disk that writes nothing before it is opened."""

    def __init__(self):
        self.open, self.written = threading.Event(), []

    def write(self, what) -> None:
        assert self.open.wait(60)
        self.written.append(what)


def test_a_blocked_disk_blocks_nobody_until_too_much_waits():
    gate, writes = Gate(), WriteBehind(most=100)
    for number in range(4):
        writes.put(number, f"window {number}", 25, gate.write)  # returns, though nothing is written
    assert gate.written == []
    assert writes.get(3) == "window 3"
    fifth = threading.Thread(target=writes.put, args=(4, "window 4", 25, gate.write))
    fifth.start()
    fifth.join(0.2)
    assert fifth.is_alive()  # there is no room for it
    gate.open.set()
    fifth.join()
    writes.flush()
    assert gate.written == [f"window {number}" for number in range(5)]
    assert writes.get(3) is None


def test_what_is_larger_than_all_room_is_written_alone():
    gate, writes = Gate(), WriteBehind(most=10)
    gate.open.set()
    for number in range(3):
        writes.put(number, number, 50, gate.write)
    writes.flush()
    assert gate.written == [0, 1, 2]


def test_what_waits_already_is_not_written_twice():
    gate, writes = Gate(), WriteBehind(most=100)
    for _ in range(3):
        writes.put("window", "first", 40, gate.write)
    gate.open.set()
    writes.flush()
    assert gate.written == ["first"]


def test_a_failed_write_is_raised_by_the_next_call():
    def fails(what):
        raise ValueError(what)

    writes = WriteBehind(most=100)
    writes.put(0, "a bug", 1, fails)
    with pytest.raises(ValueError, match="a bug"):
        writes.flush()
    writes.flush()  # once


def test_a_window_is_read_from_memory_here_and_is_not_there_elsewhere_until_it_is_written(tmp_path, monkeypatch):
    gate, write = Gate(), room._write
    monkeypatch.setattr(room, "_write", lambda *what: (gate.write(None), write(*what)))
    cache = EncoderCache(tmp_path, windows=2, frames=3, width=4, dtype="bfloat16")
    states = torch.randn(3, 4)
    cache.write(0, states)
    kept = states.bfloat16()
    states.zero_()  # what is handed in may change afterwards
    assert 0 not in cache
    assert torch.equal(cache.read(0), kept)
    reader = [sys.executable, "-c", READER, str(tmp_path)]
    assert subprocess.run(reader).returncode == 0
    # as loader workers are, which neither read this process's memory nor wait for its thread
    assert in_a_fork(lambda: cache.read(0) is None)
    gate.open.set()
    room.WRITES.flush()
    assert 0 in cache
    assert torch.equal(cache.read(0), kept)
    assert subprocess.run(reader).returncode == 1


def in_a_fork(test) -> bool:
    """What it says in a forked process, which ends with it whatever happens."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if test() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


READER = """
import sys
from pathlib import Path
from whisper_pair.training.encoder_cache import EncoderCache

sys.exit(EncoderCache(Path(sys.argv[1]), windows=2, frames=3, width=4, dtype="bfloat16").read(0) is not None)
"""


WRITER = """
import os, signal, sys
from pathlib import Path
import torch
from whisper_pair.training import window_cache as room

cache = room.WindowCache(Path(sys.argv[1]), {"states": ("float16", 8)}, [64] * 6, {})
plain, calls = os.write, []

def dies(file, part):
    calls.append(file)
    if len(calls) < 4:
        return plain(file, part)
    plain(file, part[: len(part) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "killed":
    os.write = dies
for window in range(6):
    cache.write(window, {"states": torch.full((64, 8), window + 1.0)})
"""


def windows_after(how: str, folder) -> tuple[int, list]:
    done = subprocess.run([sys.executable, "-c", WRITER, str(folder), how])
    cache = WindowCache(folder, {"states": ("float16", 8)}, [64] * 6, {})
    found = [cache.read(window) for window in range(6)]
    assert all((each["states"] == number + 1).all() for number, each in enumerate(found) if each is not None)
    return done.returncode, [each is not None for each in found]


def test_a_kill_in_the_middle_of_a_write_leaves_whole_windows_only(tmp_path, caplog):
    assert windows_after("killed", tmp_path) == (-signal.SIGKILL, [True] * 3 + [False] * 3)
    assert "damaged" not in caplog.text  # the index never lists a window that is half written


def test_a_process_that_ends_has_written_everything(tmp_path):
    assert windows_after("ends", tmp_path) == (0, [True] * 6)


def test_a_forked_process_writes_by_a_thread_of_its_own(tmp_path):
    cache = EncoderCache(tmp_path, windows=2, frames=3, width=4)
    cache.write(0, torch.ones(3, 4))

    def written() -> bool:
        cache.write(1, torch.ones(3, 4))
        room.WRITES.flush()
        return 1 in cache

    assert in_a_fork(written)
    assert 1 in cache


def test_a_window_that_is_there_does_not_change_under_its_readers(tmp_path):
    cache = EncoderCache(tmp_path, windows=1, frames=3, width=4)
    for value in (1.0, 2.0):
        cache.write(0, torch.full((3, 4), value))
        room.WRITES.flush()
    assert (cache.read(0) == 1.0).all()


class Types(TorchDispatchMode):
    """Notes the type of whatever is computed."""

    def __torch_dispatch__(self, function, types, arguments=(), more=None):
        result = function(*arguments, **(more or {}))
        self.seen.add(getattr(result, "dtype", None))
        return result

    def __enter__(self):
        self.seen = set()
        return super().__enter__()


class Passing(torch.nn.Module):
    """An encoder of a type, whose states are what it is given."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.conv1 = torch.nn.Conv1d(1, 1, 1, dtype=dtype)

    def forward(self, mel):
        return SimpleNamespace(last_hidden_state=mel.clone())


def test_states_of_a_half_precision_encoder_are_never_float32(tmp_path):
    cache = EncoderCache(tmp_path, windows=1, frames=3, width=4, dtype="bfloat16")
    computed = torch.randn(1, 3, 4).bfloat16()
    encoding = FrozenEncoder(Passing(torch.bfloat16), lambda waves: waves, None, cache)
    audio = AudioBatch.to_encode(computed.clone(), [0])
    with Types() as types:
        met = encoding.states(audio, "cpu")
        room.WRITES.flush()
    assert torch.bfloat16 in types.seen
    assert torch.float32 not in types.seen
    assert torch.equal(met, computed)
    assert torch.equal(cache.read(0), computed[0])


def test_exact_states_are_returned_as_they_were_and_cached_rounded(tmp_path):
    computed = torch.randn(1, 3, 4)
    audio = AudioBatch.to_encode(computed.clone(), [0])
    cache = EncoderCache(tmp_path, windows=1, frames=3, width=4)

    def encoding(cache=None, rounding=None):
        return FrozenEncoder(Passing(computed.dtype), lambda waves: waves, None, cache, rounding)

    assert torch.equal(encoding(cache).states(audio, "cpu", exact=True), computed)
    rounded = computed.half().float()
    assert torch.equal(cache.read(0).float(), rounded[0])
    assert torch.equal(encoding(rounding=torch.float16).states(audio, "cpu"), rounded)  # kept or not
    assert torch.equal(encoding().states(audio, "cpu"), computed)
