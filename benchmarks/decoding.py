"""Speed of the decoding engine against transformers, from features to tokens, all contenders interleaved in one run.

    python benchmarks/decoding.py --pair demo=MAIN,ASSISTANT,AUDIO --machine cpu
    python benchmarks/decoding.py --scripted large-v3 --alphas 0.8 0.9 --batch-sizes 1 4 8 16 --repeats 3 \\
        --dtype bfloat16 --device cuda --machine NAME     # on a GPU, meant to take less than ten minutes; not yet run

A pair is two checkpoints and a folder of audio; a scripted pair (scripted_pair.py) needs neither checkpoints nor audio,
nor the `datasets` library or a network.
Inside the stopwatch: encoder, prefix, all rounds, results on the host. Outside: loading, mel extraction, warm-up.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
import transformers
from torch import Tensor
from transformers import WhisperFeatureExtractor, WhisperForCausalLM, WhisperForConditionalGeneration

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import write_result
from benchmarks.scripted_pair import ALPHAS, OTHERS, SHAPES, ScriptedPair, other_engine, script, scripted_pair
from whisper_pair.decoding import Decoder, Engine, Options, Packed, encode, unpacked
from whisper_pair.runs import clocked, synchronize

LEAST_WINDOWS = 24
SPECULATIVE, GREEDY = "pair speculative", "pair greedy"
CHAINS = "pair chains"  # "auto" without trees of drafts
THEIR_GREEDY, THEIR_ASSISTED = "transformers greedy", "transformers assisted"


@dataclass
class Case:
    """What is decoded, by whom."""

    name: str
    main: WhisperForConditionalGeneration
    draft: WhisperForCausalLM | WhisperForConditionalGeneration
    engine: Engine
    features: Tensor  # [n, mel, frames]
    seconds: list[float]  # of audio, a window
    language: str
    max_new_tokens: int | None = None
    scripted: ScriptedPair | None = None
    alpha: float | None = None  # of a scripted pair: the chance that a drafted token is right
    others: dict[str, Engine] = field(default_factory=dict)  # ours, built otherwise: see OTHERS
    chains: Engine | None = None  # whose "auto" drafts no trees
    theirs: bool = True  # is transformers a contender?

    def options(self, batch_size: int, draft_tokens: int | str) -> Options:
        return Options(
            language=self.language,
            batch_size=batch_size,
            draft_tokens=draft_tokens,
            max_new_tokens=self.max_new_tokens,
        )


def contenders(
    case: Case, features: Tensor, batch_size: int, draft_tokens: int | str
) -> dict[str, Callable[[], list[list[int]]]]:
    """Each decodes the windows and returns their tokens, the end of text and what pads a batch left out."""
    limit = {} if case.max_new_tokens is None else {"max_new_tokens": case.max_new_tokens}
    end = case.main.generation_config.eos_token_id

    def theirs(**extra) -> list[list[int]]:
        rows = []
        for batch in features.split(batch_size):
            batch = batch.to(case.main.device, case.main.dtype)
            output = case.main.generate(batch, language=case.language, task="transcribe", **limit, **extra)
            rows += [[token for token in row if token < end] for row in output.tolist()]
        return rows

    def ours(count: int | str, engine: Engine = case.engine) -> list[list[int]]:
        rows = engine.decode(features, case.options(batch_size, count))
        return [[token for token in row.tokens if token < end] for row in rows]

    found = {GREEDY: lambda: ours(0), SPECULATIVE: lambda: ours(draft_tokens)}
    if case.chains is not None and draft_tokens == "auto":
        found[CHAINS] = lambda: ours("auto", case.chains)
    for name, engine in case.others.items():
        found[f"{name} greedy"] = partial(ours, 0, engine)
        found[f"{name} speculative"] = partial(ours, draft_tokens, engine)
    if not case.theirs:
        return found
    found[THEIR_GREEDY] = theirs
    if batch_size == 1:  # transformers refuses an assistant for more
        found[THEIR_ASSISTED] = lambda: theirs(assistant_model=case.draft)
    return found


def compare(
    case: Case, batch_sizes: list[int], repeats: int, draft_tokens: int | str, batches: int = 4
) -> Iterator[dict]:
    """A row for each contender at each batch size, over the first few batches of windows; of a real pair's, whose clips
    are not alike, over no fewer than LEAST_WINDOWS."""
    for batch_size in batch_sizes:
        least = LEAST_WINDOWS if case.scripted is None else 0
        features = case.features[: max(batches * batch_size, least)]
        audio = sum(case.seconds[: len(features)])
        runs = contenders(case, features, batch_size, draft_tokens)
        case.engine.measure_rounds(case.options(batch_size, draft_tokens))  # else "auto" would on the clock
        if case.chains is not None:
            case.chains.measure_rounds(case.options(batch_size, draft_tokens))
        outputs, cold = {}, {}
        for name, run in runs.items():  # warms up, and compiles
            start = time.perf_counter()
            outputs[name] = run()
            cold[name] = time.perf_counter() - start
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(repeats):
            for name, run in runs.items():
                taken[name].append(clocked(run, case.main.device))
        for name, times in taken.items():
            engine, mode = name.split()
            row = {
                "pair": case.name,
                "engine": engine,
                "mode": mode,
                "batch_size": batch_size,
                "seconds": round(statistics.median(times), 5),
                "fastest": round(min(times), 5),
                "slowest": round(max(times), 5),
                "rtfx": round(audio / statistics.median(times), 1),
                "windows": len(features),
                "identical_to_greedy": sum(a == b for a, b in zip(outputs[name], outputs[GREEDY], strict=True)),
                "dtype": str(case.main.dtype).removeprefix("torch."),
                "device": case.main.device.type,
            }
            if engine in case.others:
                row["first_seconds"] = round(cold[name], 2)  # with what was compiled
            if name == SPECULATIVE:
                row |= counters(case, features, batch_size, draft_tokens)
            if name == THEIR_ASSISTED:
                row["draft_tokens"] = "transformers' own schedule"
            if case.alpha is not None:
                row |= {"acceptance": "scripted", "alpha": case.alpha}
            print(json.dumps(row), flush=True)
            yield row


def counters(case: Case, features: Tensor, batch_size: int, draft_tokens: int | str) -> dict:
    rows = case.engine.decode(features, case.options(batch_size, draft_tokens))
    rounds, drafted, accepted = map(sum, zip(*((row.rounds, row.drafted, row.accepted) for row in rows), strict=True))
    return {
        "draft_tokens": draft_tokens,
        "mean_draft_tokens": round(drafted / rounds, 2),
        "acceptance_rate": round(accepted / drafted, 4) if drafted else None,
        "mean_accepted_length": round(1 + accepted / rounds, 3),
    }


def scripted_case(shape: str, args) -> Case:
    windows = args.batches * max(args.batch_sizes)
    pair = scripted_pair(shape, windows, args.device, getattr(torch, args.dtype))
    seconds = [30.0] * len(pair.features)
    case = Case(shape, pair.main, pair.draft, pair.engine, pair.features, seconds, "nl", pair.decoded, pair)
    case.theirs = not args.ours
    if args.draft_tokens == "auto":
        case.chains = script(Engine(pair.main, pair.draft, like=pair.engine, trees=()), pair.draft)
    case.others = {name: other_engine(pair, name) for name in args.also}
    return case


def encoder_step(case: Case, batch_size: int) -> dict:
    """The main's encoder over a batch, plain and compiled, and the keys and values that the decoder takes of it."""
    row = {"pair": case.name, "measure": "encoder", "batch_size": batch_size}
    for name, engine in (("", case.engine), ("compiled_", case.others.get("compiled"))):
        if engine is None:
            continue
        with torch.inference_mode():
            start = time.perf_counter()
            states = encode(engine.encoders.main, case.features[:batch_size])
            synchronize(case.main.device)
            row[f"{name}first_seconds"] = round(time.perf_counter() - start, 3)
            runs = {
                "seconds": lambda engine=engine: encode(engine.encoders.main, case.features[:batch_size]),
                "cross_seconds": lambda engine=engine, states=states: engine.main.cross(states),
            }
            for what, run in runs.items():
                times = [clocked(run, case.main.device) for _ in range(4)]
                row[name + what] = round(statistics.median(times[1:]), 6)
    return row


def trained_case(name: str, main: str, assistant: str, audio: str, args) -> Case:
    import soundfile
    import soxr

    dtype = getattr(torch, args.dtype)
    model = WhisperForConditionalGeneration.from_pretrained(main, dtype=dtype).to(args.device).eval()
    whole = json.loads((Path(assistant) / "config.json").read_text())["architectures"] == [type(model).__name__]
    kind = WhisperForConditionalGeneration if whole else WhisperForCausalLM
    draft = kind.from_pretrained(assistant, dtype=dtype).to(args.device).eval()
    extractor = WhisperFeatureExtractor.from_pretrained(main)
    files = sorted(path for path in Path(audio).rglob("*") if path.suffix in (".wav", ".ogg", ".flac"))
    if not files:
        raise SystemExit(f"{audio}: no .wav, .ogg or .flac file")
    windows, seconds = [], []
    for file in files[: max(4 * max(args.batch_sizes), LEAST_WINDOWS)]:
        sound, rate = soundfile.read(file, dtype="float32", always_2d=True)
        sound = soxr.resample(sound.mean(1), rate, 16000)
        seconds.append(len(sound) / 16000)
        windows.append(extractor(sound, sampling_rate=16000, return_tensors="pt").input_features[0])
    return Case(name, model, draft, Engine(model, draft), torch.stack(windows), seconds, args.language)


def copy_bandwidth(device: torch.device) -> float:
    """Bytes read and written a second by a plain copy, of 1 GiB on a GPU."""
    source = torch.ones(1 << (28 if device.type == "cuda" else 24), device=device)
    target = torch.empty_like(source)
    times = [clocked(lambda: target.copy_(source), device) for _ in range(10)]
    return 2 * source.nbytes / statistics.median(times[2:])


def decode_step(case: Case, batch_size: int, bandwidth: float) -> dict:
    """One plain step of the main: the bytes that it cannot but read, over its time, against a copy's bandwidth."""
    costs = case.engine.costs(batch_size)
    decoder, frames = case.engine.main, case.engine.encoders.frames
    head = unpacked(decoder.head)
    weights = head.nbytes
    for layer in decoder.layers:
        read = (layer.qkv, layer.self_out, layer.cross_query, layer.cross_out, layer.feed_in, layer.feed_out)
        weights += sum(unpacked(part).nbytes for pair in read for part in pair)
    keys = 2 * len(decoder.layers) * batch_size * (frames + 64) * decoder.width * head.element_size()
    step = costs.verify[0]
    return {
        "pair": case.name,
        "measure": "decode step",
        "batch_size": batch_size,
        "seconds": round(step, 7),
        "bytes": weights + keys,
        "copy_bytes_per_second": round(bandwidth),
        "share_of_bandwidth": round((weights + keys) / step / bandwidth, 4),
        "cost_ratio": round(costs.cost_ratio, 4),
        "verification": {count: round(costs.verification(count), 3) for count in costs.verify},
        "round": {count: round(costs.round(count), 3) for count in costs.rounds},
    }


def memory(case: Case, batch_size: int) -> dict:
    """Weights of the main alone and of the pair; on a GPU also the peak of a decode with and without the assistant."""
    engine, draft = case.engine, own_parameters(case)
    main = held([*case.main.parameters()], engine.main, engine.encoders.main)
    extra = held(draft, engine.draft, engine.encoders.draft)
    alone, both = sum(main.values()), sum((main | extra).values())
    row = {"pair": case.name, "measure": "memory", "main_bytes": alone, "pair_bytes": both}
    row["pair_over_main"] = round(both / alone, 4)
    if case.main.device.type == "cuda":
        weights, added = (sum(held(some).values()) for some in (case.main.parameters(), draft))
        lone = weights + working(lambda: Engine(case.main), case, batch_size)
        paired = weights + added + working(lambda: Engine(case.main, case.draft), case, batch_size)
        row |= {"main_peak_bytes": lone, "pair_peak_bytes": paired, "batch_size": batch_size}
        row["pair_peak_over_main"] = round(paired / lone, 4)
    return row


def own_parameters(case: Case) -> list[Tensor]:
    """The draft's, without the embeddings where they are the main's."""
    shared = case.engine.draft.embeddings is case.engine.main.embeddings
    return [p for name, p in case.draft.named_parameters() if not (shared and "embed_tokens" in name)]


def held(
    parameters: Iterable[Tensor], decoder: Decoder | None = None, encoder: torch.nn.Module | None = None
) -> dict[tuple[str, int], int]:
    """Bytes by what they are and where: of a checkpoint's parameters and of what an engine keeps beside them. All
    weights that can be packed count twice: they are packed at their first use."""
    found = {("tensor", each.data_ptr()): each.nbytes for each in parameters}
    weights = []
    if decoder is not None:
        of_layers = (part for layer in decoder.layers for pair in layer for part in pair)
        weights = [decoder.head, decoder.position_embeddings, *of_layers]
    for weight in weights:
        found["tensor", unpacked(weight).data_ptr()] = unpacked(weight).nbytes
    packed = [unpacked(weight) for weight in weights if isinstance(weight, Packed)]
    packed += [] if encoder is None else [part.weight for part in encoder.modules() if "forward" in vars(part)]
    return found | {("blocks", weight.data_ptr()): weight.nbytes for weight in packed}


def working(engine: Callable[[], Engine], case: Case, batch_size: int) -> int:
    """Bytes at the peak of one decoding by an engine of its own, beyond what lay in memory before: its caches and the
    weights that it keeps in another shape included, the checkpoints' not."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    fresh = engine()
    fresh.decode(case.features[:batch_size], case.options(batch_size, 0 if fresh.draft is None else 5))
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def targets(rows: list[dict]) -> dict:
    """Every target on which this run says something, with what was reached."""
    found: dict[str, dict] = {}

    def add(name: str, target: float, reached: float) -> None:
        found[name] = {"target": target, "reached": round(reached, 3), "higher_is_better": True}

    runs: dict[tuple, dict[str, float]] = {}
    for row in rows:
        if row.get("measure") == "decode step" and row["batch_size"] == 1 and row["pair"] == "large-v3":
            add("large-v3: decode step's share of copy bandwidth, batch 1", 0.6, row["share_of_bandwidth"])
        if "mode" in row:
            key = row["pair"], row.get("alpha"), row["batch_size"]
            runs.setdefault(key, {})[f"{row['engine']} {row['mode']}"] = row["seconds"]
    for (pair, alpha, batch), seconds in runs.items():
        label = f"{pair}, " + (f"scripted alpha {alpha}, " if alpha else "") + f"batch {batch}"
        if CHAINS in seconds and batch in (1, 16):
            goal = 1.12 if batch == 1 and alpha is not None and alpha <= 0.76 else 1.0
            add(f"{label}: trees over chains", goal, seconds[CHAINS] / seconds[SPECULATIVE])
        for other in OTHERS:
            if (its := seconds.get(f"{other} speculative")) and other != "waiting":
                add(f"{label}: {other} over plain", 1.0, seconds[SPECULATIVE] / its)
        for mode in ("greedy", "speculative"):
            if its := seconds.get(f"waiting {mode}"):
                add(f"{label}, {mode}: rounds ahead over waiting", 1.0, its / seconds[f"pair {mode}"])
        goals = {1: 1.5, 8: 1.0} if alpha is None else {1: 2.5, 16: 1.3} if alpha == 0.9 else {}
        if batch in goals:
            add(f"{label}: speculative over own greedy", goals[batch], seconds[GREEDY] / seconds[SPECULATIVE])
        if THEIR_GREEDY not in seconds:
            continue
        add(f"{label}: own greedy over transformers'", 1.0, seconds[THEIR_GREEDY] / seconds[GREEDY])
        if batch == 1:
            target = 2.5 if alpha is None else 8.0
            add(f"{label}: speculative over assisted", target, seconds[THEIR_ASSISTED] / seconds[SPECULATIVE])
    return found


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", action="append", default=[], metavar="NAME=MAIN,ASSISTANT,AUDIO")
    parser.add_argument("--scripted", action="append", default=[], choices=SHAPES)
    parser.add_argument("--alphas", type=float, nargs="+", default=list(ALPHAS), help="of scripted pairs")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--draft-tokens", default="auto", type=lambda text: text if text == "auto" else int(text))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batches", type=int, default=4, help="of windows, in a pass of a scripted pair")
    parser.add_argument("--also", nargs="+", default=[], choices=OTHERS, help="of scripted pairs: our engine so, too")
    parser.add_argument("--ours", action="store_true", help="of scripted pairs: leave transformers out")
    parser.add_argument("--language", default="nl")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--machine", help="a word for the machine, in the result's name")
    parser.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    device = torch.device(args.device)
    bandwidth, rows = copy_bandwidth(device), []
    for name, paths in [(shape, None) for shape in args.scripted] + [given.split("=", 1) for given in args.pair]:
        case = scripted_case(name, args) if paths is None else trained_case(name, *paths.split(","), args)
        rows.append(memory(case, max(args.batch_sizes)))
        rows += [encoder_step(case, batch_size) for batch_size in args.batch_sizes]
        rows += [decode_step(case, batch_size, bandwidth) for batch_size in args.batch_sizes]
        for alpha in [None] if case.scripted is None else args.alphas:
            if case.scripted is not None:
                case.alpha = alpha
                case.scripted.set_alpha(alpha)
            rows += compare(case, args.batch_sizes, args.repeats, args.draft_tokens, args.batches)
    return write_result("decoding", args, sys.argv[1:] if arguments is None else arguments, rows, targets(rows))


if __name__ == "__main__":
    main()
