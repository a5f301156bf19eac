"""Reads a file of CSV or Parquet as it stands. Infers nothing from the values."""

import csv
import math
from pathlib import Path

import pandas as pd

from tabserve.errors import DataError

CSV_ENDINGS = (".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zip", ".csv.zst")
PARQUET_ENDINGS = (".parquet", ".pq")


def read_table(file: Path) -> pd.DataFrame:
    """The table: of a CSV every column as texts, and columns of the same name side by side.

    Raises:
        DataError: it can't be read.
    """
    name = file.name.lower()
    try:
        if name.endswith(PARQUET_ENDINGS):
            return pd.read_parquet(file)
        if name.endswith(CSV_ENDINGS):
            return _read_csv(file)
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 (byte {error.start}): save it in that encoding") from None
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(f"{file} can't be read: {reason}") from error
    raise DataError(f"{file} can't be read: its name must end in {', '.join((*CSV_ENDINGS, *PARQUET_ENDINGS))}")


def _read_csv(file: Path) -> pd.DataFrame:
    # the header is read on its own, because pandas would rename columns of the same name
    first = pd.read_csv(file, header=None, nrows=1, dtype="str", encoding="utf-8-sig", keep_default_na=False, sep="\0")
    line = str(first.iloc[0, 0])
    header = [name.strip() for name in next(csv.reader([line], skipinitialspace=True))]
    if len(header) == 1:
        separator = max(";\t|", key=line.count)
        if separator in line:
            name = {";": "semicolons", "\t": "tabs", "|": "bars"}[separator]
            raise DataError(f"{file} has {name} between its columns: save it with commas")
    if sum(map(_is_number, header)) > len(header) / 2:
        raise DataError(f"{file} begins with {line[:60]!r}, which is no header: put the names of the columns first")
    table = pd.read_csv(file, dtype="str", encoding="utf-8-sig", header=None, skiprows=1, skipinitialspace=True)
    if len(table.columns) != len(header):
        raise DataError(f"{file} has {len(header)} names in its header, but {len(table.columns)} columns")
    return table.set_axis(header, axis=1)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
