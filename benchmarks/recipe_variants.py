"""The variants of recipes.py: each is a list of overrides, or other labels, or another main to distil from."""

import json
from dataclasses import dataclass
from pathlib import Path

from whisper_pair.config import Config

BASE = "as configured"
LOSSES = {
    "cross-entropy alone": {"kl": 0},
    "KL alone": {"cross_entropy": 0},
    "KL at temperature 1": {"temperature": 1},
    "KL at temperature 2": {"temperature": 2},
    "reverse KL": {"kl": 0, "reverse_kl": 1},
    "Jensen-Shannon": {"kl": 0, "jensen_shannon": 1},
    "total variation": {"kl": 0, "total_variation": 1},
    "-log acceptance": {"kl": 0, "log_acceptance": 1},
    "-log acceptance alone": {"kl": 0, "cross_entropy": 0, "log_acceptance": 1},
    "LK": {"kl": 0, "lk": 1},
    "LK alone": {"kl": 0, "cross_entropy": 0, "lk": 1},
    "first three choices": {"first_three": 1},
    "first three choices for cross-entropy": {"cross_entropy": 0, "first_three": 1},
    "weights fading since the last mismatch": {"mismatch_decay": 0.9},
}
TEACHERS = {"whole distribution": "all", "128 likeliest tokens": 128, "32 likeliest tokens": 32}
LABELS = {"human text": "human", "labels of the stock main": "stock"}


@dataclass(frozen=True)
class Variant:
    name: str
    question: str  # what it is compared for
    overrides: tuple[str, ...] = ()
    labels: str = "main"  # "main": the fine-tuned main's; "human"; "stock"
    main: str = "main"  # what it is distilled from: "main", the fine-tuned one, or "stock"


def variants(minutes: list[float], runs: Path, config: Config, all_minutes: float) -> list[Variant]:
    """All variants. Each trains on as many windows as the config says, so that none just trains longer than another.

    `minutes`: sizes of smaller training data, in folders of `runs`; `all_minutes`: of the config's own.
    """
    copies, epochs = config.distill.perturb.copies, config.distill.epochs
    found = [Variant(BASE, "all")]
    for name, weights in LOSSES.items():
        found.append(Variant(name, "loss", tuple(f"distill.losses.{key}={value}" for key, value in weights.items())))
    found += [Variant(name, "labels", labels=labels) for name, labels in LABELS.items()]
    found += [Variant(f"{n} layer{'s' * (n > 1)}", "layers", (f"distill.layers={n}",)) for n in (1, 2, 3)]
    others = (1, 2) if copies == 0 else (0,)
    for count in others:
        name = f"{count or 'no'} perturbed cop{'y' if count == 1 else 'ies'}"
        fewer = f"distill.epochs={epochs * (1 + copies) / (1 + count):.3g}"
        found.append(Variant(name, "copies", (f"distill.perturb.copies={count}", fewer)))
    for name, tokens in TEACHERS.items():
        if tokens != config.distill.teacher_tokens:
            found.append(Variant(name, "teacher", (f"distill.teacher_tokens={tokens}",)))
    found.append(Variant("not packed", "packing", ("data.pack=false",)))
    found.append(Variant("labels of more than 50 % error dropped", "filter", ("distill.max_label_error=0.5",)))
    found.append(Variant("embeddings trained", "embeddings", ("distill.train_embeddings=true",)))
    found.append(Variant("from the stock main", "matched or not", main="stock"))
    for count in minutes:
        folder = runs / f"data-{count:g}-minutes"
        given = f"data.train=[{{folder: {json.dumps(str(folder))}, text: text, speaker: speaker}}]"
        more = f"distill.epochs={epochs * max(1.0, all_minutes / count):.3g}"
        found.append(Variant(f"{count:g} minutes", "data", (given, more)))
    return found
