"""From a source of the config to the reader of its layout."""

from collections.abc import Iterator

from ..config import Source, share_of
from .hub import HubSet, ParquetFiles
from .layouts import Recognized, recognized
from .listed import FILE_NAME, Folder, Manifest
from .parts import part_of
from .paths import local
from .rows import Columns, Row
from .tars import Tars

Layout = Recognized | HubSet


def layout_of(source: Source, cache: str | None = None) -> Layout:
    """The reader of a source: where it lies, and the columns that its rows are read from.

    `cache`: the folder that an archive is unpacked in. Raises InputError for a corpus of no known layout.
    """
    columns = Columns.of(source, source.audio)
    if source.corpus is not None:
        return recognized(source, cache)
    if source.folder is not None:
        return Folder(source.folder, Columns.of(source, FILE_NAME))
    if source.manifest is not None:
        root = local(source.root) if source.root else local(source.manifest).parent
        return Manifest(source.manifest, root, columns)
    if source.webdataset is not None:
        return Tars(source.webdataset, columns)
    if source.parquet is not None:
        return ParquetFiles(source.parquet, source.stream, columns)
    split = "train" if share_of(source.split) else str(source.split)
    return HubSet(source.name, source.hub or "", source.config, split, source.revision, source.stream, columns)


def rows_of(source: Source, cache: str | None = None) -> Iterator[Row]:
    """The rows of a corpus, or of a share of it, in its order, the same each time; no audio is decoded."""
    rows = layout_of(source, cache).rows()
    share = share_of(source.split)
    return rows if share is None else part_of(rows, *share, source.name)
