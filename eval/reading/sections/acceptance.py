"""Which drafts the main accepts: by draft length, by kind of token, and the tokens that fail most."""

from whisper_pair.report import AcceptanceRow, AcceptanceSection, Report, TokenGroup, TreeRow, brackets, percent

from .section import Section, Table


def acceptance(report: Report) -> Section:
    """A row per draft length, and one per tree of drafts."""
    section, cost = report["acceptance"], report["cost"]["ours"]
    text = (
        f"The assistant predicts {percent(section['agreement'])}"
        f"{brackets(section['agreement_interval'], 100)} of the main's {section['tokens']} tokens. One of its tokens "
        f"costs {cost['cost_ratio']:.3f} of the main's time for one: it is {cost['assistant_speedup']:.1f}x as fast. "
        f"Tokens per round include the main's own. "
        f"The engine's own counters equal this replay in {section['counters']['equal']} of "
        f"{section['counters']['utterances']} utterances."
    )
    for name, other in report["compared"].items():
        text += f" In comparison, {name} predicts {percent(other['agreement'])}."
    header = ["draft tokens per round", "drafts accepted", "tokens per round", "predicted speedup of decoding"]
    tables = [Table(header, [_row(row) for row in section["by_draft_tokens"]])]
    if trees := section.get("by_tree"):
        header = ["tree of drafts", "tokens per round", "predicted speedup of decoding"]
        tables.append(Table(header, [_tree(row) for row in trees]))
    figures = ("acceptance", "tokens_won", *(("training",) if report["training"] else ()))
    return Section("Drafts that the main accepts", text, tuple(tables), figures)


def _tree(row: TreeRow) -> list[str]:
    return [
        f"{row['nodes']} draft tokens, {row['depth']} deep",
        f"{row['mean_accepted_length']:.2f}{brackets(row['mean_accepted_length_interval'], 1, 2)}",
        f"{row['predicted_speedup']:.2f}x",
    ]


def _row(row: AcceptanceRow) -> list[str]:
    return [
        str(row["draft_tokens"]),
        f"{percent(row['acceptance_rate'])}{brackets(row['acceptance_rate_interval'], 100)}",
        f"{row['mean_accepted_length']:.2f}{brackets(row['mean_accepted_length_interval'], 1, 2)}",
        f"{row['predicted_speedup']:.2f}x",
    ]


def agreement_by_group(section: AcceptanceSection) -> Section:
    """By kind of token, by position and by length."""

    def table(what: str, groups: list[TokenGroup]) -> Table:
        rows = [
            [g["name"], str(g["tokens"]), f"{percent(g['agreement'])}{brackets(g['agreement_interval'], 100)}"]
            for g in groups
        ]
        return Table([what, "tokens", "predicted"], rows)

    tables = (
        table("kind of token", section["by_token_class"]),
        table("position in the utterance", section["by_position"]),
        table("tokens in the utterance", section["by_length"]),
    )
    return Section("Predicted tokens by kind, position and length", "", tables)


def rejected_tokens(section: AcceptanceSection) -> Section:
    """The tokens that the assistant predicts least often, with an example each."""
    rows = []
    for worst in section["least_accepted"]:
        example = worst["examples"][0]
        text = f"{quoted(example['before'])}: not {quoted(worst['text'])} but {quoted(example['assistant'])}"
        rows.append([quoted(worst["text"]), f"{worst['agreed']} of {worst['tokens']}", text])
    text = "Of the main's tokens that occur at least three times."
    table = Table(["token", "predicted", "for example, after"], rows)
    return Section("Tokens that the assistant predicts least", text, (table,))


def quoted(text: str) -> str:
    """A token's text, with its spaces visible."""
    return "“" + text.replace("\n", "⏎") + "”"
