"""Model cards: what each part is, its figures, how to use it, and what it was made from."""

from collections.abc import Callable
from urllib.parse import quote

from ..config import Config, Losses, Optimization, Source
from ..escaping import markdown
from ..report import headline, percent
from ..text import licence, name_of
from .metadata import base_model, metadata
from .names import Names, Release
from .short_windows import LearnedWindows, drafting_section, short_windows_section, standalone_section
from .tables import example, results
from .usage import citation, pair_usage, standalone_usage

LIMITS = """## Limits

It transcribes as Whisper does: up to 30 s at once, with errors on names, noise, overlapping voices and accents that
the training data lack, and with its habit of inventing text where nobody speaks. The figures above hold for the test
clips and the machine they name; measure on your own speech."""


def main_card(release: Release) -> bytes:
    """The main's README.md."""
    config, names = release.config, release.names
    about = metadata(release, base_model(config), "main", release.report["quality"]["main"]["rate"])
    what = (
        f"A Whisper fine-tuned for {markdown(name_of(config.language))} ({config.task}), with a matched assistant for"
        f" speculative decoding{beside(names)}: the assistant drafts, this model checks all of a draft at once, and the"
        f" text is this model's own, token for token. {markdown(headline(release.report))}"
    )
    parts = [results(release), pair_usage(release), *_windows(release, short_windows_section)]
    return _card(names.main, about.to_yaml(), what, parts, release)


def assistant_card(release: Release) -> bytes:
    """The assistant's."""
    names, pair = release.names, release.report["pair"]
    about = metadata(release, names.main, "assistant", None)
    what = (
        f"The decoder of a Whisper, {len(pair['layers'] or ())} of {pair['main_layers']} layers, distilled from"
        f" [{names.main}](https://huggingface.co/{names.main}) on that model's transcripts. It has no encoder of its"
        " own: it drafts for that model, over that model's encoder, and is of no use alone."
        f" {markdown(headline(release.report))}"
    )
    parts = [results(release), pair_usage(release), *_windows(release, drafting_section)]
    return _card(names.assistant, about.to_yaml(), what, parts, release)


def standalone_card(release: Release, name: str) -> bytes:
    """The card of encoder and shallow decoder together, `name` on the Hub."""
    names, quality = release.names, release.report["quality"]
    about = metadata(release, names.main, "standalone", quality["assistant"]["rate"])
    what = (
        f"The encoder of [{names.main}](https://huggingface.co/{names.main}) with the decoder of its assistant: a"
        " complete, smaller and faster Whisper. Alone it is less accurate than the pair, whose text is the main's own:"
        f" {quality['metric'].upper()} {percent(quality['assistant']['rate'])} against"
        f" {percent(quality['pair']['rate'])}."
    )
    parts = [results(release), standalone_usage(release, name), *_windows(release, standalone_section)]
    return _card(name, about.to_yaml(), what, parts, release)


def _windows(release: Release, section: Callable[[LearnedWindows], str]) -> list[str]:
    """What a part says of short windows; nothing where the main was not trained on them."""
    return [] if release.short_windows is None else [section(release.short_windows)]


def _card(name: str, about: str, what: str, first: list[str], release: Release) -> bytes:
    parts = [f"# {name.split('/')[1]}", what, *first]
    if release.example:
        parts.append(example(release.report))
    year = release.report["environment"]["date"][:4]
    parts += [_training(release), LIMITS, citation(name, release.names, year), _provenance(release)]
    body = "\n\n".join(parts)
    return f"---\n{about}\n---\n\n{body}\n".encode()


def beside(names: Names) -> str:
    """Where the assistant is, after the words that name it."""
    if names.subfolder:
        return f" in its folder `{names.subfolder}/`"
    return f", [{names.assistant}](https://huggingface.co/{names.assistant})"


def _training(release: Release) -> str:
    config, hours = release.config, release.hours
    lines = [f"- {_source(source)}" for source in config.data.train]
    labelled = "" if hours is None else f" The main labelled {_duration(hours)} of it for the assistant."
    settings = [f"- assistant: {_optimization(config.distill)}; {_losses(config.distill.losses)}"]
    if config.train is not None:
        settings.insert(0, f"- main: {config.train.parameters} parameters; {_optimization(config.train)}")
    return "\n".join(
        [
            "## Training\n",
            *lines,
            f"\nSee each corpus's page for its licence.{labelled} {_packing(config)}\n",
            *settings,
        ]
    )


def _duration(hours: float) -> str:
    return f"{60 * hours:.0f} minutes" if hours < 1 else f"{hours:.1f} hours"


def _optimization(settings: Optimization) -> str:
    return (
        f"{settings.epochs:g} epochs, batch size {settings.batch_size}, learning rate {settings.learning_rate:g}, "
        f"precision {settings.precision}"
    )


def _losses(losses: Losses) -> str:
    weights = {name: value for name, value in vars(losses).items() if name not in NO_WEIGHTS and value}
    return "losses " + ", ".join(f"{name} {value:g}" for name, value in weights.items())


NO_WEIGHTS = ("temperature", "beta", "eta", "mismatch_decay")  # of Losses, that are no weights


def _packing(config: Config) -> str:
    return "Short clips are packed into whole windows." if config.data.pack else "Each clip fills a window of its own."


def _source(source: Source) -> str:
    """A folder's name means nothing to others, and shows where it is on this machine."""
    if source.hub is None:
        return "clips that are not published"
    page = f"https://huggingface.co/datasets/{quote(source.hub)}"
    part = f"{source.config or 'default'} / {source.split}"
    return ", ".join(filter(None, [f"[{markdown(source.hub)}](<{page}>)", markdown(part), licence(source.hub)]))


def _provenance(release: Release) -> str:
    environment = release.report["environment"]
    versions = markdown(", ".join(f"{name} {version}" for name, version in environment["versions"].items()))
    commit, date = markdown(environment["git_commit"] or "unknown"), markdown(environment["date"][:10])
    return (
        f"## Provenance\n\nMade with Whisper Pair, commit {commit}, seed {markdown(str(environment['seed']))};"
        f" evaluated {date} by `whisper-pair eval CONFIG`. {versions}. Encoder SHA-256"
        f" `{release.report['pair']['encoder_sha256']}`."
    )
