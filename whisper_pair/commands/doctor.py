"""`whisper-pair doctor`: whether this machine can train and decode pairs, what is missing, and what fixes it."""

import argparse
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import home

if TYPE_CHECKING:
    import numpy as np

SUMMARY = "check this machine: versions, devices, audio, Hub, disk, and a self-test of exactness and speed"

CONTAINERS = {  # of telephones, browsers and films: format, codec, rate
    "M4A": ("ipod", "aac", 16_000),
    "WebM": ("webm", "libopus", 48_000),
    "Matroska": ("matroska", "aac", 16_000),
}
FRAME = 1024  # samples that an encoder is given at once
ROOM = 100e9  # bytes that fine-tuning large-v3 takes: two resumable states and one being written, and the checkpoints


@dataclass(frozen=True)
class Finding:
    """One line of the check: what was looked at, what was found, and what fixes it."""

    name: str
    found: str
    fix: str = ""  # the command or step that fixes it; empty: all is well
    needed: bool = True  # without it nothing works; otherwise something is slower or closed

    @property
    def fails(self) -> bool:
        """Whether nothing works before it is fixed."""
        return bool(self.fix) and self.needed

    def __str__(self) -> str:
        mark = "ok     " if not self.fix else "MISSING" if self.needed else "note   "
        return f"{mark} {self.name}: {self.found}" + (f"; fix: {self.fix}" if self.fix else "")


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--output", type=home, default=".", help="the folder whose disk is looked at, default here")


def run(args: argparse.Namespace) -> int:
    """Prints each finding as it comes; status 1 where something needed is missing."""
    failed = 0
    for part in (versions, devices, attention, audio, hub, lambda: disk(Path(args.output)), exactness):
        try:
            findings = list(part())
        except ImportError as error:  # named with the versions
            findings = [Finding(getattr(part, "__name__", "check"), f"not tried ({error})", "see above")]
        for finding in findings:
            print(finding, flush=True)
            failed += finding.fails
    print("all is well" if not failed else f"{failed} to fix, see MISSING above")
    return 1 if failed else 0


def versions() -> Iterator[Finding]:
    """Every package that this one requires, at a version that it allows."""
    from packaging.requirements import Requirement

    yield Finding("python", ".".join(map(str, sys.version_info[:3])))
    for line in metadata.requires("whisper-pair") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found = "not installed"
        good = found != "not installed" and requirement.specifier.contains(found, prereleases=True)
        yield Finding(requirement.name, found, "" if good else f'pip install "{requirement}"')


def devices() -> Iterator[Finding]:
    """The GPUs that torch can use, each tried, and the CPU's cores."""
    import torch

    from ..precision import resolved

    for i in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(i)
        half = resolved("auto", f"cuda:{i}")
        found = f"{about.name}, {about.total_memory / 2**30:.0f} GiB; precision auto is {half}"
        try:
            torch.ones(16, 16, device=f"cuda:{i}").matmul(torch.ones(16, 16, device=f"cuda:{i}")).sum().item()
            yield Finding(f"GPU {i}", found)
        except RuntimeError as error:
            why = " ".join(str(error).split())[:100]
            yield Finding(f"GPU {i}", f"{found}; it does not compute ({why})", "install the torch build of this driver")
    if not torch.cuda.is_available():
        fix = "install the torch build of your CUDA version" if shutil.which("nvidia-smi") else "train on a GPU"
        yield Finding("GPU", f"none that torch {torch.__version__} can use", fix, needed=False)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("CPU", f"{cores} cores, threads of torch: {torch.get_num_threads()}")


def attention() -> Iterator[Finding]:
    """The attention implementations that transformers can use here."""
    import torch
    from transformers.utils import is_flash_attn_2_available

    backends = ["eager", "sdpa"] + ["flash_attention_2"] * is_flash_attn_2_available()
    if torch.cuda.is_available():
        flash = "on" if torch.backends.cuda.flash_sdp_enabled() else "off"
        backends[1] += f" (flash kernel {flash})"
    yield Finding("attention", ", ".join(backends))


def audio() -> Iterator[Finding]:
    """Clips are written by soundfile and read by PyAV: both are tried on a second of sound in each format."""
    import numpy as np

    from ..audio import SAMPLE_RATE, read_audio
    from ..errors import InputError

    wave, written = np.sin(np.arange(SAMPLE_RATE) / 20).astype(np.float32), {}
    try:
        import soundfile

        for kind in ("WAV", "FLAC", "OGG", "MP3"):
            if kind in soundfile.available_formats():
                file = io.BytesIO()
                soundfile.write(file, wave, SAMPLE_RATE, format=kind)
                written[kind] = file.getvalue()
        yield Finding("audio by soundfile", f"{soundfile.__libsndfile_version__}, writes {', '.join(written)}")
    except (ImportError, OSError) as error:
        yield Finding("audio by soundfile", f"fails ({error})", "pip install --force-reinstall soundfile")
    try:
        import av

        written |= {kind: encoded(wave, *how) for kind, how in CONTAINERS.items()}
        for content in written.values():
            assert abs(len(read_audio(content)) - SAMPLE_RATE) < SAMPLE_RATE / 4
        yield Finding("audio by PyAV", f"{av.__version__}, reads {', '.join(written)}")
    except (ImportError, OSError, ValueError, AssertionError, InputError) as error:
        yield Finding("audio by PyAV", f"fails ({error})", "pip install --force-reinstall av")


def encoded(wave: "np.ndarray", container: str, codec: str, rate: int) -> bytes:
    """Samples [n] at 16 kHz in a file of another format, at `rate`."""
    import av
    import numpy as np
    import soxr

    from ..audio import SAMPLE_RATE

    file, samples = io.BytesIO(), soxr.resample(wave, SAMPLE_RATE, rate)
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout="mono")
        to = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate)
        packets = []
        for at in range(0, len(samples), FRAME):
            part = np.ascontiguousarray(samples[None, at : at + FRAME])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), at
            packets += [packet for one in to.resample(frame) for packet in stream.encode(one)]
        for packet in [*packets, *stream.encode(None)]:
            output.mux(packet)
    return file.getvalue()


def hub() -> Iterator[Finding]:
    """Whether the Hub answers and accepts the token, which is never shown."""
    from huggingface_hub import HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        yield Finding("Hub", "switched off", "unset HF_HUB_OFFLINE to fetch or publish", needed=False)
    elif get_token() is not None:
        yield _login()
    else:
        try:
            HfApi().model_info("openai/whisper-tiny", timeout=10)
            yield Finding("Hub", "it answers; no login, so open models and data alone", "hf auth login", needed=False)
        except Exception as error:  # no network, a proxy, a mirror without the model: many kinds
            fix = "check the network, or work with folders alone"
            yield Finding("Hub", f"it does not answer ({type(error).__name__})", fix, needed=False)


def _login() -> Finding:
    from huggingface_hub import HfApi

    try:
        return Finding("Hub", f"logged in as {HfApi().whoami()['name']}")
    except Exception as error:  # no network, an expired token: many kinds
        kind = type(error).__name__
        return Finding("Hub", f"a token is there, but the Hub did not answer to it ({kind})", "hf auth login", False)


def disk(output: Path) -> Iterator[Finding]:
    """Room on the disks of the output and of the Hub's cache, and whether they can be written to."""
    from huggingface_hub import constants

    for name, folder in (("disk of the output", output), ("disk of the Hub's cache", Path(constants.HF_HUB_CACHE))):
        there = folder.resolve()
        while not there.exists():
            there = there.parent
        free = f"{shutil.disk_usage(there).free / 1e9:.0f} GB free"
        try:
            tempfile.TemporaryFile(dir=there).close()
        except OSError as error:
            yield Finding(
                name, f"{free}, and it cannot be written to ({error.strerror})", f"choose another than {there}"
            )
            continue
        fix = f"make room: large-v3 takes up to {ROOM / 1e9:.0f} GB; --dry-run says what a config takes"
        yield Finding(name, free, "" if shutil.disk_usage(there).free > ROOM else fix, needed=False)


def exactness() -> Iterator[Finding]:
    """The self-test on each device: whether all ways of decoding give the same tokens."""
    import torch
    from transformers.utils import logging

    from .self_test import self_test

    logging.set_verbosity_error()

    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        tested = self_test(device)
        found = (
            f"greedy, speculative ({100 * tested.accepted:.0f} % of drafts accepted) and transformers' tokens are "
            f"{'the same' if tested.exact else 'NOT the same'} in {tested.windows} windows of a random tiny pair; "
            f"{tested.greedy:.0f}, {tested.speculative:.0f} and {tested.transformers:.0f} tokens/s"
        )
        fix = "" if tested.exact else "install the versions of constraints.txt, and report this line"
        yield Finding(f"exactness on {device}", found, fix)
