"""Decodes Arrow IPC streams into valid rows, with the same checks as for JSON, column by column.

A stream may come from anyone, and Arrow's own reader trusts it: one wrong byte can crash the process, and a few
compressed bytes can announce any amount of memory. So the stream is read here, as far as a table of plain numbers and
texts needs it, and every position in it is checked.

The format: https://arrow.apache.org/docs/format/Columnar.html, `Message.fbs` and `Schema.fbs`.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tabserve.errors import InvalidInputError
from tabserve.model import UNKNOWN, Category, Feature, Rows, Schema
from tabserve.web.codecs.flatbuffer import FlatbufferTable, part_of
from tabserve.web.codecs.json_requests import JsonRequests, TooManyRowsError
from tabserve.web.codecs.problems import MAX_PROBLEMS, problem
from tabserve.web.codecs.request_types import MAX_TEXT, UNKNOWN_CATEGORY

MEDIA_TYPE = "application/vnd.apache.arrow.stream"

MAX_RECORD_BATCHES = 10_000
"""Reading an empty record batch takes 30 µs, so a body full of them would take ten seconds."""

SCHEMA, RECORD_BATCH = 1, 3
"""Kinds of message, of the union `MessageHeader`."""

INT, FLOATING_POINT, UTF8, LARGE_UTF8 = 2, 3, 5, 20
"""Types of a column, of the union `Type`."""

Message = tuple[FlatbufferTable, memoryview]
"""The header and the body of a message."""


def decode_arrow_batch(body: bytes, requests: JsonRequests) -> Rows:
    """The stream as rows, under the schema, the row limit and the category rule of `requests`.

    Raises:
        InvalidInputError: it is not a stream, or breaks the schema; the first bad row is named by its number.
        TooManyRowsError: there are more rows than the limit.
    """
    schema, max_rows = requests.schema, requests.max_rows
    try:
        messages = _messages(body)
        columns = _columns(next(messages), schema)
        batches: list[Rows] = []
        count = 0
        for message in messages:
            batches.append(_record_batch(message, columns, len(schema.features), count, max_rows))
            count += len(batches[-1])
            if len(batches) > MAX_RECORD_BATCHES:
                raise ValueError(f"it has more than {MAX_RECORD_BATCHES} record batches; send larger ones")
    except (StopIteration, struct.error, ValueError) as error:
        reason = str(error) or "it ends early"
        raise _invalid("arrow_invalid", f"This can't be read as an Arrow IPC stream: {reason}") from None
    if not count:
        raise _invalid("too_short", "The stream has no rows")
    texts: dict[str, Sequence[str | None]] = {}
    for feature in schema.features:
        if isinstance(feature, Category):
            is_sent = feature.name in batches[0].texts
            texts[feature.name] = (
                [text for batch in batches for text in batch.texts[feature.name]] if is_sent else [None] * count
            )
    rows = Rows(np.concatenate([batch.values for batch in batches]), texts)
    _check_values(rows, schema, refuse_unknown=requests.refuse_unknown)
    return rows


@dataclass(frozen=True)
class StreamColumn:
    """A column of the stream.

    Attributes:
        feature: the feature of the same name.
        index: its position in the schema.
        dtype: numpy's type of its numbers; for texts, of the offsets at which they start and end.
    """

    feature: Feature
    index: int
    dtype: np.dtype[Any]

    @property
    def name(self) -> str:
        return self.feature.name


def _messages(body: bytes) -> Iterator[Message]:
    """The messages of the stream: a schema, then record batches."""
    data, position = memoryview(body), 0
    expected = SCHEMA
    while position < len(body):
        continuation, size = struct.unpack_from("<II", body, position)
        if continuation != 0xFFFFFFFF:
            raise ValueError("a message doesn't begin where one should")
        if not size:
            return
        position += 8
        message = FlatbufferTable.root(bytes(part_of(data, position, size)))
        length = message.number(3, "<q")
        if message.number(1, "<B") != expected:
            raise ValueError("send a schema and then record batches, nothing else")
        yield message.table(2), part_of(data, position + size, length)
        expected = RECORD_BATCH
        position += size + length
    if expected == SCHEMA:
        raise ValueError("it is empty")


def _columns(message: Message, schema: Schema) -> list[StreamColumn]:
    """The columns that the stream announces. Raises InvalidInputError unless they are those of the schema."""
    header, names = message[0], schema.feature_names
    if header.number(0, "<h"):
        raise ValueError("it is big-endian; send it as little-endian")
    fields = header.tables(1, most=len(names) + MAX_PROBLEMS)
    sent = [field.text(0) for field in fields]
    absent = [feature.name for feature in schema.features if feature.name not in sent and not feature.missing]
    problems = [problem("missing", ["body", name], "Field required") for name in absent]
    columns = []
    for name, field in zip(sent, fields, strict=True):
        if name not in names:
            problems.append(problem("extra_forbidden", ["body", name], "Extra inputs are not permitted"))
            continue
        feature = schema.features[names.index(name)]
        dtype = _dtype(field, texts=feature.kind == "category")
        if sent.count(name) > 1:
            problems.append(problem("duplicate_key", ["body", name], "This column occurs more than once"))
        elif dtype is not None:
            columns.append(StreamColumn(feature, names.index(name), dtype))
        elif feature.kind == "category":
            problems.append(problem("string_type", ["body", name], "The column should hold plain texts, as utf8"))
        else:
            problems.append(problem("float_type", ["body", name], "The column should hold plain numbers"))
    if problems:
        raise InvalidInputError(problems[:MAX_PROBLEMS])
    return columns


def _dtype(field: FlatbufferTable, *, texts: bool) -> np.dtype[Any] | None:
    """See `StreamColumn.dtype`; None for a column of another type."""
    if field.has(4):
        return None  # dictionary-encoded: the numbers are codes
    type_ = field.number(2, "<B")
    if texts:
        return np.dtype("<i4" if type_ == UTF8 else "<i8") if type_ in (UTF8, LARGE_UTF8) else None
    if type_ == FLOATING_POINT:
        return np.dtype({0: "<f2", 1: "<f4", 2: "<f8"}[field.table(3).number(0, "<h") % 3])
    if type_ == INT:
        sign, bits = "i" if field.table(3).number(1, "<B") else "u", field.table(3).number(0, "<i")
        return np.dtype(f"<{sign}{bits // 8}") if bits in (8, 16, 32, 64) else None
    return None


def _record_batch(message: Message, columns: list[StreamColumn], width: int, first_row: int, max_rows: int) -> Rows:
    """The rows of a record batch. `first_row` is the number of its first row in the stream."""
    header, body = message
    length = header.number(0, "<q")
    if header.has(3):
        raise ValueError("it is compressed; send it uncompressed")
    # a node per column: the number of values, and of nulls among them. Buffers per column: which values are null; for
    # texts, the offsets; the values
    nodes, buffers = header.pairs(1), header.pairs(2)
    if first_row + length > max_rows:  # before memory is allocated, because columns may share their bytes
        raise TooManyRowsError(f"The batch has more than {max_rows} rows, the most that one may have")
    expected = sum(3 if column.feature.kind == "category" else 2 for column in columns)
    if length < 0 or len(nodes) != len(columns) or len(buffers) != expected:
        raise ValueError("a record batch doesn't fit the schema")
    values = np.full((length, width), np.nan)
    texts = {}
    next_buffer = iter(buffers)
    for column, (count, nulls) in zip(columns, nodes, strict=True):
        if count != length:
            raise ValueError("a column is shorter than its record batch")
        validity, content = next(next_buffer), next(next_buffer)
        is_present = np.ones(length, bool)
        if nulls:
            packed = _array(body, validity, np.dtype("u1"), -(-length // 8))
            is_present = np.unpackbits(packed, bitorder="little")[:length].astype(bool)
            if not is_present.all() and not column.feature.missing:
                raise _invalid("missing", "A value is missing", first_row + int(is_present.argmin()), column.name)
        if isinstance(column.feature, Category):
            offsets = _array(body, content, column.dtype, length + 1).astype(np.int64)
            data = part_of(body, *next(next_buffer))
            texts[column.name] = _texts(data, offsets, is_present, first_row, column.name)
            values[:, column.index] = column.feature.codes(texts[column.name])
        else:
            values[is_present, column.index] = _array(body, content, column.dtype, length)[is_present]
    return Rows(values, texts)


def _texts(
    data: memoryview, offsets: NDArray[np.int64], is_present: NDArray[np.bool_], first_row: int, name: str
) -> list[str | None]:
    """The texts between the offsets; None where a value is null."""
    sizes = np.diff(offsets)
    if len(sizes) and (offsets[0] < 0 or offsets[-1] > len(data) or (sizes < 0).any()):
        raise ValueError("a text ends early, or points outside of the stream")
    if (sizes > 4 * MAX_TEXT).any():  # UTF-8 takes at most four bytes per character
        raise _invalid("string_too_long", "A text is too long", first_row + int(sizes.argmax()), name)
    spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), is_present.tolist(), strict=True)
    try:
        return [str(data[start:end], "utf-8") if present else None for start, end, present in spans]
    except UnicodeDecodeError:
        raise _invalid("string_unicode", "The column holds a text that isn't UTF-8", name) from None


def _array(body: memoryview, buffer: tuple[int, int], dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """The first `count` values of a buffer, which is an offset into the message's body and a size."""
    data = part_of(body, *buffer)
    if len(data) < count * dtype.itemsize:
        raise ValueError("a column is shorter than its record batch")
    return np.frombuffer(data, dtype, count) if count else np.empty(0, dtype)


def _check_values(rows: Rows, schema: Schema, *, refuse_unknown: bool) -> None:
    """Refuses the first row with a value that the model can't take."""
    bounds, values = schema.computable_bounds, rows.values
    is_valid = (values >= bounds.lowest) & (values <= bounds.highest)  # both are false for NaN
    is_valid |= np.isnan(values) & np.array([feature.missing > 0 for feature in schema.features])
    if refuse_unknown:
        is_valid &= ~((values == UNKNOWN) & np.array([feature.kind == "category" for feature in schema.features]))
    if not is_valid.all():
        row = int((~is_valid).any(axis=1).argmax())
        bad = [feature for feature, valid in zip(schema.features, is_valid[row], strict=True) if not valid]
        raise InvalidInputError([_bad_value(feature, row) for feature in bad[:MAX_PROBLEMS]])


def _bad_value(feature: Feature, row: int) -> dict[str, object]:
    if isinstance(feature, Category):
        return problem("unknown_category", ["body", row, feature.name], UNKNOWN_CATEGORY)
    message = "Input should be a finite number that the model can compute with"
    return problem("out_of_bounds", ["body", row, feature.name], message)


def _invalid(kind: str, message: str, *location: str | int) -> InvalidInputError:
    return InvalidInputError([problem(kind, ["body", *location], message)])
