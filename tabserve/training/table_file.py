"""Reads a table from wherever it is. What a file is, its first bytes tell: names of files may be wrong, and standard
input has none. Infers nothing from the values."""

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from tabserve.errors import DataError
from tabserve.training import columnar_file, csv_file, database, json_lines, workbook
from tabserve.training.raw_table import RawTable
from tabserve.training.source import MISSING, STANDARD_INPUT, OpenFile, TableSource

PARQUET_ENDINGS = ("parquet", "pq")

PARQUET, FEATHER, ZIP, OLD_EXCEL = b"PAR1", b"ARROW1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""The first bytes of a file of this kind."""

COMPRESSIONS: Mapping[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x28\xb5\x2f\xfd": columnar_file.decompress_zstd,
}
"""The first bytes of a compressed file → what decompresses it."""


def read_table(source: TableSource, target: str) -> RawTable:
    """The table with a name for each column. `target`: the target column, by which the line with the names is found.

    Raises:
        DataError: it can't be read.
    """
    try:
        raw = _read(source, target)
    except DataError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{source.name} can't be read: {source.without_secrets(reason)[:300]}") from error
    if not len(raw.frame.columns):
        raise DataError(f"{source.name} can't be read: it has no columns")
    return raw.named()


def _read(source: TableSource, target: str) -> RawTable:
    if source.is_database:
        return _typed(database.read_query(source), source)
    if source.is_pattern or Path(source.place).is_dir():
        return _typed(columnar_file.read_parquet_files(_parquet_files(source), source), source)
    if source.is_stream:
        content = sys.stdin.buffer.read() if source.place == STANDARD_INPUT else Path(source.place).read_bytes()
        return _read_file(lambda: io.BytesIO(content), source, target)
    return _read_file(lambda: Path(source.place).open("rb"), source, target)


def _typed(raw: RawTable, source: TableSource) -> RawTable:
    """A table whose source knows missing values: texts count as missing only if a person says so."""
    return raw if source.missing is None else raw.without(source.missing)


def _read_file(open_file: OpenFile, source: TableSource, target: str) -> RawTable:
    texts_missing = MISSING if source.missing is None else ("", *source.missing)
    with open_file() as file:
        start = file.read(4096)
    for first_bytes, decompress in COMPRESSIONS.items():
        if start.startswith(first_bytes):
            return _read_file(_decompressed(open_file, decompress), source, target)
    with open_file() as file:
        if start.startswith(PARQUET):
            return _typed(columnar_file.read_parquet(file), source)
        if start.startswith(FEATHER):
            return _typed(columnar_file.read_feather(file), source)
        names = _members(file) if start.startswith(ZIP) else []
        if start.startswith(OLD_EXCEL) or "[Content_Types].xml" in names:
            file.seek(0)
            return workbook.read_workbook(file, source, target).without(texts_missing)
    if start.startswith(ZIP):
        if len(names) != 1:
            raise DataError(f"{source.name} can't be read: it holds {len(names)} files. Extract the one that is meant")
        return _read_file(_decompressed(open_file, lambda file: _open_member(file, names[0])), source, target)
    if json_lines.is_json(start):
        return _typed(json_lines.read_json_lines(open_file, source), source)
    return csv_file.read_csv(open_file, source, target).without(texts_missing)


def _decompressed(open_file: OpenFile, decompress: Callable[[BinaryIO], Any]) -> OpenFile:
    @contextmanager
    def open_decompressed() -> Iterator[BinaryIO]:
        with open_file() as file, decompress(file) as decompressed:
            yield decompressed

    return open_decompressed


def _members(file: BinaryIO) -> list[str]:
    """The names of the files in an archive, but for those that a Mac adds."""
    with zipfile.ZipFile(file) as archive:
        return [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]


@contextmanager
def _open_member(file: BinaryIO, name: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(file) as archive, archive.open(name) as member:
        yield member


def _parquet_files(source: TableSource) -> list[Path]:
    """The files of a folder or a pattern, in the order of their names."""
    folder = Path(source.place)
    if source.is_pattern:
        root = Path(folder.anchor)
        files = sorted(file for file in root.glob(str(folder.relative_to(root))) if file.is_file())
    else:
        files = sorted(
            file
            for ending in PARQUET_ENDINGS
            for file in folder.rglob(f"*.{ending}")
            if file.is_file() and not any(part.startswith(("_", ".")) for part in file.relative_to(folder).parts)
        )
    if not files:
        raise DataError(f"{source.name} can't be read: there are no Parquet files")
    return files
