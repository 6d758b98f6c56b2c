"""The committed figures of a GPU, or of the replay, as tables for docs/gpus.md."""

from collections.abc import Callable

Rows = list[dict]


def table(name: str, result: dict) -> str | None:
    """The tables of a result by the benchmark that it is of; None: it is another's."""
    kind = name.split("-")[0]
    if kind not in TABLES:
        return None
    where = result["machine"].get("gpu", result["machine"].get("cpu", "CPU"))
    failed = f" **Failed:** {result['failed'][0]}." if "failed" in result else ""
    command = f"`{result['command']}`" if result["command"].startswith("python ") else result["command"]
    made = (
        f"{where}, torch {result['versions']['torch']}, transformers {result['versions']['transformers']}, "
        f"{result['date']}: {command}.{failed}"
    )
    return "\n\n".join([*(part for part in TABLES[kind](result["rows"]) if part), made, reached(result)]) + "\n"


def lines(header: list[str], rows: list[list[str]], names: int = 1) -> str:
    """A table, "" without rows. The first `names` columns hold names, the others figures."""
    if not rows:
        return ""
    marks = [*["---"] * names, *["---:"] * (len(header) - names)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, marks, *rows])


def decoding(rows: Rows) -> list[str]:
    encoders = {row["batch_size"]: row for row in rows if row.get("measure") == "encoder"}
    steps = [row for row in rows if row.get("measure") == "decode step"]
    parts = lines(
        ["batch", "a plain step, ms", "of copy bandwidth", "a draft step", "9 tokens checked", "encoder, ms a window"],
        [
            [
                str(row["batch_size"]),
                f"{1e3 * row['seconds']:.2f}",
                f"{100 * row['share_of_bandwidth']:.0f} %",
                f"{row['cost_ratio']:.2f} steps",
                f"{row['verification']['8']:.2f} steps",
                per_window(encoders.get(row["batch_size"])),
            ]
            for row in steps
        ],
    )
    runs = lines(
        ["batch", "who", "acceptance", "drafts", "ms a window", "windows/s", "tokens a round"],
        [
            [
                str(row["batch_size"]),
                f"{row['engine']}, {row['mode']}".replace("pair", "ours"),
                f"{row['alpha']:g}" if "alpha" in row and row["mode"] != "greedy" else "",
                str(row.get("draft_tokens", "")),
                f"{1e3 * row['seconds'] / row['windows']:.1f}",
                f"{row['windows'] / row['seconds']:.1f}",
                f"{row['mean_accepted_length']:.2f}" if "mean_accepted_length" in row else "",
            ]
            for row in rows
            if "mode" in row
        ],
    )
    return [parts, runs]


def per_window(encoder: dict | None) -> str:
    return "" if encoder is None else f"{1e3 * encoder['seconds'] / encoder['batch_size']:.1f}"


def service(rows: Rows) -> list[str]:
    header = ["clips of", "in flight", "who", "windows/s", "latency p50, s", "p95, s", "RTFx"]
    return [
        lines(
            header,
            [
                [
                    f"{row['clip_seconds']:g} s",
                    str(row["in_flight"]),
                    f"{row['engine']}, {row['mode']}".replace("pair", "ours"),
                    f"{row['windows_per_second']:.1f}",
                    f"{row['latency_p50']:.3f}",
                    f"{row['latency_p95']:.3f}",
                    f"{row['rtfx']:.0f}",
                ]
                for row in rows
            ],
        )
    ]


def distillation(rows: Rows) -> list[str]:
    header = ["distilling", "clips/s", "peak memory, GB", "of the matmul rate"]
    return [
        lines(
            header,
            [
                [
                    row["contender"],
                    f"{row['clips_per_second']:.0f}",
                    f"{row['peak_bytes'] / 1e9:.1f}",
                    f"{100 * row['share_of_matmul_rate']:.1f} %",
                ]
                for row in rows
            ],
        )
    ]


def replay(rows: Rows) -> list[str]:
    """The worst acceptance of each machine, batch size and kind of text."""
    worst: dict[tuple, dict] = {}
    first: dict[tuple, float] = {}
    for row in rows:
        key = row["machine"], row["matches"].split(", ")[-1], row["batch_size"]
        first[key] = max(first.get(key, 0.0), row["first_call_over_best"])
        if key not in worst or row["auto_over_best"] > worst[key]["auto_over_best"]:
            worst[key] = row
    header = ["round times of", "matches", "batch", "auto over the best, at worst", "there", "best", "first call"]
    return [
        lines(
            header,
            [
                [
                    machine,
                    matches,
                    str(batch),
                    f"{row['auto_over_best']:.3f}",
                    row["matches"],
                    f"{row['best_fixed']} drafts",
                    f"{first[machine, matches, batch]:.3f}",
                ]
                for (machine, matches, batch), row in worst.items()
            ],
        )
    ]


def exactness(rows: Rows) -> list[str]:
    equal = sum(not row["differing"] for row in rows)
    graphs = "with" if any(row["graphs"] for row in rows) else "without"
    return [f"{equal} of {len(rows)} cells are transformers', token for token, in float32, {graphs} CUDA graphs."]


def reached(result: dict) -> str:
    """Every target, missed or not."""
    return lines(
        ["target", "asked", "reached", "met"],
        [
            [
                name,
                f"{'at least' if row['higher_is_better'] else 'at most'} {row['target']:g}",
                f"{row['reached']:.3g}",
                "yes" if (row["reached"] >= row["target"]) == row["higher_is_better"] or met_equally(row) else "no",
            ]
            for name, row in result["targets"].items()
        ],
    )


def met_equally(row: dict) -> bool:
    return row["reached"] == row["target"]


TABLES: dict[str, Callable[[Rows], list[str]]] = {
    "decoding": decoding,
    "compiled": decoding,
    "kernels": decoding,
    "ahead": decoding,
    "service": service,
    "beside": service,
    "short": service,
    "distillation": distillation,
    "replay": replay,
    "exactness": exactness,
}
