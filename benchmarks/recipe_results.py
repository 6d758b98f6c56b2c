"""What the rows of recipes.py say: gains over the base, targets, and the table in the documentation."""

from benchmarks.recipe_variants import BASE


def table(result: dict) -> str:
    """Agreement and predicted speedup of each variant, means over seeds, by what it is compared for."""
    by_name = named(result["rows"])
    questions = list(dict.fromkeys(rows[0]["question"] for rows in by_name.values()))
    lines = ["| compared for | variant | agreement | over the first row | predicted speedup | runs |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for question in sorted(questions, key=lambda question: question != "all"):
        for name, rows in by_name.items():
            if rows[0]["question"] == question:
                over = gain(rows, by_name[BASE])
                figures = f"{mean(rows, 'agreement'):.3f} | {over:+.3f} | {mean(rows, 'predicted_speedup'):.2f}x"
                lines.append(f"| {question} | {name} | {figures} | {len(rows)} |")
    machine, data = result["machine"], result["data"]
    source = (
        f"`{result['command']}` on {machine.get('gpu', machine['cpu'])}, torch {result['versions']['torch']}, "
        f"{result['date']}: scored on {data['clips']} test clips, {data['tokens']} tokens of the fine-tuned main."
    )
    return "\n".join(lines) + f"\n\n{source}\n"


def named(rows: list[dict]) -> dict[str, list[dict]]:
    """Rows by the name of their variant."""
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["variant"], []).append(row)
    return found


def mean(rows: list[dict], name: str) -> float:
    """Of a figure, over the rows."""
    return sum(row[name] for row in rows) / len(rows)


def gain(rows: list[dict], base: list[dict]) -> float:
    """In agreement, over the base's runs with the same seeds; a row without a seed is compared with all of them."""
    same = {row["seed"]: row["agreement"] for row in base}
    otherwise = mean(base, "agreement")
    return sum(row["agreement"] - same.get(row["seed"], otherwise) for row in rows) / len(rows)


def targets(rows: list[dict]) -> dict[str, dict]:
    """Of the means over seeds, as far as there are rows."""
    by_name, found = named(rows), {}
    if BASE in by_name:
        base = by_name[BASE]
        found["agreement with the fine-tuned main"] = (0.75, mean(base, "agreement"))
        for name, others in by_name.items():
            if others[0]["seed"] is None:
                found[f"agreement above that of {name}"] = (0.15, -gain(others, base))
            elif name in ("human text", "from the stock main"):
                found[f"agreement above that of {name}"] = (0.0, -gain(others, base))
    return {
        name: {"target": target, "reached": reached, "higher_is_better": True}
        for name, (target, reached) in sorted(found.items())
    }
