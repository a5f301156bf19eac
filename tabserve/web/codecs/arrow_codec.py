"""Batches as Arrow IPC streams: the columns of the body become the matrix, and the answers go back as columns.

The same checks as for JSON, by column. A stream may come from anyone, and Arrow's own reader trusts it: one wrong byte
can crash the process, and a few compressed ones announce any amount of memory. So the stream is read here, as far as a
table of plain numbers and texts needs it, with every place in it checked. Arrow writes the reply, and is imported for
the first.

The format: https://arrow.apache.org/docs/format/Columnar.html, `Message.fbs` and `Schema.fbs`.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tabserve.errors import InvalidInputError
from tabserve.inference.records import BatchPrediction
from tabserve.model.schema import UNKNOWN, Category, Feature, Rows, Schema
from tabserve.web.codecs import json_codec

MEDIA_TYPE = "application/vnd.apache.arrow.stream"

MAX_RECORD_BATCHES = 10_000
"""An empty one is read in 30 µs: a body full of them would take ten seconds."""

SCHEMA, RECORD_BATCH = 1, 3
"""Of the union `MessageHeader`."""

INT, FLOATING_POINT, UTF8, LARGE_UTF8 = 2, 3, 5, 20
"""Of the union `Type`."""

FRAME = 256
"""What is said once in a reply is filled up with blanks to a multiple of so many bytes: few lengths, few frames."""

END = b"\xff\xff\xff\xff\0\0\0\0"


def parse_batch(body: bytes, requests: json_codec.Requests) -> Rows:
    """The stream as rows of what may be sent.

    Raises:
        InvalidInputError: it is no stream, or breaks the schema; the first bad row is named by its number.
        TooManyRowsError: there are more rows than the cap.
    """
    schema, max_rows = requests.schema, requests.max_rows
    try:
        messages = _messages(body)
        columns = _columns(next(messages), schema)
        batches, rows = [], 0
        for message in messages:
            batches.append(_read(message, columns, len(schema.features), rows, max_rows))
            rows += len(batches[-1].values)
            if len(batches) > MAX_RECORD_BATCHES:
                raise ValueError(f"it has more than {MAX_RECORD_BATCHES} record batches; send larger ones")
    except (StopIteration, struct.error, ValueError) as error:
        reason = str(error) or "it ends early"
        raise _invalid("arrow_invalid", f"This can't be read as an Arrow IPC stream: {reason}") from None
    if not rows:
        raise _invalid("too_short", "The stream has no rows")
    absent: dict[str, Sequence[str | None]] = {
        one.name: [None] * rows
        for one in schema.features
        if one.kind == "category" and one.name not in batches[0].texts
    }
    texts = {name: [text for batch in batches for text in batch.texts[name]] for name in batches[0].texts}
    found = Rows(np.concatenate([batch.values for batch in batches]), absent | texts)
    _check_values(found, schema, known_only=requests.known_only)
    return found


def encode_batch(batch: BatchPrediction) -> bytes:
    """The reply: columns under the names of the JSON reply, and what is said once as JSON in the stream's metadata."""
    once = {"batch_id": batch.batch_id, "model_version": batch.model_version, "timestamp": batch.timestamp}
    said = json_codec.encode(once | {"warnings": json_codec.warnings_of(batch)})
    said = said.ljust(-(-len(said) // FRAME) * FRAME)  # blanks behind JSON are JSON
    before, after = _frame(batch.schema.task.classes, len(batch.rows), len(said))
    prediction = batch.outcomes.prediction.astype(np.int64, copy=False)
    columns = (prediction, prediction.astype(np.int32), batch.outcomes.confidence, batch.outcomes.prediction_proba)
    parts = (part for column in columns for part in (column.tobytes(), bytes(-column.nbytes % 8)))
    return b"".join((before, said, after, *parts, END))


@lru_cache(maxsize=64)
def _frame(classes: tuple[str, ...], rows: int, said: int) -> tuple[bytes, bytes]:
    """What stands in the reply to so many rows before `said` bytes of JSON, and between them and the columns.

    Nothing else of a reply depends on its values, so Arrow writes one of zeros, once. Writing takes it five times as
    long as putting the parts together.
    """
    import pyarrow as pa

    labels = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(classes))
    shares = pa.array(np.zeros(rows * len(classes)))
    columns = {
        "prediction": pa.array(np.zeros(rows, np.int64)),
        "label": labels,
        "confidence": pa.array(np.zeros(rows)),
        "prediction_proba": pa.FixedSizeListArray.from_arrays(shares, len(classes)),
    }
    mark = b"x" * said
    answers = pa.RecordBatch.from_arrays(list(columns.values()), list(columns)).replace_schema_metadata({"batch": mark})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, answers.schema) as stream:
        stream.write_batch(answers)
    content: bytes = sink.getvalue().to_pybytes()
    before, _, after = content.partition(mark)
    return before, after[: -rows * 8 * (2 + len(classes)) - rows * 4 - rows * 4 % 8 - len(END)]


@dataclass(frozen=True)
class Column:
    """A column of the stream: its feature, its place in the matrix, and numpy's type of its numbers, or of where its
    texts begin and end."""

    feature: Feature
    place: int
    kind: np.dtype[Any]

    @property
    def name(self) -> str:
        return self.feature.name


def _messages(body: bytes) -> Iterator[tuple["Table", memoryview]]:
    """The header and the body of each message of the stream."""
    whole, at = memoryview(body), 0
    wanted = SCHEMA
    while at < len(body):
        mark, size = struct.unpack_from("<II", body, at)
        if mark != 0xFFFFFFFF:
            raise ValueError("a message doesn't begin where one should")
        if not size:
            return
        at += 8
        message = Table.root(bytes(_part(whole, at, size)))
        length = message.number(3, "<q")
        if message.number(1, "<B") != wanted:
            raise ValueError("send a schema and then record batches, nothing else")
        yield message.table(2), _part(whole, at + size, length)
        wanted = RECORD_BATCH
        at += size + length
    if wanted == SCHEMA:
        raise ValueError("it is empty")


def _columns(message: tuple["Table", memoryview], schema: Schema) -> list[Column]:
    head, names = message[0], schema.feature_names
    if head.number(0, "<h"):
        raise ValueError("it is big-endian; send it as little-endian")
    fields = head.tables(1, most=len(names) + json_codec.MAX_PROBLEMS)
    given = [field.text(0) for field in fields]
    absent = [feature.name for feature in schema.features if feature.name not in given and not feature.missing]
    problems = [json_codec.problem("missing", ["body", name], "Field required") for name in absent]
    columns = []
    for name, field in zip(given, fields, strict=True):
        if name not in names:
            problems.append(json_codec.problem("extra_forbidden", ["body", name], "Extra inputs are not permitted"))
            continue
        feature = schema.features[names.index(name)]
        kind = _kind(field, texts=feature.kind == "category")
        if given.count(name) > 1:
            problems.append(json_codec.problem("duplicate_key", ["body", name], "This column stands more than once"))
        elif kind is None and feature.kind == "category":
            problems.append(
                json_codec.problem("string_type", ["body", name], "The column should hold plain texts, as utf8")
            )
        elif kind is None:
            problems.append(json_codec.problem("float_type", ["body", name], "The column should hold plain numbers"))
        else:
            columns.append(Column(feature, names.index(name), kind))
    if problems:
        raise InvalidInputError(problems[: json_codec.MAX_PROBLEMS])
    return columns


def _kind(field: "Table", *, texts: bool) -> np.dtype[Any] | None:
    """numpy's type for a field of numbers, or for where the texts of a field begin and end; None for any other."""
    if field.has(4):
        return None  # a dictionary: its numbers stand for something else
    kind = field.number(2, "<B")
    if texts:
        return np.dtype("<i4" if kind == UTF8 else "<i8") if kind in (UTF8, LARGE_UTF8) else None
    if kind == FLOATING_POINT:
        return np.dtype({0: "<f2", 1: "<f4", 2: "<f8"}[field.table(3).number(0, "<h") % 3])
    if kind == INT:
        sign, size = "i" if field.table(3).number(1, "<B") else "u", field.table(3).number(0, "<i")
        return np.dtype(f"<{sign}{size // 8}") if size in (8, 16, 32, 64) else None
    return None


def _read(message: tuple["Table", memoryview], columns: list[Column], width: int, first: int, max_rows: int) -> Rows:
    """A record batch, of which the first row is the stream's row `first`."""
    head, body = message
    length = head.number(0, "<q")
    if head.has(3):
        raise ValueError("it is compressed; send it as it is")
    # a node a column: how many values, how many of them null; and its buffers: which are null, of texts where they
    # begin and end, and the values
    nodes, buffers = head.pairs(1), head.pairs(2)
    if first + length > max_rows:  # before any memory is asked for: columns may share their bytes
        raise json_codec.TooManyRowsError(f"The batch has more than {max_rows} rows, the most that one may have")
    wanted = sum(3 if column.feature.kind == "category" else 2 for column in columns)
    if length < 0 or len(nodes) != len(columns) or len(buffers) != wanted:
        raise ValueError("a record batch doesn't fit the schema")
    rows, texts, rest = np.full((length, width), np.nan), {}, iter(buffers)
    for column, (count, nulls) in zip(columns, nodes, strict=True):
        if count != length:
            raise ValueError("a column is shorter than its record batch")
        which, where = next(rest), next(rest)
        there = np.ones(length, bool)
        if nulls:
            bits = np.unpackbits(_array(body, which, np.dtype("u1"), -(-length // 8)), bitorder="little")[:length]
            there = bits.astype(bool)
            if not there.all() and not column.feature.missing:
                raise _invalid("missing", "A value is missing", first + int(there.argmin()), column.name)
        if isinstance(column.feature, Category):
            ends = _array(body, where, column.kind, length + 1).astype(np.int64)
            found = _texts(_part(body, *next(rest)), ends, there, first, column.name)
            texts[column.name] = found
            rows[:, column.place] = column.feature.codes(found)
        else:
            rows[there, column.place] = _array(body, where, column.kind, length)[there]
    return Rows(rows, texts)


def _texts(
    data: memoryview, ends: NDArray[np.int64], there: NDArray[np.bool_], first: int, name: str
) -> list[str | None]:
    """The texts that stand between these places of the data; None where there is none."""
    sizes = np.diff(ends)
    if len(sizes) and (ends[0] < 0 or ends[-1] > len(data) or (sizes < 0).any()):
        raise ValueError("a text ends early, or points outside of the stream")
    if (sizes > 4 * json_codec.MAX_TEXT).any():
        raise _invalid("string_too_long", "A text is too long", first + int(sizes.argmax()), name)
    places = zip(ends[:-1].tolist(), ends[1:].tolist(), there.tolist(), strict=True)
    try:
        return [str(data[start:end], "utf-8") if present else None for start, end, present in places]
    except UnicodeDecodeError:
        raise _invalid("string_unicode", "The column holds a text that isn't UTF-8", name) from None


def _array(body: memoryview, buffer: tuple[int, int], kind: np.dtype[Any], count: int) -> NDArray[Any]:
    """The first `count` values of a buffer of the message."""
    offset, size = buffer
    part = _part(body, offset, size)
    if size < count * kind.itemsize:
        raise ValueError("a column is shorter than its record batch")
    return np.frombuffer(part, kind, count) if count else np.empty(0, kind)


def _part(whole: memoryview, start: int, length: int) -> memoryview:
    if not 0 <= start <= start + length <= len(whole):
        raise ValueError("it ends early, or points outside of itself")
    return whole[start : start + length]


def _check_values(rows: Rows, schema: Schema, *, known_only: bool) -> None:
    bounds, values = schema.computable_bounds, rows.values
    good = (values >= bounds.lowest) & (values <= bounds.highest)  # of NaN neither is true
    good |= np.isnan(values) & np.array([feature.missing > 0 for feature in schema.features])
    if known_only:
        good &= ~((values == UNKNOWN) & np.array([feature.kind == "category" for feature in schema.features]))
    if not good.all():
        row = int((~good).any(axis=1).argmax())
        raise InvalidInputError(
            [_unfit(feature, row) for feature, fits in zip(schema.features, good[row], strict=True) if not fits][
                : json_codec.MAX_PROBLEMS
            ]
        )


def _unfit(feature: Feature, row: int) -> dict[str, object]:
    if isinstance(feature, Category):
        return json_codec.problem("unknown_category", ["body", row, feature.name], json_codec.UNKNOWN_CATEGORY)
    message = "Input should be a finite number that the model can compute with"
    return json_codec.problem("out_of_bounds", ["body", row, feature.name], message)


class Table:
    """A table of a flatbuffer, which may be anything: what leads out of it raises ValueError or struct.error.

    Fields go by their number in the format's description. https://flatbuffers.dev/internals
    """

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._vtable = at - self._unpack("<i", at)

    @classmethod
    def root(cls, data: bytes) -> "Table":
        return cls(data, *struct.unpack_from("<I", data))

    def has(self, number: int) -> bool:
        return self._place(number) is not None

    def number(self, number: int, form: str) -> int:
        """A number; 0 where it isn't said."""
        at = self._place(number)
        return 0 if at is None else self._unpack(form, at)

    def table(self, number: int) -> "Table":
        return Table(self._data, self._target(number))

    def tables(self, number: int, most: int) -> list["Table"]:
        start, count = self._vector(number)
        if count > most:
            raise ValueError(f"it has far more than {most} columns")
        places = [start + 4 * index for index in range(count)]
        return [Table(self._data, at + self._unpack("<I", at)) for at in places]

    def pairs(self, number: int) -> list[tuple[int, int]]:
        """A vector of structs of two int64."""
        start, count = self._vector(number)
        content = bytes(_part(memoryview(self._data), start, 16 * count))
        return list(struct.iter_unpack("<qq", content))

    def text(self, number: int) -> str:
        start, count = self._vector(number)
        return str(_part(memoryview(self._data), start, count), "utf-8", "replace")

    def _vector(self, number: int) -> tuple[int, int]:
        """Where a vector begins, and how many it holds; none where it isn't there."""
        if not self.has(number):
            return 0, 0
        at = self._target(number)
        return at + 4, self._unpack("<I", at)

    def _target(self, number: int) -> int:
        at = self._place(number)
        if at is None:
            raise ValueError("something is missing in it")
        return at + self._unpack("<I", at)

    def _place(self, number: int) -> int | None:
        entry = 4 + 2 * number
        if entry + 2 > self._unpack("<H", self._vtable):
            return None
        offset = self._unpack("<H", self._vtable + entry)
        return self._at + offset if offset else None

    def _unpack(self, form: str, at: int) -> int:
        if at < 0:
            raise ValueError("it points outside of itself")
        return int(struct.unpack_from(form, self._data, at)[0])


def _invalid(kind: str, message: str, *way: str | int) -> InvalidInputError:
    return InvalidInputError([json_codec.problem(kind, ["body", *way], message)])
