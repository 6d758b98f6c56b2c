"""What a run publishes: its repositories, and each file in them. Nothing here uses the network."""

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoints import (
    GENERATION_CONFIG_FILE,
    HUB_ID,
    PAIR_FILE,
    WEIGHTS,
    Capabilities,
    PairManifest,
    check_pair,
    completed,
    encoder_sha256,
    load_processor,
    main_folder,
)
from ..config import Config, load_config
from ..errors import InputError
from ..report import Report
from .cards import assistant_card, main_card, standalone_card
from .metadata import eval_results, licence_of
from .names import Names, Release
from .short_windows import learned_windows

if TYPE_CHECKING:
    from transformers import WhisperForConditionalGeneration

# A stock checkpoint and its processor. What else is there is not sent: it may be anything, and names this machine.
CHECKPOINT = re.compile(
    r"(?:config|generation_config|(?:pre)?processor_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens"
    r"|vocab|normalizer|draft_vocabulary|draft_trees|capabilities|model\.safetensors\.index)\.json|merges\.txt"
    r"|model(?:-\d{5}-of-\d{5})?\.safetensors"
)


@dataclass(frozen=True)
class Unwritten:
    """A file that a dry run does not write."""

    size: int  # bytes, about

    def stat(self) -> "Unwritten":
        """What a real file's stat would give: its size."""
        return self

    @property
    def st_size(self) -> int:
        """Bytes, as of a real file."""
        return self.size


Files = Mapping[str, Path | bytes | Unwritten]  # path in a repository -> what it holds


@dataclass(frozen=True)
class Repository:
    """One repository of a release."""

    name: str  # org/name
    files: Files

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(len(file) if isinstance(file, bytes) else file.stat().st_size for file in self.files.values())


def run_config(place: str) -> Config:
    """Of a run: its folder, or the config that made it."""
    path = Path(place)
    if path.is_dir() and not (path / "config.yaml").is_file():
        raise InputError(f"{place}: holds no config.yaml, so it is not a run's folder; name one, or its config.")
    return load_config(path / "config.yaml" if path.is_dir() else path)


def judged(config: Config, main: Path, whatever_the_verdict: bool) -> Report:
    """The run's report. Refuses a report of another main, and a pair that failed, unless `whatever_the_verdict`."""
    path = Path(config.output) / "eval" / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: there is no report yet; first: whisper-pair eval CONFIG.") from error
    with readable(config):
        measured_with = report["pair"]["encoder_sha256"]
        failed = [criterion["name"] for criterion in report["verdict"]["criteria"] if not criterion["passed"]]
    if measured_with != encoder_sha256(main):
        raise InputError(f"{path}: was measured with another main than {main}; whisper-pair eval CONFIG measures it.")
    if not all("kept" in criterion for criterion in report["verdict"]["criteria"]):
        raise InputError(f"{path}: is by an older version of this toolkit; whisper-pair eval CONFIG measures it.")
    if failed and not whatever_the_verdict:
        raise InputError(
            f"{path}: the pair failed ({', '.join(failed)}); improve it, or add --whatever-the-verdict to publish it"
            " with those figures on its card."
        )
    return report


@contextlib.contextmanager
def readable(config: Config) -> Iterator[None]:
    """InputError where the report that is read inside is not one of this toolkit."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, StopIteration) as error:
        path = Path(config.output) / "eval" / "report.json"
        raise InputError(f"{path}: is no report of this toolkit; remove {path.parent} and evaluate again.") from error


def release(
    config: Config,
    to: str,
    layout: str,
    standalone: bool,
    whatever_the_verdict: bool,
    dry_run: bool = False,
    licence: str | None = None,
    example: bool = False,
) -> list[Repository]:
    """Repositories in the order in which they are pushed. Raises InputError for what must not be published.

    `dry_run`: nothing is written beside the run, so that the standalone Whisper's weights are a size alone.
    `licence`: None: the base model's, where it is known. `example`: the cards show a test clip's text even where the
    clips are in a folder; those of the Hub are public.
    """
    if not HUB_ID.fullmatch(to):
        raise InputError(f"--to {to}: expected a repository of the form org/name.")
    main, assistant = main_folder(config), Path(config.output) / "assistant"
    if not (assistant / "config.json").is_file():
        raise InputError(f"{assistant}: the assistant is not there yet; first: whisper-pair distill CONFIG.")
    for folder in filter(Path.is_dir, (Path(config.output) / "main", assistant)):
        checkpoint(folder)  # what must not be sent is refused before anything there is read
    manifest = check_pair(main, assistant)
    if manifest is None:
        raise InputError(f"{assistant}: has no {PAIR_FILE}; remake it: whisper-pair distill CONFIG --overwrite.")
    report = judged(config, main, whatever_the_verdict)
    with readable(config):
        generation_config = completed(main, load_processor(main).tokenizer)
        names = replace(naming(config, to, layout, standalone), multilingual=generation_config.is_multilingual)
        example = example or all(source.hub for source in config.data.test)
        about = Release(
            config, report, names, trained_hours(config), licence or licence_of(config), example, learned_windows(main)
        )
        settings = generation_config.to_json_string().encode()
        return repositories_of(about, to, main, assistant, manifest, settings, dry_run)


def repositories_of(
    about: Release, to: str, main: Path, assistant: Path, manifest: PairManifest, settings: bytes, dry_run: bool
) -> list[Repository]:
    """Each with its card, from what `release` has checked. `settings`: the main's generation_config.json."""
    config, names = about.config, about.names
    paired = manifest_for(names.main, config, manifest)
    own: dict[str, Path | bytes] = {**checkpoint(assistant), PAIR_FILE: paired}
    repositories: list[Repository] = []
    whole_main: dict[str, Path | bytes] = {**checkpoint(main), GENERATION_CONFIG_FILE: settings}
    whole_main |= {**eval_results(about), "README.md": main_card(about)}
    if names.subfolder:
        inside = {f"{names.subfolder}/{path}": file for path, file in own.items()}
        repositories.append(Repository(names.main, whole_main | inside))
    else:
        if names.main == to:
            repositories.append(Repository(to, whole_main))
        repositories.append(Repository(names.assistant, own | {"README.md": assistant_card(about)}))
    if names.standalone:
        whole: Files = (
            without_weights(main, assistant) if dry_run else checkpoint(standalone_checkpoint(main, assistant))
        )
        card = standalone_card(about, names.standalone)
        repositories.append(Repository(names.standalone, {**whole, "README.md": card}))
    return repositories


def naming(config: Config, to: str, layout: str, standalone: bool) -> Names:
    """Where each part goes. A main that is someone's unchanged published checkpoint is not published again."""
    theirs = config.train is None and not Path(config.model).is_dir()
    if theirs and layout == "one":
        raise InputError(f"--layout one: the main is {config.model} as it is; publish the assistant alone.")
    if theirs and not HUB_ID.fullmatch(config.model):
        raise InputError(f"model {config.model}: expected a folder, or a repository of the form org/name.")
    return Names(
        main=config.model if theirs else to,
        assistant=to if layout == "one" else f"{to}-assistant",
        subfolder="assistant" if layout == "one" else None,
        standalone=f"{to}-standalone" if standalone else None,
    )


def checkpoint(folder: Path) -> dict[str, Path]:
    """Its files by name. Raises InputError for links that lead elsewhere: they could send any file."""
    if folder.is_symlink():
        raise InputError(f"{folder}: is a link; put the folder itself in its place to publish it.")
    found = {file.name: file for file in sorted(folder.iterdir()) if CHECKPOINT.fullmatch(file.name)}
    for file in found.values():
        if not file.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"{file}: is a link that leads out of its folder; put the file itself there to publish it."
            )
        if not file.is_file():
            raise InputError(f"{file}: is no file; remove it, or make the checkpoint again.")
    return found


def manifest_for(main: str, config: Config, manifest: PairManifest) -> bytes:
    """pair.json, naming the main where others find it. Ours has no commit there yet, and theirs keeps its own."""
    manifest = replace(manifest, main_revision=manifest.main_revision if main == config.model else None)
    with tempfile.TemporaryDirectory() as folder:
        replace(manifest, main=main).save(Path(folder))
        return (Path(folder) / PAIR_FILE).read_bytes()


def standalone_checkpoint(main: Path, assistant: Path) -> Path:
    """The main's encoder with the assistant's decoder, saved beside the assistant: a Whisper to be used alone."""
    from ..checkpoints import load_processor, save_model, save_processor

    folder = assistant.with_name("standalone")
    save_model(standalone_model(main, assistant), folder)
    save_processor(load_processor(main), folder)
    copy_capabilities(assistant, folder)
    return folder


def copy_capabilities(assistant: Path, folder: Path) -> None:
    """A standalone Whisper can do what its decoder, the assistant's, was trained to do; unknown for older ones."""
    found = Capabilities.load(assistant)
    if found is not None:
        found.save(folder)


def standalone_model(main: Path, assistant: Path) -> "WhisperForConditionalGeneration":
    """In the type in which the main is stored."""
    from ..checkpoints import load_draft, load_main, standalone_assistant
    from ..precision import stored_dtype

    dtype = stored_dtype(main)
    return standalone_assistant(load_main(main, dtype), load_draft(assistant, dtype))


def without_weights(main: Path, assistant: Path) -> dict[str, bytes | Unwritten]:
    """The files of `standalone_checkpoint`, without its weights."""
    from ..checkpoints import load_processor, save_processor

    whole = standalone_model(main, assistant)
    with tempfile.TemporaryDirectory() as folder:
        for part in (whole.config, whole.generation_config):
            part.save_pretrained(folder)
        save_processor(load_processor(main), Path(folder))
        copy_capabilities(assistant, Path(folder))
        found: dict[str, bytes | Unwritten] = {
            name: file.read_bytes() for name, file in checkpoint(Path(folder)).items()
        }
    return found | {WEIGHTS: Unwritten(sum(weight.nbytes for weight in whole.parameters()))}  # tied ones once


def trained_hours(config: Config) -> float | None:
    """Hours of speech that the main labelled for the assistant; None where the labels are gone."""
    path = Path(config.output) / "labels" / "labels.parquet"
    if not path.is_file():
        return None
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    return pc.sum(pq.read_table(path, columns=["seconds"])["seconds"]).as_py() / 3600
