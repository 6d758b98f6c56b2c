"""What is computed once is read back as it was, proved by its checksum, and belongs to what it was made from."""

import errno
import os
import pickle
import shutil

import pytest
import torch

from whisper_pair.errors import InputError
from whisper_pair.training import EncoderCache
from whisper_pair.training import window_cache as room
from whisper_pair.training.window_cache import WindowCache
from whisper_pair.training.write_behind import WRITES

FIELDS = {"ids": ("int32", 3), "log_probabilities": ("float16", 3), "rest": ("float32", 1), "states": ("bfloat16", 2)}
LENGTHS = [2, 5, 1, 4]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(room, "SHARD", 100)


def tensors(window: int) -> dict[str, torch.Tensor]:
    chance = torch.Generator().manual_seed(window)
    rows = LENGTHS[window]
    return {
        "ids": torch.randint(0, 99, (rows, 3), generator=chance, dtype=torch.int32),
        "log_probabilities": torch.randn(rows, 3, generator=chance).half(),
        "rest": torch.randn(rows, 1, generator=chance),
        "states": torch.randn(rows, 2, generator=chance).bfloat16(),
    }


def opened(folder, about=None, fields=FIELDS) -> WindowCache:
    return WindowCache(folder, fields, LENGTHS, about or {"main": "a"})


def holds(cache: WindowCache, number: int, window: int) -> bool:
    """On disk, where all caches of the process are written by now."""
    WRITES.flush()
    found = cache.read(number)
    return found is not None and all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
        for name, tensor in tensors(window).items()
    )


def test_windows_come_back_as_they_were_after_a_restart(tmp_path):
    first = opened(tmp_path / "cache")
    for window in (3, 1, 0):
        first.write(window, tensors(window))
    again = opened(tmp_path / "cache")
    assert [window in again for window in range(4)] == [True, True, False, True]
    assert all(holds(again, window, window) for window in (0, 1, 3))
    assert again.read(2) is None
    assert len(list((tmp_path / "cache").glob("shard-*"))) > 1


def test_a_view_counts_its_own_windows(tmp_path):
    cache = EncoderCache(tmp_path, len(LENGTHS), LENGTHS, 2, dtype="bfloat16")
    view = cache.of([3, 0])
    view.write(0, tensors(3)["states"])
    WRITES.flush()
    assert torch.equal(cache.read(3), tensors(3)["states"])
    assert 0 in view
    assert 1 not in view


def test_a_worker_that_was_not_forked_sees_what_comes_later(tmp_path):
    cache = opened(tmp_path)
    sent = pickle.loads(pickle.dumps(cache))
    cache.write(1, tensors(1))
    assert holds(sent, 1, 1)


def test_a_damaged_window_is_reported_and_computed_again(tmp_path, caplog):
    cache = opened(tmp_path)
    for window in range(4):
        cache.write(window, tensors(window))
    WRITES.flush()
    shard = tmp_path / "shard-00000"
    raw = bytearray(shard.read_bytes())
    raw[7] ^= 1
    shard.write_bytes(raw)
    assert cache.read(0) is None
    assert "shard-00000: window 0 is damaged" in caplog.text
    assert 0 not in cache
    assert holds(cache, 1, 1)
    cache.write(0, tensors(0))
    assert holds(cache, 0, 0)


def test_a_shard_that_is_gone_is_a_damage_too(tmp_path):
    cache = opened(tmp_path)
    cache.write(0, tensors(0))
    WRITES.flush()
    (tmp_path / "shard-00000").unlink()
    assert cache.read(0) is None


@pytest.mark.parametrize(
    ("about", "fields", "difference"),
    [
        ({"main": "b"}, FIELDS, 'main = "a", not "b"'),
        ({"main": "a"}, FIELDS | {"rest": ("float16", 1)}, 'fields.rest.0 = "float32", not "float16"'),
    ],
)
def test_a_cache_made_from_something_else_is_built_again(tmp_path, caplog, about, fields, difference):
    opened(tmp_path / "cache").write(0, tensors(0))
    again = opened(tmp_path / "cache", about, fields)
    assert f"was made with {difference}; it is built again" in caplog.text
    assert 0 not in again


def test_a_cache_of_another_version_of_the_package_is_built_again(tmp_path, caplog, monkeypatch):
    opened(tmp_path).write(0, tensors(0))
    monkeypatch.setattr(room, "versions", lambda: {"whisper-pair": "99"})
    assert 0 not in opened(tmp_path)
    assert "made_by.whisper-pair" in caplog.text


def test_too_small_a_disk_is_reported_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 100))
    with pytest.raises(InputError, match=r"GB are still to be cached and 0\.0 GB are free"):
        opened(tmp_path / "cache")


def test_a_disk_that_fills_up_keeps_what_is_whole(tmp_path, monkeypatch, caplog):
    cache = opened(tmp_path)
    cache.write(0, tensors(0))
    WRITES.flush()
    plain, written = os.write, []

    def fills_up(file, view):
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(plain(file, view[:5]))
        return written[0]

    monkeypatch.setattr(os, "write", fills_up)
    cache.write(1, tensors(1))
    cache.write(2, tensors(2))
    WRITES.flush()
    monkeypatch.undo()
    assert caplog.text.count("No space left on device") == 1
    again = opened(tmp_path)
    assert holds(again, 0, 0)
    assert 1 not in again
    assert 2 not in again
