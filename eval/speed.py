"""End-to-end speed: log-mel features to tokens, every contender on the same clips, batch and machine."""

from collections.abc import Sequence
from typing import Any

from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import complete
from whisper_pair.config import Config
from whisper_pair.data import Clip
from whisper_pair.decoding import Costs, Engine, Options

from .contenders import Contender, ours, transformers_assisted, transformers_greedy
from .timing import Timing, interleaved, speedup


def cost_section(costs: Costs) -> dict[str, Any]:
    """c and v of the cost model, at batch 1."""
    return {
        "cost_ratio": costs.cost_ratio,
        "assistant_speedup": 1 / costs.cost_ratio,
        "draft_milliseconds": 1000 * costs.draft,
        "main_milliseconds": 1000 * costs.verify[0],
        "verification": {str(count): costs.verification(count) for count in costs.verify},
    }


def speed_section(
    main, assistants: Sequence, clips: list[Clip], log_mel: LogMel, options: Options, config: Config,
    costs: dict[str, Costs],
) -> dict[str, Any]:  # fmt: skip
    """The report's `speed`: a row per contender and batch size."""
    timed = _spread_out(clips, config.eval.timed_clips)
    features = log_mel(log_mel.pad([clip.read() for clip in timed]).to(main.device)).to(main.dtype)
    audio = sum(clip.seconds for clip in timed)
    rows = []
    for batch_size in config.eval.batch_sizes:
        contenders = [c for c in contenders_of(main, assistants, options, config) if c.batches or batch_size == 1]
        actions = [lambda c=c, b=batch_size: c.decode(features, b) for c in contenders]
        print(f"timing {len(contenders)} contenders on {len(timed)} clips at batch {batch_size}", flush=True)
        timings = interleaved(actions, config.eval.repeats, main.device)
        rows += _rows(contenders, timings, batch_size, audio)
    return {"clips": len(timed), "audio_seconds": audio, "repeats": config.eval.repeats, "rows": rows}


def contenders_of(main, assistants: Sequence, options: Options, config: Config) -> list[Contender]:
    found = [ours(Engine(main), options, "greedy", None, None)]
    for assistant in assistants:
        found.append(ours(assistant.engine(main), options, "speculative", assistant.name, "auto"))
    found.append(ours(Engine(complete(main, assistants[0].model)), options, "assistant", assistants[0].name, None))
    found.append(transformers_greedy(main, options.language, config.task))
    for assistant in {id(a.model): a for a in reversed(assistants)}.values():  # it knows no smaller heads: one a model
        found.append(transformers_assisted(main, assistant.model, assistant.name, options.language, config.task))
    return found


def _rows(contenders: list[Contender], timings: list[Timing], batch_size: int, audio: float) -> list[dict[str, Any]]:
    greedy = next(t for c, t in zip(contenders, timings, strict=True) if (c.engine, c.mode) == ("pair", "greedy"))
    stock = next(
        t for c, t in zip(contenders, timings, strict=True) if (c.engine, c.mode) == ("transformers", "greedy")
    )
    rows = []
    for contender, timing in zip(contenders, timings, strict=True):
        gain, interval = speedup(greedy, timing)
        rows.append(
            {
                "engine": contender.engine,
                "mode": contender.mode,
                "assistant": contender.assistant,
                "draft_tokens": contender.draft_tokens,
                "batch_size": batch_size,
                "seconds": timing.median,
                "spread": [min(timing.seconds), max(timing.seconds)],
                "rtfx": audio / timing.median,
                "speedup": gain,
                "speedup_interval": list(interval),
                "speedup_vs_transformers": speedup(stock, timing)[0],
            }
        )
    return rows


def _spread_out(clips: list[Clip], count: int) -> list[Clip]:
    """Clips at even distances through the set."""
    count = min(count, len(clips))
    return [clips[i * len(clips) // count] for i in range(count)]
