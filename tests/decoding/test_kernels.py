"""Our Triton kernels: right when interpreted on a CPU, and accepted by the compiler for an H100."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.decoding.models import tiny_whisper
from whisper_pair.decoding import Engine
from whisper_pair.errors import InputError

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def run(*command: str, **environment: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"} | environment
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_a_cpu_is_refused_in_one_sentence():
    with pytest.raises(InputError, match="kernels=True needs"):
        Engine(tiny_whisper(0), kernels=True)


def test_every_kernel_is_its_plain_twin():
    pytest.importorskip("triton")
    run("-m", "pytest", "-n", "0", "-q", "-x", str(HERE / "interpreted_kernels.py"), TRITON_INTERPRET="1")


def test_every_kernel_compiles_for_an_h100():
    pytest.importorskip("triton")
    run(str(HERE / "compile_kernels.py"))
