"""What the assistant adds to the main's memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from whisper_pair.decoding import Engine, Options
from whisper_pair.report import MemorySection

from .decoded_clips import DRAFTS
from .engines import Engines

MB = 1e6


def memory_section(
    engines: Engines,
    full: Sequence[Tensor],
    short: Sequence[Tensor] | None,
    options: Options,
) -> MemorySection:
    """Weights always; on CUDA also the peak while the main decodes alone and with its assistant, weights included, all
    windows [mel, 2 F] at once: `full` ones and, of a main that was trained on them, the same clips' `short` ones.

    The main alone gets an engine of its own here, and so does the pair, one after the other: no other engine's cache
    counts, and the evaluation's own engines are released before.
    """
    main, assistant = engines.main, engines.assistants[0]
    weights = sum(_bytes(p) for p in main.parameters())
    added = sum(_bytes(p) for p in own_parameters(main, assistant.model))
    section: MemorySection = {
        "main_megabytes": weights / MB,
        "assistant_megabytes": added / MB,
        "assistant_share": added / weights,
        "batch_size": len(full),
        "main_peak_megabytes": None,
        "pair_peak_megabytes": None,
    }
    if main.device.type == "cuda":
        engines.release()

        def pair() -> Engine:
            return Engine(main, assistant.model, assistant.vocabulary)

        alone = weights + _working(lambda: Engine(main), 0, full, options)
        section["main_peak_megabytes"] = alone / MB
        section["pair_peak_megabytes"] = (weights + added + _working(pair, DRAFTS, full, options)) / MB
        if short is not None:
            section["short_windows_peak_megabytes"] = (weights + added + _working(pair, DRAFTS, short, options)) / MB
    return section


def own_parameters(main, assistant) -> list[Tensor]:
    """The assistant's parameters that the main does not hold too: a decoder cut from it shares its embeddings."""
    shapes: dict[tuple, list[Tensor]] = {}
    for parameter in main.parameters():
        shapes.setdefault(tuple(parameter.shape), []).append(parameter)
    return [
        parameter
        for name, parameter in assistant.named_parameters()
        if not (
            "embed" in name and any(torch.equal(parameter, other) for other in shapes.get(tuple(parameter.shape), []))
        )
    ]


def _working(made: Callable[[], Engine], drafts: int, windows: Sequence[Tensor], options: Options) -> int:
    """Bytes allocated at the peak of one decoding, beyond what lay in memory before its engine was made: caches, and
    weights that the engine keeps in another shape."""
    device = windows[0].device
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    made().decode(windows, replace(options, batch_size=len(windows), draft_tokens=drafts))
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _bytes(parameter: torch.Tensor) -> int:
    return parameter.numel() * parameter.element_size()
