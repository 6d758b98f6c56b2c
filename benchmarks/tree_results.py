"""What the rows of trees.py say: targets, and the table in the documentation."""

from collections.abc import Sequence
from typing import Any


def targets(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By pair: the same text, tokens won, and what drafting promises."""
    found: dict[str, tuple[float, float, bool]] = {}
    for row in rows:
        name, replayed = row["pair"], row["replayed"]
        differ = ("differ_from_greedy", "differ_from_transformers", "counters_differ")
        found[f"{name}: clips whose tokens or counters differ"] = (
            0, sum(one[key] for one in row["decoded"] for key in differ), False
        )  # fmt: skip
        real = {(one["drafts"], one["batch_size"]): one["tokens_per_round"] for one in row["decoded"]}
        over = real["best tree", 1] / real["chain as deep", 1]
        found[f"{name}: tokens a round, tree over chain at equal draft passes"] = (1.2, over, True)
        speedups = {which: replayed[which]["h100_speedup"] for which in ("best tree", "best chain")}
        found[f"{name}: decoding on an H100 as predicted, best tree over best chain"] = (
            1.2, speedups["best tree"] / speedups["best chain"], True
        )  # fmt: skip
        for kind, adaptive in row["adaptive"].items():
            found[f"{name}: adaptive tree, {kind}, over the best static one, as predicted"] = (
                1.08, adaptive["over_best_tree"], True
            )  # fmt: skip
        for size, auto in row["auto"].items():
            found[f"{name}, batch {size}: auto with trees over auto with chains, here"] = (
                1.0, auto["chains_over_trees"], True
            )  # fmt: skip
    return {
        name: {"target": target, "reached": round(reached, 4), "higher_is_better": higher}
        for name, (target, reached, higher) in found.items()
    }


def table(result: dict[str, Any]) -> str:
    """Tokens a round of chains and trees, and the decoding speed that an H100's costs predict."""
    head = ["pair", "agreement", "drafts", "draft tokens", "draft passes", "tokens a round", "decoding on an H100"]
    lines = [head, ["---", "---:", "---", *["---:"] * 4]]
    for row in result["rows"]:
        real = {one["drafts"]: one["tokens_per_round"] for one in row["decoded"]}
        for name, drafts in row["drafts"].items():
            replayed = row["replayed"][name]
            tokens = real.get(name, replayed["tokens_per_round"])
            figures = [str(drafts["nodes"]), str(drafts["depth"]), f"{tokens:.2f}", f"{replayed['h100_speedup']:.2f}x"]
            lines.append([row["pair"], f"{row['agreement']:.3f}", name, *figures])
        for kind, adaptive in row["adaptive"].items():
            nodes, depth = adaptive["policy"].split(", ")
            tokens, speedup = adaptive["tokens_per_round"], adaptive["speedup"]
            figures = [nodes.removesuffix(" nodes"), depth, f"{tokens:.2f}", f"{speedup:.2f}x"]
            lines.append([row["pair"], f"{row['agreement']:.3f}", f"adaptive tree, {kind}, replayed", *figures])
    decodings = [one for row in result["rows"] for one in row["decoded"]]
    same = not any(one[key] for one in decodings for key in one if "differ" in key)
    verdict = "every decoding gave" if same else "**not every decoding gave**"
    source = (
        f"`{result['command']}` on {result['machine']['cpu']}, torch {result['versions']['torch']}, {result['date']}: "
        f"drafts chosen on validation clips, scored on {result['rows'][0]['clips']} test clips; {verdict} the tokens "
        "of transformers' greedy and the counters of the replay."
    )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{source}\n"
