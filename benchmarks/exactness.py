"""The engine against transformers, token for token in float32, over tiny random models: on a GPU with CUDA graphs.

    python benchmarks/exactness.py --device cuda --machine NAME       # 80 cells in about half a minute

A cell is a random main, an assistant cut from it or with an encoder of its own, a batch size, a draft length, with or
without timestamps; some ask for a confidence stop or log-probabilities too. The models are those of the tests, which
say the same on a CPU. Rows of a batch, refilling and ends differ in every cell.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import write_result
from tests.decoding.models import cut, features, theirs, tiny_whisper, with_own_encoder
from whisper_pair.decoding import Engine, Options

WINDOWS = 9
BATCHES = ((1, 3), (4, 0), (9, 5), (3, "auto"))  # batch size, draft length
ROUNDS: tuple[dict, ...] = ({}, {"ahead": True, "side_stream": True})  # of even seeds, and of odd ones
EXTRAS: tuple[dict, ...] = ({}, {"confidence": 0.4}, {"log_probabilities": True})


def cells(seed: int, device: str, compile: bool, kernels: bool) -> list[dict]:
    """Rows of one random main."""
    shape = {"layers": 1 + seed % 4, "heads": (1, 2, 4)[seed % 3], "width": 16 if seed % 2 else 32}
    main = tiny_whisper(seed, **shape)
    drafts = {"decoder": cut(main, None if seed % 2 else 1), "own encoder": with_own_encoder(main, 0.1)}
    main, windows, rows = main.to(device), features(WINDOWS, seed).to(device), []
    for kind, draft in drafts.items():
        rounds = ROUNDS[seed % 2]
        engine = Engine(main, draft.to(device), compile=compile, kernels=kernels, **rounds)
        for timestamps in (False, True):
            expected = theirs(main, windows, language="nl", task="transcribe", return_timestamps=timestamps)
            for batch_size, draft_tokens in BATCHES:
                for extra in EXTRAS if seed == 0 else EXTRAS[:1]:
                    rows.append(
                        {
                            "seed": seed,
                            "assistant": kind,
                            "timestamps": timestamps,
                            "batch_size": batch_size,
                            "draft_tokens": draft_tokens,
                            **extra,
                            **rounds,
                            "graphs": engine.graphs.enabled,
                        }
                    )
                    options = Options("nl", "transcribe", timestamps, None, batch_size, draft_tokens, **extra)
                    rows[-1] |= differing(engine, windows, options, expected)
    return rows


def differing(engine: Engine, windows: torch.Tensor, options: Options, expected: list[list[int]]) -> dict:
    """Which windows are not transformers'; or why the cell failed."""
    try:
        found = [row.tokens for row in engine.decode(windows, options)]
    except Exception as error:  # the other cells still say something
        return {"differing": list(range(len(expected))), "failed": f"{type(error).__name__}: {error}"[:300]}
    return {"differing": [i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b], "failed": None}


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="random mains")
    parser.add_argument("--compile", action="store_true", help="compile encoders and decoder layers")
    parser.add_argument("--kernels", action="store_true", help="run decoder layers in Triton kernels of our own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--machine", help="a word for the machine, in the result's name")
    parser.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(arguments)
    transformers.logging.set_verbosity_error()
    rows: list[dict] = []
    for seed in range(args.seeds):
        rows += cells(seed, args.device, args.compile, args.kernels)
        print(json.dumps({"seed": seed, "cells": len(rows), "equal": equal(rows)}), flush=True)
    target = {"target": 1.0, "reached": equal(rows) / len(rows), "higher_is_better": True}
    result = write_result(
        "exactness", args, arguments, rows, {"float32: share of cells that are transformers', token for token": target}
    )
    return result


def equal(rows: list[dict]) -> int:
    return sum(not row["differing"] for row in rows)


if __name__ == "__main__":
    rows = main()["rows"]
    sys.exit(equal(rows) < len(rows))
