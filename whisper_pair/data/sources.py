"""From a source of the config to the reader of its layout."""

from collections.abc import Iterator

from ..config import Source
from .hub import HubSet, ParquetFiles
from .listed import FILE_NAME, Folder, Manifest
from .paths import local
from .rows import Columns, Row
from .tars import Tars

Layout = Folder | Manifest | Tars | ParquetFiles | HubSet


def layout_of(source: Source) -> Layout:
    """The reader of a source: where it lies, and the columns that its rows are read from."""
    columns = Columns.of(source, source.audio)
    if source.folder is not None:
        return Folder(source.folder, Columns.of(source, FILE_NAME))
    if source.manifest is not None:
        root = local(source.root) if source.root else local(source.manifest).parent
        return Manifest(source.manifest, root, columns)
    if source.webdataset is not None:
        return Tars(source.webdataset, columns)
    if source.parquet is not None:
        return ParquetFiles(source.parquet, source.stream, columns)
    hub = source.hub or ""
    return HubSet(source.name, hub, source.config, source.split, source.revision, source.stream, columns)


def rows_of(source: Source) -> Iterator[Row]:
    """The rows of a corpus in its order, the same each time; no audio is decoded."""
    return layout_of(source).rows()
