"""What the assistant adds to the main's memory."""

from collections.abc import Callable

import torch

from whisper_pair.decoding import Engine, Options
from whisper_pair.report import MemorySection

from .contenders import ours
from .decoded_clips import DRAFTS
from .engines import Engines

MB = 1e6


def memory_section(engines: Engines, features: torch.Tensor, options: Options, batch_size: int) -> MemorySection:
    """Weights always; on CUDA also the peak while the main decodes alone and with its assistant, weights included.

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
        "batch_size": batch_size,
        "main_peak_megabytes": None,
        "pair_peak_megabytes": None,
    }
    if main.device.type == "cuda":
        engines.release()
        some = features[:batch_size]
        alone = _working(lambda: Engine(main), None, some, options)
        pair = _working(lambda: Engine(main, assistant.model, assistant.vocabulary), DRAFTS, some, options)
        section["main_peak_megabytes"] = (weights + alone) / MB
        section["pair_peak_megabytes"] = (weights + added + pair) / MB
    return section


def own_parameters(main, assistant) -> list[torch.Tensor]:
    """The assistant's parameters that the main does not hold too: a decoder cut from it shares its embeddings."""
    shapes: dict[tuple, list[torch.Tensor]] = {}
    for parameter in main.parameters():
        shapes.setdefault(tuple(parameter.shape), []).append(parameter)
    return [
        parameter
        for name, parameter in assistant.named_parameters()
        if not (
            "embed" in name and any(torch.equal(parameter, other) for other in shapes.get(tuple(parameter.shape), []))
        )
    ]


def _working(made: Callable[[], Engine], drafts: int | None, features: torch.Tensor, options: Options) -> int:
    """Bytes allocated at the peak of one decoding, beyond what lay in memory before its engine was made: caches, and
    weights that the engine keeps in another shape."""
    device = features.device
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    ours(made(), options, "memory", None, drafts).decode(features, len(features))
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _bytes(parameter: torch.Tensor) -> int:
    return parameter.numel() * parameter.element_size()
