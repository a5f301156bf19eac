"""How a CSV file is laid out: its encoding, its separator, and the line with the names of the columns.

The first part of the file is split at each separator that it may have. The name of the target column tells which one is
right, and which line has the names: titles and blank lines may come before it.
"""

import codecs
import csv
import io
import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tabserve.errors import DataError
from tabserve.training.source import SEPARATORS, TableSource

SAMPLE_BYTES, SAMPLE_ROWS = 2**18, 500
"""How much of a file is looked at, at most."""

TITLE_ROWS = 30
"""The names of the columns stand in one of so many rows."""

FALLBACK = "cp1252"
"""The encoding of a text that isn't UTF-8: what programs on Windows write in the west of Europe and in America."""

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as the next one
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class CsvLayout:
    """How a CSV file is laid out.

    Attributes:
        encoding: Python's name of it.
        separator: one character.
        names: of the columns that the rows have. A column without a name has an empty one.
        skipped: how many lines stand before the first row of values.
        has_header: whether the last one of them has the names.
        has_spaces: whether spaces follow separators. They belong to no value.
    """

    encoding: str
    separator: str
    names: Sequence[str]
    skipped: int
    has_header: bool
    has_spaces: bool

    def note(self) -> str | None:
        """What is unlike plain CSV, with the options that set something else; None if nothing is."""
        unlike = []
        if len(self.names) == 1:
            unlike.append(("as one column", "--separator"))
        if self.separator != ",":
            unlike.append((f"with {SEPARATORS.get(self.separator, repr(self.separator))}", "--separator"))
        if not self.encoding.startswith("utf-8"):
            unlike.append((f"as {self.encoding}", "--encoding"))
        name_line = self.skipped - sum(name.count("\n") for name in self.names)
        if self.has_header and name_line > 1:
            unlike.append((f"with the names of the columns in line {name_line}", "--no-header"))
        if not unlike:
            return None
        facts, options = zip(*unlike, strict=True)
        return f"read {', '.join(facts[:-1])}{' and ' * (len(facts) > 1)}{facts[-1]} (other: {', '.join(options)})"


@dataclass(frozen=True)
class _Row:
    """A row of the sample: its cells, and the line in which it ends, from 1."""

    cells: list[str]
    line: int


def find_layout(sample: bytes, source: TableSource, target: str, *, is_whole: bool) -> CsvLayout:
    """The layout of the file that begins with these bytes, or consists of them.

    Raises:
        DataError: it is no text, or no line has names.
    """
    encoding = source.encoding or _encoding(sample, source, is_whole=is_whole)
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample, is_whole)
    except UnicodeDecodeError as error:
        remedy = "name another --encoding" if source.encoding else "name its encoding with --encoding"
        raise DataError(f"{source.name} is not {encoding} (byte {error.start}): {remedy}") from None
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise DataError(
            f"{source.name} can't be read: it is no Parquet, Feather, Excel or JSON, and it holds bytes of 0, which no "
            "CSV has. If it is UTF-16, add --encoding utf-16-le, or utf-16-be"
        )
    if not text.strip():
        raise DataError(f"{source.name} can't be read: it is empty")
    if re.match(r"\s*<(!doctype|html|\?xml|table)", text, re.IGNORECASE):
        raise DataError(f"{source.name} can't be read: it is a page of HTML or XML, not a table. Save it as CSV")
    hint = re.match(r"sep=(.)\r?\n", text)
    separators = [source.separator or (hint[1] if hint else "")] if source.separator or hint else list(SEPARATORS)
    parsed = [(separator, _rows(text, separator, is_whole=is_whole)) for separator in separators]
    if hint:
        parsed = [(separator, rows[1:]) for separator, rows in parsed]
    separator, rows = max(parsed, key=lambda pair: _plausibility(pair[1], target))
    return _layout(encoding, separator, rows, source, target, has_spaces=_has_spaces(text, separator))


def header_row(rows: Sequence[Sequence[str]], target: str) -> int | None:
    """Which of the rows has the names of the columns: that with the name of the target, else the first one that is as
    long as most. None if there is no row."""
    width = _usual_length(rows)
    first_full = next((number for number, row in enumerate(rows) if len(row) == width and all(row)), len(rows))
    named = [number for number, row in enumerate(rows[:TITLE_ROWS]) if target in row and number <= first_full]
    for number in named:
        if len(rows[number]) >= width - 1:
            return number
    if named:
        return max(named, key=lambda number: len(rows[number]))
    return next((number for number, row in enumerate(rows) if len(row) == width), None)


def looks_like_values(cells: Sequence[str]) -> bool:
    """Whether most of the cells are numbers."""
    return sum(map(_is_number, cells)) > len(cells) / 2


def _encoding(sample: bytes, source: TableSource, *, is_whole: bool) -> str:
    for mark, encoding in BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return encoding
    for encoding in ("utf-8", FALLBACK):
        try:
            codecs.getincrementaldecoder(encoding)().decode(sample, is_whole)
        except UnicodeDecodeError:
            continue
        return encoding
    raise DataError(f"{source.name} is neither UTF-8 nor {FALLBACK}: name its encoding with --encoding")


def _rows(text: str, separator: str, *, is_whole: bool) -> list[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows: list[_Row] = []
    try:
        for cells in reader:
            if any(cells) or len(cells) > 1:
                rows.append(_Row([cell.strip() for cell in cells], reader.line_num))
            if len(rows) == SAMPLE_ROWS:
                return rows
    except csv.Error:  # a value is too long: another separator may be right
        return rows
    return rows if is_whole or len(rows) < 2 else rows[:-1]  # the last one may be cut


def _has_spaces(text: str, separator: str) -> bool:
    """Whether a separator outside of quotes is followed by a space."""
    if separator == " " or f"{separator} " not in text:
        return False
    try:
        rows = itertools.islice(csv.reader(io.StringIO(text, newline=""), delimiter=separator), SAMPLE_ROWS)
        return any(cell.startswith(" ") for row in rows for cell in row[1:])
    except csv.Error:
        return False


def _plausibility(rows: Sequence[_Row], target: str) -> tuple[bool, float, int]:
    """The larger, the more likely a separator splits the text into these rows."""
    cells = [row.cells for row in rows]
    width = _usual_length(cells)
    has_target = any(target in row for row in cells[:TITLE_ROWS])
    share = sum(len(row) == width for row in cells) / len(cells) if cells and width > 1 else 0.0
    return has_target, share, width


def _usual_length(rows: Sequence[Sequence[str]]) -> int:
    """The length that most rows have; of two that are as frequent, the larger one."""
    counts = Counter(map(len, rows))
    return max(counts, key=lambda length: (counts[length], length), default=0)


def _layout(
    encoding: str, separator: str, rows: list[_Row], source: TableSource, target: str, *, has_spaces: bool
) -> CsvLayout:
    width = _usual_length([row.cells for row in rows])
    if not source.has_header:
        titles = list(itertools.takewhile(lambda row: len(row.cells) != width, rows))
        names = [str(number) for number in range(1, width + 1)]
        return CsvLayout(encoding, separator, names, titles[-1].line if titles else 0, False, has_spaces)
    place = header_row([row.cells for row in rows], target)
    if place is None:
        raise DataError(f"{source.name} can't be read: it has no line with the names of columns")
    header = rows[place]
    if target not in header.cells and looks_like_values(header.cells):
        raise DataError(
            f"{source.name} begins with {separator.join(header.cells)[:60]!r}, which are values and no names of "
            "columns: put the names first, or add --no-header, which names the columns 1, 2, 3 …"
        )
    names = _names(header.cells, [row.cells for row in rows[place + 1 :]])
    return CsvLayout(encoding, separator, names, header.line, True, has_spaces)


def _names(header: list[str], body: list[list[str]]) -> list[str]:
    """A name for each column that the rows have; empty ones for those that the header doesn't name."""
    width = _usual_length(body) or len(header)
    first = [row[0] for row in body if len(row) == width]
    if width == len(header) + 1 and len(set(first)) == len(first) and any(row[-1] for row in body):
        return ["", *header]  # as R writes the names of rows
    while len(header) > width and not header[-1]:
        header = header[:-1]
    extra = range(len(header), width)
    is_empty = all(not cell for row in body for cell in row[len(header) :])
    return header + [""] * len(extra) if is_empty else header


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
