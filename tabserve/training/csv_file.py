"""Reads CSV: by pyarrow, once its layout is known. Lines that are too short or too long are found by their number."""

import collections
import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv

from tabserve.errors import DataError
from tabserve.training.csv_layout import FALLBACK, SAMPLE_BYTES, CsvLayout, find_layout
from tabserve.training.raw_table import RawTable
from tabserve.training.source import OpenFile, TableSource

BLOCK_BYTES = 2**24
"""The most bytes that a row may have."""

SHOWN_LINES = 5
"""So many broken lines are named."""


@dataclass(frozen=True)
class _OddRow:
    """A row with another number of values than there are columns: its place among all rows, from 0, and its text."""

    place: int
    text: str


def read_csv(open_file: OpenFile, source: TableSource, target: str) -> RawTable:
    """The table, every column as texts. `open_file` returns the file from its begin, each time.

    A row that is too short lacks its last values, which is noted. Empty values at the end of one that is too long are
    ignored.

    Raises:
        DataError: it is no text, it has no names, or a line is broken.
        OSError, ValueError: it can't be read.
    """
    with open_file() as file:
        sample = file.read(SAMPLE_BYTES + 1)
    is_whole = len(sample) <= SAMPLE_BYTES
    layout = find_layout(sample[:SAMPLE_BYTES], source, target, is_whole=is_whole)
    try:
        table, odd = _read(open_file, layout)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if not isinstance(error, UnicodeDecodeError) and "UTF8" not in str(error):
            raise
        if source.encoding or not layout.encoding.startswith("utf-8"):
            raise DataError(f"{source.name} is not {layout.encoding}: name another --encoding") from None
        return read_csv(open_file, replace(source, encoding=FALLBACK), target)  # only its begin is UTF-8
    notes = [note for note in (layout.note(),) if note]
    frame = table.to_pandas()
    if odd:
        frame, note = _with_odd_rows(frame, odd, layout, open_file, source)
        notes += [note] if note else []
    elif len(frame) and "\n" in frame.iloc[-1, -1]:
        _expect_closed_quotes(open_file, layout, source)
    return RawTable(frame.set_axis(list(layout.names), axis=1), notes, has_types=False)


def _read(open_file: OpenFile, layout: CsvLayout) -> tuple[pa.Table, list[_OddRow]]:
    odd: list[_OddRow] = []

    def set_aside(row: arrow_csv.InvalidRow) -> str:
        odd.append(_OddRow(row.number - layout.skipped - 1, row.text))
        return "skip"

    columns = [str(number) for number in range(len(layout.names))]  # the names may be the same
    encoding = "utf8" if layout.encoding.startswith("utf-8") or layout.has_spaces else layout.encoding
    with open_file() as file:
        return arrow_csv.read_csv(
            _without_spaces(file, layout) if layout.has_spaces else file,
            # one thread, because only then a row knows its number
            read_options=arrow_csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK_BYTES,
                skip_rows=layout.skipped,
                column_names=columns,
                encoding=encoding,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=layout.separator, newlines_in_values=True, invalid_row_handler=set_aside
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
            ),
        ), odd


def _without_spaces(file: BinaryIO, layout: CsvLayout) -> BinaryIO:
    """The same CSV in UTF-8, without the spaces after its separators: pyarrow takes them for a part of the value."""
    text = io.StringIO(newline="")
    lines = _text(file, layout, errors="strict")
    text.writelines(itertools.islice(lines, layout.skipped))
    rows = (cells for _, cells in _rows(lines, layout))
    csv.writer(text, delimiter=layout.separator, lineterminator="\n").writerows(rows)
    return io.BytesIO(text.getvalue().encode())


def _with_odd_rows(
    frame: pd.DataFrame,
    odd: list[_OddRow],
    layout: CsvLayout,
    open_file: OpenFile,
    source: TableSource,
) -> tuple[pd.DataFrame, str | None]:
    """The table with the rows that were set aside, each in its place, and a note on those that were too short.

    Raises:
        DataError: one has too many values.
    """
    width = len(layout.names)
    rows = {row.place: next(_rows(io.StringIO(row.text, newline=""), layout))[1] for row in odd}
    if any(row.text.count('"') % 2 for row in odd):
        _expect_closed_quotes(open_file, layout, source)
    too_long = [place for place, cells in rows.items() if any(cells[width:])]
    if too_long:
        lines = _line_numbers(too_long, open_file, layout)
        first = ", ".join(layout.names)[:100]
        raise DataError(
            f"{source.name} can't be read: {_listed_lines(lines)} more values than the {width} columns {first}: repair "
            "the lines, or quote values that hold the separator"
        )
    short = [place for place, cells in rows.items() if len(cells) < width]
    padded = pd.DataFrame(
        {number: [row[number] if number < len(row) else None for row in rows.values()] for number in range(width)},
        index=list(rows),
        dtype="str",
    )
    others = pd.Index(range(len(frame) + len(rows))).difference(padded.index)
    frame = pd.concat([frame.set_axis(range(width), axis=1).set_axis(others, axis=0), padded]).sort_index()
    if not short:
        return frame, None
    lines = _line_numbers(short, open_file, layout)
    return frame, f"{_listed_lines(lines)} fewer values than there are columns: the last ones are missing"


def _expect_closed_quotes(open_file: OpenFile, layout: CsvLayout, source: TableSource) -> None:
    """Raises DataError if the file ends within quotes."""
    with open_file() as file:
        last = 0
        try:
            for line, _ in _rows(_text(file, layout), layout, strict=True):
                last = line
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise DataError(
                    f"{source.name} can't be read: line {last + 1} opens quotes that are never closed: repair it"
                ) from None


def _line_numbers(places: list[int], open_file: OpenFile, layout: CsvLayout) -> list[int]:
    """The numbers of the lines, from 1, in which these rows end."""
    wanted = set(places)
    with open_file() as file:
        text = _text(file, layout)
        collections.deque(itertools.islice(text, layout.skipped), maxlen=0)
        rows = enumerate(_rows(text, layout))
        return [layout.skipped + line for place, (line, _) in rows if place in wanted]


def _text(file: BinaryIO, layout: CsvLayout, errors: str = "replace") -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding=layout.encoding, errors=errors, newline="")


def _rows(text: Iterator[str], layout: CsvLayout, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """The rows that aren't blank, each after the number of the line in which it ends, from 1."""
    reader = csv.reader(text, delimiter=layout.separator, skipinitialspace=layout.has_spaces, strict=strict)
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def _listed_lines(lines: list[int]) -> str:
    """The lines as the subject of a sentence, with `has` or `have`."""
    if len(lines) == 1:
        return f"line {lines[0]} has"
    more = f" and {len(lines) - SHOWN_LINES} more" if len(lines) > SHOWN_LINES else ""
    return f"lines {', '.join(map(str, lines[:SHOWN_LINES]))}{more} have"
