"""What a run publishes: its repositories, and each file in them. Nothing here reaches for the network."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoints import PAIR_FILE, Lineage, check_pair, encoder_sha256, main_folder
from ..config import Config, load_config
from ..download import WEIGHTS
from ..errors import InputError
from ..hub import REPOSITORY
from .cards import Names, assistant_card, main_card, standalone_card

CHECKPOINT = ("*.json", "*.safetensors", "*.txt")  # a stock checkpoint and its processor
PRIVATE = ("inputs.json", "history.json", "provenance.json", PAIR_FILE)  # they name folders of this machine


@dataclass(frozen=True)
class Unwritten:
    """A file of a rehearsal, which is never written."""

    size: int  # bytes, about

    def stat(self) -> "Unwritten":
        return self

    @property
    def st_size(self) -> int:
        return self.size


@dataclass(frozen=True)
class Repository:
    name: str  # org/name
    files: dict[str, Path | bytes | Unwritten]  # path in the repository -> what it holds

    @property
    def bytes(self) -> int:
        return sum(len(file) if isinstance(file, bytes) else file.stat().st_size for file in self.files.values())


def run_config(place: str) -> Config:
    """Of a run: its folder, or the config that made it."""
    path = Path(place)
    if path.is_dir() and not (path / "config.yaml").is_file():
        raise InputError(f"{place}: holds no config.yaml, so it is not a run's folder; name one, or its config.")
    return load_config(path / "config.yaml" if path.is_dir() else path)


def judged(config: Config, main: Path, whatever_the_verdict: bool) -> dict[str, Any]:
    """The run's report. Refuses a pair that failed, unless told, and a report of another main."""
    path = Path(config.output) / "eval" / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: there is no report yet; first: whisper-pair eval CONFIG.") from error
    if report["pair"]["encoder_sha256"] != encoder_sha256(main):
        raise InputError(f"{path}: was measured with another main than {main}; whisper-pair eval CONFIG measures it.")
    failed = [criterion["name"] for criterion in report["verdict"]["criteria"] if not criterion["passed"]]
    if failed and not whatever_the_verdict:
        raise InputError(
            f"{path}: the pair failed ({', '.join(failed)}); improve it, or add --whatever-the-verdict to publish it"
            " with those figures on its card."
        )
    return report


def release(
    config: Config, to: str, layout: str, standalone: bool, whatever_the_verdict: bool, dry_run: bool = False
) -> list[Repository]:
    """Repositories in the order in which they are pushed. Raises InputError for what must not be published.

    `dry_run`: nothing is written beside the run, so that the standalone Whisper's weights are a size alone.
    """
    if not REPOSITORY.fullmatch(to):
        raise InputError(f"--to {to}: expected a repository of the form org/name.")
    main, assistant = main_folder(config), Path(config.output) / "assistant"
    if not (assistant / "config.json").is_file():
        raise InputError(f"{assistant}: the assistant is not there yet; first: whisper-pair distill CONFIG.")
    lineage = check_pair(main, assistant)
    if lineage is None:
        raise InputError(f"{assistant}: has no {PAIR_FILE}; remake it: whisper-pair distill CONFIG --overwrite.")
    report = judged(config, main, whatever_the_verdict)
    names = naming(config, to, layout, standalone)
    about = config, report, names, trained_hours(config)
    paired = lineage_for(names.main, config, lineage)
    own = checkpoint(assistant) | {PAIR_FILE: paired}
    repositories = []
    if layout == "one":
        inside = {f"assistant/{path}": file for path, file in own.items()}
        repositories.append(Repository(names.main, checkpoint(main) | inside | {"README.md": main_card(*about)}))
    else:
        if names.main == to:
            repositories.append(Repository(to, checkpoint(main) | {"README.md": main_card(*about)}))
        repositories.append(Repository(names.assistant, own | {"README.md": assistant_card(*about)}))
    if names.standalone:
        whole = rehearsed(main, assistant) if dry_run else checkpoint(standalone_checkpoint(main, assistant))
        repositories.append(Repository(names.standalone, whole | {"README.md": standalone_card(*about)}))
    return repositories


def naming(config: Config, to: str, layout: str, standalone: bool) -> Names:
    """Where each part goes. A main that is someone's published checkpoint as it stands is not published again."""
    theirs = config.train is None and not Path(config.model).is_dir()
    if theirs and layout == "one":
        raise InputError(f"--layout one: the main is {config.model} as it stands; publish the assistant alone.")
    return Names(
        main=config.model if theirs else to,
        assistant=to if layout == "one" else f"{to}-assistant",
        subfolder="assistant" if layout == "one" else None,
        standalone=f"{to}-standalone" if standalone else None,
    )


def checkpoint(folder: Path) -> dict[str, Path | bytes]:
    found = {file.name: file for pattern in CHECKPOINT for file in sorted(folder.glob(pattern))}
    return {name: file for name, file in found.items() if name not in PRIVATE}


def lineage_for(main: str, config: Config, lineage: Lineage) -> bytes:
    """pair.json, naming the main where others find it. Ours has no commit there yet, and theirs keeps its own."""
    from dataclasses import replace

    lineage = replace(lineage, main_revision=lineage.main_revision if main == config.model else None)
    with tempfile.TemporaryDirectory() as folder:
        replace(lineage, main=main).save(Path(folder))
        return (Path(folder) / PAIR_FILE).read_bytes()


def standalone_checkpoint(main: Path, assistant: Path) -> Path:
    """The main's encoder with the assistant's decoder, saved beside the assistant: a Whisper to be used alone."""
    from ..checkpoints import load_processor

    folder = assistant.with_name("standalone")
    standalone_model(main, assistant).save_pretrained(folder)
    load_processor(main).save_pretrained(folder)
    return folder


def standalone_model(main: Path, assistant: Path):
    from ..checkpoints import complete, load_draft, load_main

    return complete(load_main(main), load_draft(assistant))


def rehearsed(main: Path, assistant: Path) -> dict[str, bytes | Unwritten]:
    """The files of `standalone_checkpoint`, without its weights."""
    from ..checkpoints import load_processor

    whole = standalone_model(main, assistant)
    with tempfile.TemporaryDirectory() as folder:
        for part in (whole.config, whole.generation_config, load_processor(main)):
            part.save_pretrained(folder)
        found = {name: file.read_bytes() for name, file in checkpoint(Path(folder)).items()}
    return found | {WEIGHTS: Unwritten(sum(weight.nbytes for weight in whole.parameters()))}  # tied ones once


def trained_hours(config: Config) -> float | None:
    """Hours of speech that the main labelled for the assistant; None where the labels are gone."""
    path = Path(config.output) / "labels" / "labels.parquet"
    if not path.is_file():
        return None
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    return pc.sum(pq.read_table(path, columns=["seconds"])["seconds"]).as_py() / 3600
