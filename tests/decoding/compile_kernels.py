"""Compiles the Triton kernels for an H100, at large-v3's widths: needs no GPU. Run by test_kernels.py."""

import sys
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from whisper_pair.decoding.kernels.attention import KEYS, attention_kernel, join_kernel
from whisper_pair.decoding.kernels.linear import EPSILON, INPUTS, OUTPUTS, ROWS, linear_kernel


def compiled(kernel, types: dict[str, str], constants: dict) -> str:
    """PTX. What has no type is a number."""
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in kernel.arg_names}
    source = ASTSource(kernel, signature, constants)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]


for dtype in ("bf16", "fp32"):
    pointers = ("x", "weight", "bias", "gain", "shift", "residual", "result", "query", "key", "value", "mask")
    types = dict.fromkeys(pointers, f"*{dtype}") | {"lengths": "*i64", "sums": "*fp32", "scale": "fp32"}
    for norm, gelu, residual in ((True, True, False), (False, False, True)):
        blocks = {"EPS": EPSILON, "BM": ROWS, "BN": OUTPUTS, "BK": INPUTS}
        ptx = compiled(linear_kernel, types, {"NORM": norm, "GELU": gelu, "RESIDUAL": residual} | blocks)
        assert ".target sm_90" in ptx
    blocks = {"BT": 32, "BD": 64}  # 17 to 32 queries
    compiled(attention_kernel, types, {"MASKED": True, "OWN": True, "SPLIT": False, "BS": KEYS} | blocks)
    compiled(attention_kernel, types, {"MASKED": False, "OWN": False, "SPLIT": True, "BS": KEYS} | blocks)
    compiled(join_kernel, types, {"BP": 8} | blocks)
