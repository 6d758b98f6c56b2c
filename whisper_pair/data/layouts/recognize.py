"""What a corpus is, by what is there: the layouts that people have, each known by the files that only it has.

A named split is a table or a folder of that name, or of one that is used for it (dev, valid); "train" is everything
where a corpus has no splits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ...audio import holds_sound
from ...config import Source, share_of
from ...errors import InputError
from ..cells import folded
from ..hub import ParquetFiles, SavedSet
from ..listed import FILE_NAME, METADATA, Folder, Manifest
from ..paths import audio_files, local
from ..rows import Columns
from ..tables import ENDINGS as TABLES
from ..tables import columns_of
from ..tars import Tars
from . import common_voice, kaldi, lhotse, lists
from .archives import is_archive, unpacked
from .beside import pairs
from .described import Described, Utterance

SAME = (("train", "training"), ("validation", "valid", "dev", "val", "development"), ("test", "eval", "testing"))
AUDIO = ("audio", "audio_filepath", "file_name", "filename", "path", "file", "wav")  # columns of tables
TEXT = ("raw_transcription", "raw_text", "text", "sentence", "transcription", "transcript", "normalized_text")
SPEAKER = ("speaker", "speaker_id", "client_id")
KNOWN = (
    "metadata.csv, Common Voice, LJSpeech, LibriSpeech, MLS, Kaldi files, NeMo or Lhotse manifests, a saved data set, "
    "Parquet files, tars, or audio beside .txt, .srt, .vtt, .stm, .TextGrid or Audacity's labels"
)

Recognized = Described | Folder | Manifest | ParquetFiles | SavedSet | Tars


def recognized(source: Source, cache: str | None = None) -> Recognized:
    """The reader of `source.corpus`. `cache`: where an archive is unpacked.

    Raises InputError where there is nothing, or nothing of a layout that is known.
    """
    path = local(source.path)
    if not path.exists():
        raise InputError(f"corpus {source.path}: there is no such file or folder.")
    if path.is_file() and not is_archive(path):
        _refuse_split(split_of(source), source)
        return _of_file(path, source)
    folder = unpacked(path, cache) if path.is_file() else path
    found = _of_folder(_inner(folder), source, split_of(source))
    if found is None:
        without = "" if source.text is None else "; for audio without text, set text: null"
        raise InputError(f"corpus {source.path}: holds none of {KNOWN}{without}.")
    return found


def kind_of(layout: Recognized) -> str:
    """A layout's name, for a reader."""
    names = {
        Folder: "a folder with metadata",
        Manifest: "a manifest",
        ParquetFiles: "Parquet files",
        SavedSet: "a saved data set",
        Tars: "tars of clips (WebDataset)",
    }
    if isinstance(layout, Folder) and layout.metadata is None:
        return "audio without text"
    return layout.kind if isinstance(layout, Described) else names[type(layout)]


def _inner(folder: Path) -> Path:
    """The first folder that holds more than one other folder: releases are in cv-corpus-17.0/nl, LibriSpeech/dev."""
    while True:
        inside = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].is_symlink():
            return folder
        folder = inside[0]


def _of_file(path: Path, source: Source) -> Recognized:
    if lhotse.is_lhotse(path):
        return _described(
            source, "Lhotse manifest", path.parent, (path,), partial(lhotse.utterances, path, source.text)
        )
    if path.suffix.lower() in TABLES:
        return _table(path, source)
    raise InputError(f"corpus {source.path}: is no table, Lhotse manifest, tar or ZIP; expected one, or a folder.")


def _table(path: Path, source: Source) -> Manifest | ParquetFiles:
    """A manifest, or a Parquet file with the audio inside."""
    columns = _columns(columns_of(path), source)
    if path.suffix.lower() == ".parquet" and not source.root:
        return ParquetFiles(str(path), source.stream, columns)
    return Manifest(str(path), local(source.root) if source.root else path.parent, columns)


def _columns(names: Sequence[str], source: Source) -> Columns:
    """The source's columns, or those that such tables usually have; of several texts the one as it was written."""

    def usual(own: str | None, default: str | None, known: Sequence[str]) -> str | None:
        there = {folded(name): name for name in names}
        return own if own != default else next((there[name] for name in known if name in there), own)

    text = None if source.text is None else usual(source.text, Source.text, TEXT)
    return Columns(
        usual(source.audio, Source.audio, AUDIO), text, usual(source.speaker, None, SPEAKER), source.segments
    )


def _of_folder(folder: Path, source: Source, name: str) -> Recognized | None:
    """`name`: of the split that is wanted in it; "train" once it was found."""
    text = source.text
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        saved = {path.parent.name: path.parent for path in sorted(folder.glob("*/state.json"))} or {"train": folder}
        return SavedSet.of(source.name, _chosen(saved, name, source), lambda names: _columns(names, source))
    if (folder / "wav.scp").is_file():
        _refuse_split(name, source)
        tables = tuple(
            folder / file for file in ("wav.scp", "text", "utt2spk", "segments") if (folder / file).is_file()
        )
        return _described(source, "Kaldi directory", folder, tables, partial(kaldi.utterances, folder, text))
    if releases := common_voice.splits(folder):
        table = _chosen(releases, name, source)
        read = partial(common_voice.utterances, table, text, source.speaker)
        return _described(source, f"Common Voice, {table.name}", folder, (table,), read)
    if lists.is_ljspeech(folder):
        _refuse_split(name, source)
        read = partial(lists.ljspeech, folder, text)
        return _described(source, "LJSpeech", folder, (folder / "metadata.csv",), read)
    if lists.is_mls(folder):
        _refuse_split(name, source)
        table = folder / "transcripts.txt"
        return _described(source, "Multilingual LibriSpeech", folder, (table,), partial(lists.mls, folder, text))
    if found := [folder / file for file in METADATA if (folder / file).is_file()]:
        _refuse_split(name, source)
        if found[1:] or any(folded(name) == FILE_NAME for name in columns_of(found[0])):
            columns = _columns([] if found[1:] else columns_of(found[0]), source)
            return Folder(str(folder), replace(columns, audio=FILE_NAME))
        return _table(found[0], source)
    below = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and _same(path.name)}
    if below and not _audio_lies_in(folder):
        return _of_folder(_inner(_chosen(below, name, source)), source, "train")
    return _of_files(folder, source, name)


def _of_files(folder: Path, source: Source, name: str) -> Recognized | None:
    """By the endings of the files in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    manifests = [path for path in files if path.name.endswith(lhotse.ENDINGS) and "recordings" not in path.name]
    cuts = {path.name: path for path in manifests if lhotse.is_lhotse(path)}
    tables = {path.name: path for path in files if path.parent == folder and _names_audio(path)}
    if cuts or tables:
        return _of_file(_chosen(cuts or tables, name, source), source)
    if transcripts := [path for path in files if path.name.endswith(".trans.txt")]:
        return _librispeech(folder, transcripts, name, source)
    for suffix in (".parquet", ".tar"):
        if shards := [path for path in files if path.suffix == suffix]:
            return _shards(folder, shards, suffix, name, source)
    _refuse_split(name, source)
    found = pairs(folder)
    if found is not None:
        return _described(source, found.kind, folder, found.metadata, partial(found.utterances, source.text))
    if source.text is None and audio_files(folder):
        return Folder(str(folder), Columns(FILE_NAME, None, None, source.segments))
    return None


def _librispeech(folder: Path, transcripts: list[Path], name: str, source: Source) -> Described:
    """All of it, or the subset that is named: LibriSpeech/dev-clean/84/121123/84-121123.trans.txt."""
    parts = [path.relative_to(folder).parts for path in transcripts]
    subsets = {first: folder / first for first, *rest in parts if len(rest) > 2}
    if len(subsets) < 2:
        _refuse_split("train" if name in subsets else name, source)
    else:
        subset = _chosen(subsets, name, source)
        transcripts = [path for path in transcripts if path.is_relative_to(subset)]
    read = partial(lists.librispeech, folder, transcripts, source.text)
    return _described(source, "LibriSpeech", folder, tuple(transcripts), read)


def _shards(folder: Path, shards: Sequence[Path], suffix: str, name: str, source: Source) -> ParquetFiles | Tars:
    """Of a split, where their names begin with one, as in a copy of a data set from the Hub."""
    splits = {path.name: path.name.partition("-")[0] for path in shards}
    known = {split: Path(split) for split in splits.values() if _same(split)}
    chosen = _named(known, name, source) if known else ""
    if not known:
        _refuse_split(name, source)
    parents = {path.parent for path in shards if not chosen or splits[path.name] == chosen}
    if len(parents) > 1:
        there = ", ".join(sorted(str(parent) for parent in parents))
        raise InputError(f"corpus {source.path}: several folders hold {chosen}*{suffix} files; name one of {there}.")
    pattern = str(next(iter(parents)) / f"{chosen}-*{suffix}") if chosen else str(folder)
    if suffix == ".tar":
        return Tars(pattern, Columns(source.audio, source.text, source.speaker, source.segments))
    first = next(path for path in shards if not chosen or splits[path.name] == chosen)
    return ParquetFiles(pattern, source.stream, _columns(columns_of(first), source))


def _described(
    source: Source,
    kind: str,
    folder: Path,
    metadata: tuple[Path, ...],
    utterances: Callable[[], Iterator[Utterance]],
) -> Described:
    root = local(source.root) if source.root else folder
    return Described(source.path, kind, root, metadata, utterances)


def _names_audio(path: Path) -> bool:
    """Whether a file is a table with a column of audio's paths."""
    if path.suffix.lower() not in TABLES or path.suffix.lower() == ".parquet":
        return False
    try:
        names = columns_of(path)
    except InputError:
        return False
    return any(folded(name) in AUDIO for name in names)


def _audio_lies_in(folder: Path) -> bool:
    """Whether audio is in the folder itself."""
    return any(path.is_file() and holds_sound(path) for path in folder.iterdir())


# Splits


def split_of(source: Source) -> str:
    """The name of a source's split: a share is taken of "train"."""
    return "train" if share_of(source.split) else str(source.split)


def _refuse_split(name: str, source: Source) -> None:
    """Raises InputError where a split is wanted of a corpus that has none."""
    if name != "train":
        raise InputError(
            f"corpus {source.path}: has no splits, and so no {name!r}; take a share of it, such as split: 0.05."
        )


def _same(name: str) -> tuple[str, ...]:
    """The names of the split that a name begins with; none where it is no split's."""
    word = name.lower().replace("_", "-").partition("-")[0].partition(".")[0]
    return next((names for names in SAME if word in names), ())


def _chosen(found: dict[str, Path], name: str, source: Source) -> Path:
    return found[_named(found, name, source)]


def _named(found: dict[str, Path], name: str, source: Source) -> str:
    """The one of some named things that a split means: that name, or another for it, or the only one for "train"."""
    plain = {key.partition(".")[0]: key for key in found}
    if name in found or name in plain:
        return name if name in found else plain[name]
    alike = [key for key in found if _same(name) and _same(key) == _same(name)]
    alike = alike or [
        key for key in found if name.lower() in key.lower().replace("_", "-").replace(".", "-").split("-")
    ]
    if not alike and len(found) == 1 and name == "train":
        alike = list(found)
    if len(alike) == 1:
        return alike[0]
    there = ", ".join(sorted(found))
    which = "several could be" if alike else "there is no"
    raise InputError(
        f"corpus {source.path}: {which} split {name!r}; it has {there}. Name one with split, or a share such as 0.05."
    )
