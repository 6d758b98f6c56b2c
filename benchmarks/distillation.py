"""What a clip of speech costs to distil from, against the usual recipe, on random weights of a released shape.

    python benchmarks/distillation.py --shape base --threads 1 --clock cpu --machine cpu
    python benchmarks/distillation.py --shape large-v3 --dtype bfloat16 --device cuda --clips 512 --machine h200

The usual recipe, written plainly: each clip in a window of its own, labels padded to 448, encoder and teacher run at
every step, cross-entropy and KL over [batch, 448, vocabulary] in float32. Ours: the same clips packed into windows by
whisper_pair.data.pack, the real student, losses, teacher and caches. Both make steps over as many clips, with the same
optimizer. Features and labels are random and at hand; labelling, which both need, reading audio and the mel spectrogram
are outside the stopwatch.
Each contender runs in a process of its own, in turn, so that its peak memory is its own.
"""

import argparse
import datetime
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from transformers import WhisperConfig, WhisperForConditionalGeneration

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import RESULTS, machine
from distill.student import DistillationLoss, build_student, chosen_layers
from distill.teacher import Teacher, teacher_cache
from whisper_pair.config import Data, Distill
from whisper_pair.data import Clip, pack
from whisper_pair.training import WRITES, EncoderCache, Example, FrozenEncoder
from whisper_pair.training.losses import IGNORE

WINDOW = 30.0  # seconds
TOKENS_A_SECOND = 3.5  # of Dutch read aloud, in Whisper's vocabulary
PREFIX = 4  # <|startoftranscript|> <|language|> <|task|> <|notimestamps|>
KEPT_BATCHES = 9  # of eight windows
RECIPE, FIRST, LATER = "usual recipe", "ours, first epoch", "ours, later epochs"


@dataclass(frozen=True)
class Shape:
    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    vocabulary: int
    mel_bins: int
    frames: int = 1500  # encoder states of a window
    positions: int = 448

    def build(self) -> WhisperForConditionalGeneration:
        config = WhisperConfig(
            vocab_size=self.vocabulary, num_mel_bins=self.mel_bins, d_model=self.width,
            encoder_layers=self.encoder_layers, encoder_attention_heads=self.heads, encoder_ffn_dim=4 * self.width,
            decoder_layers=self.decoder_layers, decoder_attention_heads=self.heads, decoder_ffn_dim=4 * self.width,
            max_source_positions=self.frames, max_target_positions=self.positions,
            pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1,
        )  # fmt: skip
        return WhisperForConditionalGeneration(config).requires_grad_(False).eval()


SHAPES = {
    "large-v3": Shape(1280, 20, 32, 32, vocabulary=51866, mel_bins=128),
    "base": Shape(512, 8, 6, 6, vocabulary=51865, mel_bins=80),
    "tiny-test": Shape(32, 2, 2, 3, vocabulary=300, mel_bins=8, frames=30),
}


@dataclass(frozen=True)
class Speech:
    """Clips with random labels, and random features that stand for any window."""

    clips: list[Clip]
    labels: dict[str, list[int]]  # by the clip's name
    features: Tensor  # [some, mel, frames]

    @classmethod
    def of(cls, shape: Shape, count: int) -> "Speech":
        generator = torch.Generator().manual_seed(0)
        seconds = (2.0 + 5.0 * torch.rand(count, generator=generator)).tolist()
        clips = [Clip(f"clip {i}", Path(), s, "", None) for i, s in enumerate(seconds)]
        labels = {
            clip.name: torch.randint(
                2, shape.vocabulary, (round(TOKENS_A_SECOND * clip.seconds),), generator=generator
            ).tolist()
            for clip in clips
        }
        return cls(clips, labels, torch.randn(4, shape.mel_bins, 2 * shape.frames, generator=generator))

    def heard(self, numbers: list[int]) -> Tensor:
        return self.features[[number % len(self.features) for number in numbers]]


@dataclass(frozen=True)
class Bench:
    """What both contenders share."""

    main: WhisperForConditionalGeneration
    speech: Speech
    settings: Distill
    clips_a_step: int
    device: torch.device
    dtype: torch.dtype  # of autocast over float32 weights; of our frozen main

    def optimizer(self, module) -> torch.optim.Optimizer:
        return torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], self.settings.learning_rate)

    def autocast(self):
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def student(self):
        return build_student(self.main, chosen_layers(2, self.main.config.decoder_layers))


def usual_recipe(bench: Bench) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """Its steps for ever: which contender, how many clips, and what to do."""
    main, speech, device = bench.main, bench.speech, bench.device
    student = bench.student()
    optimizer = bench.optimizer(student)
    length = main.config.max_target_positions

    def step(numbers: list[int]) -> None:
        tokens = torch.zeros(len(numbers), length + 1, dtype=torch.long)
        labels = torch.full((len(numbers), length), IGNORE)
        for row, number in enumerate(numbers):
            said = torch.tensor([*[1] * PREFIX, *speech.labels[speech.clips[number].name], 0])
            tokens[row, : len(said)] = said
            labels[row, PREFIX - 1 : len(said) - 1] = said[PREFIX:]
        inputs, labels = tokens[:, :-1].to(device), labels.to(device)
        with bench.autocast():
            with torch.no_grad():
                states = main.model.encoder(speech.heard(numbers).to(device)).last_hidden_state
                teacher = main(encoder_outputs=(states,), decoder_input_ids=inputs, use_cache=False).logits
            logits = student(input_ids=inputs, encoder_outputs=(states,), use_cache=False).logits
        logits, teacher = logits.float(), teacher.float()  # [clips, 448, vocabulary]
        counted = labels != IGNORE
        cross_entropy = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
        divergence = F.kl_div(logits.log_softmax(-1), teacher.softmax(-1), reduction="none")
        divergence = (divergence * counted[..., None]).sum() / counted.sum()
        (0.8 * cross_entropy + divergence).backward()
        _finish(student, optimizer)

    while True:
        for numbers in batches(len(speech.clips), bench.clips_a_step):
            yield RECIPE, len(numbers), lambda numbers=numbers: step(numbers)


def ours(bench: Bench) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """The same for ours; the second time through, everything of the main's is read from disk."""
    device, settings, student = bench.device, bench.settings, bench.student()
    main = bench.main.to(bench.dtype)
    windows = pack(bench.speech.clips, Data((), (), ()), WINDOW, seed=0)
    examples = []
    for window in windows:
        said = [token for clip in window.clips for token in bench.speech.labels[clip.name]]
        examples.append(Example(window, (*[1] * PREFIX, *said, 0), PREFIX))
    module = DistillationLoss(student, main.proj_out.weight, settings)
    optimizer = bench.optimizer(module)
    config = main.config
    with tempfile.TemporaryDirectory() as folder:
        states = EncoderCache(Path(folder) / "states", len(windows), config.max_source_positions, config.d_model)
        known = teacher_cache(Path(folder) / "teacher", examples, settings, config.d_model, {})
        encoding = FrozenEncoder(main.model.encoder, lambda features: features, None, states)
        teacher = Teacher(main, settings, known)

        def step(numbers: list[int]) -> None:
            longest = max(len(examples[number].tokens) for number in numbers) - 1
            inputs = torch.zeros(len(numbers), longest, dtype=torch.long)
            labels = torch.full((len(numbers), longest), IGNORE)
            for row, number in enumerate(numbers):
                said = torch.tensor(examples[number].tokens)
                inputs[row, : len(said) - 1] = said[:-1]
                labels[row, PREFIX - 1 : len(said) - 1] = said[PREFIX:]
            inputs, labels = inputs.to(device), labels.to(device)
            stored = [states.read(number) for number in numbers]
            rows = (
                [row for row, s in enumerate(stored) if s is not None],
                [r for r, s in enumerate(stored) if s is None],
            )
            batch = {
                "waves": bench.speech.heard([numbers[row] for row in rows[1]]),
                "states": torch.stack([stored[row] for row in rows[0]]) if rows[0] else None,
                "rows": rows,
                "samples": numbers,
            }
            audio_features = encoding.states(batch, device)
            known = teacher.knows(audio_features, inputs, labels, numbers)
            with bench.autocast():
                module(audio_features, inputs, labels, known).backward()
            _finish(module, optimizer)

        clips_a_window = sum(len(window.clips) for window in windows) / len(windows)
        size = max(1, round(bench.clips_a_step / clips_a_window))
        name = FIRST
        while True:
            for numbers in batches(len(windows), size):
                clips = sum(len(windows[number].clips) for number in numbers)
                yield name, clips, lambda numbers=numbers: step(numbers)
            name = LATER


def _finish(module, optimizer) -> None:
    torch.nn.utils.clip_grad_norm_([p for p in module.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad()


def batches(count: int, size: int) -> list[list[int]]:
    """All numbers in a fixed random order; what remains at the end makes no step of its own."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    whole = max(1, count // size)
    return [order[i * size : (i + 1) * size] for i in range(whole)]


def contend(args) -> dict:
    """One contender, in this process: seconds a clip of each kind of step, FLOP a clip, peak memory."""
    torch.manual_seed(0)
    device = torch.device(args.device)
    shape = SHAPES[args.shape]
    main = shape.build().to(device)
    bench = Bench(main, Speech.of(shape, args.clips), Distill(), args.clips_a_step, device, getattr(torch, args.dtype))
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    steps = (usual_recipe if args.contender == RECIPE else ours)(bench)
    wanted = (RECIPE,) if args.contender == RECIPE else (FIRST, LATER)
    found = {name: {"seconds": 0.0, "clips": 0, "flop": 0} for name in wanted}
    with FlopCounterMode(display=False, custom_mapping={CPU_ATTENTION: sdpa_flop_count_of}) as flop:
        _, clips, step = next(steps)  # warms up, and tells the work of a step
        step()
    found[wanted[0]]["flop"] = flop.get_total_flops() / clips
    for name, clips, step in steps:
        if name not in found or (name in (RECIPE, LATER) and found[name]["clips"] >= args.timed_clips):
            break
        if name == LATER and not found[name]["flop"]:
            with FlopCounterMode(display=False, custom_mapping={CPU_ATTENTION: sdpa_flop_count_of}) as flop:
                step()
            found[name]["flop"] = flop.get_total_flops() / clips
            continue
        _synchronize(device)
        start = clock()
        step()
        _synchronize(device)
        found[name]["seconds"] += clock() - start
        found[name]["clips"] += clips
    for row in found.values():
        row["peak_bytes"] = peak_bytes(device)
    return found


class Computed(torch.nn.Module):
    """An encoder whose states are at hand."""

    def __init__(self, states: Tensor):
        super().__init__()
        self.states = states
        self.conv1 = torch.nn.Conv1d(1, 1, 1, dtype=states.dtype)  # tells its type

    def forward(self, features: Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.states)


def keeping(args) -> dict:
    """Milliseconds that the training thread spends on each window's encoder states, of which a thread writes others.

    A batch comes when the one before it is written, as it does where the encoder takes longer than the disk.
    """
    shape, device, size = SHAPES[args.shape], torch.device(args.device), 8
    clock = time.thread_time if args.clock == "cpu" else time.perf_counter
    computed = torch.randn(size, shape.frames, shape.width, device=device, dtype=getattr(torch, args.dtype))
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        windows = size * KEPT_BATCHES
        states = EncoderCache(Path(folder), windows, shape.frames, shape.width)
        encoding = FrozenEncoder(Computed(computed), lambda waves: waves, None, states)
        for start in range(0, windows, size):
            batch = {"waves": torch.empty(0), "rows": ([], list(range(size))), "samples": range(start, start + size)}
            _synchronize(device)
            begun = clock()
            encoding.states(batch, device)
            taken.append(1000 * (clock() - begun) / size)
            WRITES.flush()
    taken = sorted(taken[1:])  # the first makes room in memory
    return {"milliseconds_a_window": statistics.median(taken), "spread": [taken[0], taken[-1]], "windows": windows}


CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # which the counter does not know


def sdpa_flop_count_of(query, key, value, *more, out_shape=None, **named) -> int:
    return sdpa_flop_count(query, key, value)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(device: torch.device) -> int:
    """Of the device's tensors; on a CPU of the whole process, Python and libraries included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def matmul_rate(args) -> float:
    """FLOP a second of a large square product in the dtype of the run."""
    size = 8192 if args.device == "cuda" else 1024
    device = torch.device(args.device)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    one, other = (torch.randn(size, size, device=device, dtype=getattr(torch, args.dtype)) for _ in range(2))
    taken = []
    for _ in range(8):
        _synchronize(device)
        start = clock()
        one @ other
        _synchronize(device)
        taken.append(clock() - start)
    return 2 * size**3 / statistics.median(taken[2:])


def in_its_own_process(contender: str, arguments: list[str]) -> dict:
    command = [sys.executable, __file__, *arguments, "--contender", contender]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def rows_of(runs: list[dict], rate: float) -> list[dict]:
    """Medians and spread over the runs."""
    rows = []
    for name in (RECIPE, FIRST, LATER):
        mine = [run[name] for run in runs if name in run]
        seconds = sorted(run["seconds"] / run["clips"] for run in mine)
        median, flop = statistics.median(seconds), mine[0]["flop"]
        row = {"contender": name, "seconds_a_clip": median, "spread": [seconds[0], seconds[-1]]}
        row |= {"clips_per_second": 1 / median, "timed_clips": [run["clips"] for run in mine]}
        row |= {"peak_bytes": max(run["peak_bytes"] for run in mine), "flop_a_clip": flop}
        rows.append(row | {"flop_per_second": flop / median, "share_of_matmul_rate": flop / median / rate})
    return rows


def targets(rows: list[dict], shape: str, kept: dict) -> dict[str, dict]:
    recipe, first, later = rows
    gains = [(FIRST, first, 4.0), (LATER, later, 10.0)]
    found = {
        f"{shape}: throughput over the usual recipe, {name}": {
            "target": target, "reached": recipe["seconds_a_clip"] / row["seconds_a_clip"], "higher_is_better": True
        }
        for name, row, target in gains
    }  # fmt: skip
    share = max(first["peak_bytes"], later["peak_bytes"]) / recipe["peak_bytes"]
    found[f"{shape}: peak memory over the usual recipe's"] = {
        "target": 0.25, "reached": share, "higher_is_better": False
    }  # fmt: skip
    found[f"{shape}: ms of the training thread to keep a window's encoder states"] = {
        "target": 3.0, "reached": kept["milliseconds_a_window"], "higher_is_better": False
    }  # fmt: skip
    return found


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="of autocast")
    parser.add_argument("--clips", type=int, default=64, help="clips of 2 to 7 s that there are")
    parser.add_argument("--clips-a-step", type=int, default=16)
    parser.add_argument("--timed-clips", type=int, default=48, help="clips timed of the recipe, and of later epochs")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each contender, in turn")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: where others use the machine too"
    )
    parser.add_argument("--machine", help="a word for the machine, in the result's name")
    parser.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    parser.add_argument("--keeping", action="store_true", help="only what keeping encoder states takes; writes nothing")
    parser.add_argument("--contender", help=argparse.SUPPRESS)  # what a process of its own runs
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    if args.contender:
        found = contend(args)
        print(json.dumps(found))
        return found
    if args.keeping:
        found = keeping(args)
        print(json.dumps(found))
        return found
    runs = [in_its_own_process(name, arguments) for _ in range(args.repeats) for name in (RECIPE, "ours")]
    rate = matmul_rate(args)
    rows, kept = rows_of(runs, rate), keeping(args)
    result = {
        "command": " ".join(["python benchmarks/distillation.py", *without(arguments, "--out")]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(torch.device(args.device)) | {"matmul_flop_per_second": rate, "clock": args.clock},
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "transformers": transformers.__version__},
        "rows": rows,
        "keeping": kept,
        "targets": targets(rows, args.shape, kept),
    }  # fmt: skip
    out = args.out or RESULTS / f"distillation{'-' + args.machine if args.machine else ''}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["targets"], indent=1))
    return result


def without(arguments: list[str], *options: str) -> list[str]:
    """The command as it reads elsewhere: without these options and their values."""
    for option in options:
        at = arguments.index(option) if option in arguments else len(arguments)
        arguments = [*arguments[:at], *arguments[at + 2 :]]
    return arguments


if __name__ == "__main__":
    main()
