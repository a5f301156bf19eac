"""Reads Parquet and Feather, of one file or of many."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as arrow_dataset
import pyarrow.feather as feather
import pyarrow.parquet as parquet

from tabserve.errors import DataError
from tabserve.training.raw_table import RawTable
from tabserve.training.source import TableSource


def read_parquet(file: BinaryIO) -> RawTable:
    return _as_raw_table(parquet.read_table(file))


def read_feather(file: BinaryIO) -> RawTable:
    return _as_raw_table(feather.read_table(file))


def read_parquet_files(files: Sequence[Path], source: TableSource) -> RawTable:
    """The rows of all files, in their order. A column that some of them lack is missing there. Folders such as
    `year=2024` are columns.

    Raises:
        DataError: a column has types that don't fit together.
    """
    names = [str(file) for file in files]
    place: dict[str, Any] = {
        "format": "parquet",
        "partitioning": arrow_dataset.partitioning(flavor="hive"),
        "partition_base_dir": None if source.is_pattern else source.place,
    }
    found = arrow_dataset.dataset(names, **place)  # with the columns of the first file
    schemas = [found.schema, *(fragment.physical_schema for fragment in found.get_fragments())]
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowTypeError as error:
        raise DataError(f"{source.name} can't be read: its files have other types for a column: {error}") from error
    # without pandas' metadata, because each file may have an index of its own
    table = arrow_dataset.dataset(names, schema=schema.remove_metadata(), **place).to_table()
    return RawTable(_with_text_names(table.to_pandas()))


def decompress_zstd(file: BinaryIO) -> BinaryIO:
    stream: BinaryIO = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
    return stream


def _as_raw_table(table: pa.Table) -> RawTable:
    """The table with the index that pandas gave it as columns, unless that only counts the rows."""
    frame = table.to_pandas()
    if not isinstance(frame.index, pd.RangeIndex) or frame.index.name is not None:
        names = ["" if name is None else name for name in frame.index.names]
        frame = frame.reset_index(names=names, allow_duplicates=True)
    return RawTable(_with_text_names(frame.reset_index(drop=True)))


def _with_text_names(frame: pd.DataFrame) -> pd.DataFrame:
    labels: list[object] = list(frame.columns)
    names = ["_".join(map(str, label)) if isinstance(label, tuple) else str(label) for label in labels]
    return frame.set_axis(names, axis=1)
