"""Run by test_launching.py under `accelerate launch`: the toy training of test_training.py, its curve into a file."""

import json
import sys
from pathlib import Path

from accelerate import Accelerator
from test_training import train

if __name__ == "__main__":
    folder, batch_size, accumulation, epochs = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    curve = []
    Accelerator.log = lambda self, values, step: curve.append({"step": step, **values})
    weights, best, _ = train(folder, batch_size=batch_size, accumulation=accumulation, epochs=epochs)
    if Accelerator().is_main_process:
        losses = [entry for entry in curve if "loss" in entry]
        result = {"processes": Accelerator().num_processes, "weights": weights.tolist(), "curve": losses}
        (folder / "result.json").write_text(json.dumps(result))
