"""Types and values of the columns of an Arrow stream. Every position in it is checked, since it may come from anyone.

The format: https://arrow.apache.org/docs/format/Columnar.html and `Schema.fbs`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tabserve.errors import InvalidInputError
from tabserve.model import Boolean, Category, Date, Feature, Matrix
from tabserve.model.dates import is_date
from tabserve.web.codecs.flatbuffer import FlatbufferTable, part_of
from tabserve.web.codecs.problems import problem
from tabserve.web.codecs.request_types import MAX_TEXT, NO_BOOLEAN, NO_DATE

PER_SECOND = (1, 10**3, 10**6, 10**9)
"""How many of each `TimeUnit` are a second."""

SECONDS_PER_DAY = 86_400

FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, in seconds since 1970."""

MAX_SCALE = 76
"""The most digits of a decimal."""

Kind = Literal["number", "decimal", "boolean", "text", "date", "timestamp", "duration"]
Texts = list[str | None]
Buffers = Iterator[tuple[int, int]]


@dataclass(frozen=True)
class ColumnType:
    """The type of a column.

    Attributes:
        dtype: numpy's type of its numbers; for texts, of the offsets at which they start and end.
        unit: of times, how many are a second; of decimals, the number of digits behind the point.
        dictionary: the id of the dictionary whose texts the column names by their numbers; None for other columns.
        indices: numpy's type of these numbers.
    """

    kind: Kind
    dtype: np.dtype[Any]
    unit: int = 1
    dictionary: int | None = None
    indices: np.dtype[Any] | None = None

    @property
    def buffers(self) -> int:
        """How many buffers a column has: which values are null; for texts, the offsets; the values."""
        return 3 if self.kind == "text" and self.dictionary is None else 2

    def suits(self, feature: Feature) -> bool:
        """Whether values of this type can be those of the feature."""
        match feature:
            case Category():
                return self.kind == "text"
            case Boolean():
                return self.kind == "boolean" or (self.kind == "text" and bool(feature.texts))
            case Date():
                return self.kind in ("date", "timestamp", "text")
        return self.kind in ("number", "decimal") or (self.kind == "duration" and feature.unit == "seconds")


def read_type(field: FlatbufferTable) -> ColumnType | None:
    """The type of a field of the stream's schema; None for one that no feature has."""
    found = _plain_type(field)
    if found is None or not field.has(4):
        return found
    if found.kind != "text":
        return None
    encoding = field.table(4)
    indices = _integer(encoding.table(1)) if encoding.has(1) else np.dtype("<i4")
    return None if indices is None else ColumnType("text", found.dtype, 1, encoding.number(0, "<q"), indices)


def _plain_type(field: FlatbufferTable) -> ColumnType | None:
    read = READERS.get(field.number(2, "<B"))
    return read(field.table(3)) if read else None


def _numbers(details: FlatbufferTable) -> ColumnType | None:
    dtype = _integer(details)
    return None if dtype is None else ColumnType("number", dtype)


def _integer(details: FlatbufferTable) -> np.dtype[Any] | None:
    sign, bits = "i" if details.number(1, "<B") else "u", details.number(0, "<i")
    return np.dtype(f"<{sign}{bits // 8}") if bits in (8, 16, 32, 64) else None


def _floats(details: FlatbufferTable) -> ColumnType:
    return ColumnType("number", np.dtype({0: "<f2", 1: "<f4", 2: "<f8"}[details.number(0, "<h") % 3]))


def _decimals(details: FlatbufferTable) -> ColumnType | None:
    bits, scale = details.number(2, "<i") or 128, details.number(1, "<i")
    is_known = bits in (32, 64, 128, 256) and 0 <= scale <= MAX_SCALE
    return ColumnType("decimal", np.dtype(f"V{bits // 8}"), scale) if is_known else None


def _days(details: FlatbufferTable) -> ColumnType:
    in_days = details.has(0) and details.number(0, "<h") == 0  # absent means milliseconds
    return ColumnType("date", np.dtype("<i4")) if in_days else ColumnType("timestamp", np.dtype("<i8"), 1000)


def _timestamps(details: FlatbufferTable) -> ColumnType:
    return ColumnType("timestamp", np.dtype("<i8"), PER_SECOND[details.number(0, "<h") % 4])


def _durations(details: FlatbufferTable) -> ColumnType:
    unit = details.number(0, "<h") if details.has(0) else 1  # absent means milliseconds
    return ColumnType("duration", np.dtype("<i8"), PER_SECOND[unit % 4])


def _times(details: FlatbufferTable) -> ColumnType | None:
    """Times of day are durations since midnight."""
    unit, bits = details.number(0, "<h") if details.has(0) else 1, details.number(1, "<i") or 32
    return ColumnType("duration", np.dtype(f"<i{bits // 8}"), PER_SECOND[unit % 4]) if bits in (32, 64) else None


READERS: Mapping[int, Callable[[FlatbufferTable], ColumnType | None]] = {
    2: _numbers,
    3: _floats,
    5: lambda _: ColumnType("text", np.dtype("<i4")),  # UTF-8
    6: lambda _: ColumnType("boolean", np.dtype("u1")),
    7: _decimals,
    8: _days,
    9: _times,
    10: _timestamps,
    18: _durations,
    20: lambda _: ColumnType("text", np.dtype("<i8")),  # large UTF-8
}
"""A type, by its number in the union `Type` → what reads its details."""


@dataclass(frozen=True)
class ColumnPart:
    """A column of one record batch, before its values are read.

    Attributes:
        name: of the column, for errors.
        body: of the record batch.
        buffers: those of the column that follow.
        length: how many values it has.
        first_row: the number of the first one in the stream, for errors; None for a dictionary.
    """

    name: str
    body: memoryview
    buffers: Buffers
    length: int
    first_row: int | None

    def present(self, nulls: int) -> NDArray[np.bool_]:
        """Which values aren't null; shape (length,)."""
        validity = next(self.buffers)
        return self._bits(validity) if nulls else np.ones(self.length, bool)

    def array(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        return array_of(self.body, next(self.buffers), dtype, self.length)

    def bits(self) -> NDArray[np.bool_]:
        return self._bits(next(self.buffers))

    def _bits(self, buffer: tuple[int, int]) -> NDArray[np.bool_]:
        packed = array_of(self.body, buffer, np.dtype("u1"), -(-self.length // 8))
        return np.unpackbits(packed, bitorder="little")[: self.length].astype(bool)

    def texts(self, offset_type: np.dtype[Any], is_present: NDArray[np.bool_]) -> Texts:
        """Texts of a valid length; None where a value is null."""
        offsets = array_of(self.body, next(self.buffers), offset_type, self.length + 1).astype(np.int64)
        data, sizes = part_of(self.body, *next(self.buffers)), np.diff(offsets)
        if len(sizes) and (offsets[0] < 0 or offsets[-1] > len(data) or (sizes < 0).any()):
            raise ValueError("a text ends early, or points outside of the stream")
        if (sizes > 4 * MAX_TEXT).any():  # UTF-8 takes at most four bytes per character
            raise self.problem("string_too_long", "A text is too long", int(sizes.argmax()))
        spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), is_present.tolist(), strict=True)
        try:
            return [str(data[start:end], "utf-8") if present else None for start, end, present in spans]
        except UnicodeDecodeError:
            raise self.problem("string_unicode", "The column holds a text that isn't UTF-8") from None

    def problem(self, kind: str, message: str, row: int | None = None) -> InvalidInputError:
        number = [] if row is None or self.first_row is None else [self.first_row + row]
        return InvalidInputError([problem(kind, ["body", *number, self.name], message)])


def array_of(body: memoryview, buffer: tuple[int, int], dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """The first `count` values of a buffer, which is an offset into the message's body and a size."""
    data = part_of(body, *buffer)
    if len(data) < count * dtype.itemsize:
        raise ValueError("a column is shorter than its record batch")
    return np.frombuffer(data, dtype, count) if count else np.empty(0, dtype)


def read_texts(
    type_: ColumnType, part: ColumnPart, is_present: NDArray[np.bool_], dictionaries: Mapping[int, Texts]
) -> Texts:
    """The texts of a column, plain or from its dictionary; None where a value is null."""
    if type_.dictionary is None or type_.indices is None:
        return part.texts(type_.dtype, is_present)
    dictionary = dictionaries.get(type_.dictionary, [])
    numbers = np.where(is_present, part.array(type_.indices), 0)
    if is_present.any() and not bool(((numbers >= 0) & (numbers < len(dictionary)))[is_present].all()):
        raise ValueError("a value is not in its dictionary")
    pairs = zip(numbers.tolist(), is_present.tolist(), strict=True)
    return [dictionary[number] if present else None for number, present in pairs]


def read_codes(
    feature: Feature, type_: ColumnType, part: ColumnPart, is_present: NDArray[np.bool_],
    dictionaries: Mapping[int, Texts],
) -> tuple[Matrix, Texts | None]:  # fmt: skip
    """The values of a column as the model takes them, and as texts if the feature keeps them."""
    if type_.kind == "text":
        texts = read_texts(type_, part, is_present, dictionaries)
        if isinstance(feature, Boolean | Date):
            _check_texts(feature, texts, part)
        return feature.codes(texts), None if isinstance(feature, Boolean) else texts
    if isinstance(feature, Date):
        moments = _moments(type_, part, is_present)
        length = len("2026-11-26") if type_.kind == "date" else None
        written = [None if moment is None else moment.isoformat()[:length] for moment in moments]
        return feature.moment_codes(moments), written
    numbers = np.full(part.length, np.nan)
    numbers[is_present] = _values(type_, part)[is_present]
    return numbers, None


def _check_texts(feature: Boolean | Date, texts: Texts, part: ColumnPart) -> None:
    for row, text in enumerate(texts):
        if text is None:
            continue
        if isinstance(feature, Boolean) and text not in feature.texts:
            raise part.problem("bool_type", NO_BOOLEAN, row)
        if isinstance(feature, Date) and not is_date(text):
            raise part.problem("date_parsing", NO_DATE, row)


def _values(type_: ColumnType, part: ColumnPart) -> NDArray[Any]:
    """Numbers, or booleans as numbers."""
    if type_.kind == "boolean":
        return part.bits()
    raw = part.array(type_.dtype)
    if type_.kind == "duration":
        return raw.astype(np.float64) / type_.unit
    if type_.kind == "decimal":
        power = 10**type_.unit
        return np.array([int.from_bytes(value, "little", signed=True) / power for value in raw.tolist()], np.float64)
    return raw


def _moments(type_: ColumnType, part: ColumnPart, is_present: NDArray[np.bool_]) -> Sequence[datetime | None]:
    """Dates or timestamps as moments."""
    raw = np.where(is_present, part.array(type_.dtype), 0).astype(np.int64)
    per_day = type_.kind == "date"
    seconds = raw * SECONDS_PER_DAY if per_day else raw // type_.unit
    is_valid = (seconds >= FIRST_SECOND) & (seconds <= LAST_SECOND)
    if not is_valid.all():
        raise part.problem("date_parsing", "A date is outside of the years 1 to 9999", int(is_valid.argmin()))
    unit = "D" if per_day else {1: "s", 10**3: "ms", 10**6: "us", 10**9: "ns"}[type_.unit]
    moments = raw.astype(f"M8[{unit}]").astype("M8[us]").tolist()
    return [moment if present else None for moment, present in zip(moments, is_present.tolist(), strict=True)]
