"""Reads a sheet of an Excel workbook."""

from datetime import date, datetime
from typing import Any, BinaryIO

import pandas as pd

from tabserve.errors import DataError
from tabserve.training.csv_layout import header_row
from tabserve.training.raw_table import RawTable
from tabserve.training.source import TableSource


def read_workbook(file: BinaryIO, source: TableSource, target: str) -> RawTable:
    """The table of a sheet: that which the source names, else the first one that isn't empty. Titles and blank rows may
    come before the names of the columns.

    Raises:
        DataError: there is no such sheet, or it is empty.
    """
    from python_calamine import CalamineWorkbook

    workbook = CalamineWorkbook.from_filelike(file)
    names = workbook.sheet_names
    if source.sheet is not None and source.sheet not in names:
        raise DataError(f"{source.name} has no sheet {source.sheet!r}. There are {', '.join(names)[:300]}")
    for name in [source.sheet] if source.sheet else names:
        rows = workbook.get_sheet_by_name(name).to_python(skip_empty_area=False)
        filled = [(number, row) for number, row in enumerate(rows, 1) if any(cell != "" for cell in row)]
        if filled:
            break
    else:
        raise DataError(f"{source.name} can't be read: it is empty")
    notes = [f"read from the sheet {name!r} of {len(names)} (other: --sheet)"] if len(names) > 1 else []
    if not source.has_header:
        header = [str(number) for number in range(1, len(rows[0]) + 1)]
        body = [row for _, row in filled]
    else:
        place = header_row([[_as_text(cell).strip() for cell in row] for _, row in filled], target) or 0
        line, cells = filled[place]
        if line > 1:
            notes.append(f"read with the names of the columns in row {line} (other: --no-header)")
        header = [_as_text(cell).strip() for cell in cells]
        body = [row for _, row in filled[place + 1 :]]
    columns = [_column([row[number] for row in body]) for number in range(len(header))]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame()
    return RawTable(frame.set_axis(header, axis=1), notes)


def _column(cells: list[Any]) -> pd.Series:
    """The cells as numbers, booleans or times if all of them are, else as texts. An empty cell is missing."""
    values = [None if cell == "" else cell for cell in cells]
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pd.Series(values, dtype=object)
    if kinds <= {float, int}:
        return pd.Series(values, dtype="float64")
    if kinds <= {date, datetime}:
        return pd.to_datetime(pd.Series(values))
    return pd.Series([None if value is None else _as_text(value) for value in values], dtype="str")


def _as_text(cell: Any) -> str:
    """A cell as a text: a whole number has no decimal point."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.isoformat() if isinstance(cell, date) else str(cell)
