"""A GPU's joules and bytes, where there is no GPU: the same interfaces, answered by stand-ins."""

import sys
import types

import pytest
import torch

from eval.measuring import memory
from eval.measuring.decoded_clips import DRAFTS
from eval.measuring.energy import joule_counter
from whisper_pair.decoding import Options

CPU = torch.device("cpu")


@pytest.fixture
def nvml(monkeypatch):
    """NVIDIA's management library on a machine with one GPU, which spends 250 J between two readings."""

    class NVMLError(Exception):
        pass

    spent = iter(range(1_000_000, 9_000_000, 250_000))  # millijoules
    module = types.SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID={"GPU-1234": "the GPU"}.__getitem__,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: {"the GPU": next(spent)}[handle],
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="1234"))
    return module


def test_joules_are_read_from_the_gpu_that_decodes(nvml):
    read = joule_counter(torch.device("cuda"))
    before = read()
    assert read() - before == 250.0
    assert joule_counter(CPU) is None


def test_a_gpu_without_such_a_counter_reports_no_energy(nvml, monkeypatch):
    def refuse(handle):
        raise nvml.NVMLError("Not Supported")

    nvml.nvmlDeviceGetTotalEnergyConsumption = refuse
    assert joule_counter(torch.device("cuda")) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert joule_counter(torch.device("cuda")) is None


def test_peak_memory_is_weights_and_what_decoding_takes_beyond_what_lay_there(monkeypatch):
    """The allocator is a stand-in: an engine takes 1000 bytes when it is made (1400 with an assistant), 5 more for each
    frame that it decodes, and what the evaluation's engines hold is given back before."""
    held = types.SimpleNamespace(now=7000, peak=7000)

    def take(count: int) -> None:
        held.now += count
        held.peak = max(held.peak, held.now)

    asked = []

    def engine(main, assistant=None, vocabulary=None):
        take(1000 if assistant is None else 1400)

        def decode(windows, options):
            asked.append((options.batch_size, options.draft_tokens))
            take(5 * sum(window.shape[-1] for window in windows))

        return types.SimpleNamespace(decode=decode)

    for name, act in {
        "synchronize": lambda device: None,
        "empty_cache": lambda: None,
        "memory_allocated": lambda device: held.now,
        "max_memory_allocated": lambda device: held.peak,
        "reset_peak_memory_stats": lambda device: setattr(held, "peak", held.now),
    }.items():
        monkeypatch.setattr(torch.cuda, name, act)
    monkeypatch.setattr(memory, "Engine", engine)
    main = torch.nn.Linear(100, 1, bias=False)
    main.device = torch.device("cuda")
    assistant = types.SimpleNamespace(name="ours", model=torch.nn.Linear(10, 5, bias=False), vocabulary=None)
    released = []
    engines = types.SimpleNamespace(main=main, assistants=[assistant], release=lambda: released.append(held.now))
    full, short = [torch.zeros(1, 50)] * 2, [torch.zeros(1, 8), torch.zeros(1, 12)]
    section = memory.memory_section(engines, full, short, Options(language="nl"))
    assert released == [7000]
    assert asked == [(2, 0), (2, DRAFTS), (2, DRAFTS)]
    assert section["batch_size"] == 2
    assert section["short_windows_peak_megabytes"] == pytest.approx((400 + 200 + 1500) / 1e6)
    assert section["main_peak_megabytes"] == pytest.approx((400 + 1500) / 1e6)
    assert section["pair_peak_megabytes"] == pytest.approx((400 + 200 + 1900) / 1e6)
