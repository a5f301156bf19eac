"""Decodes Arrow IPC streams into valid rows, with the same checks as for JSON, column by column.

A stream may come from anyone, and Arrow's own reader trusts it: one wrong byte can crash the process, and a few
compressed bytes can announce any amount of memory. So the stream is read here, as far as a table of features needs it,
and every position in it is checked.

The format: https://arrow.apache.org/docs/format/Columnar.html, `Message.fbs` and `Schema.fbs`.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tabserve.errors import InvalidInputError
from tabserve.model import UNKNOWN, Category, Feature, ModelFeature, Rows, Schema, keeps_texts, model_features
from tabserve.web.codecs.arrow_columns import ColumnPart, ColumnType, Texts, read_codes, read_type
from tabserve.web.codecs.flatbuffer import FlatbufferTable, part_of
from tabserve.web.codecs.json_requests import JsonRequests, TooManyRowsError
from tabserve.web.codecs.problems import MAX_PROBLEMS, NEVER_MISSING, problem
from tabserve.web.codecs.request_types import UNKNOWN_CATEGORY

MEDIA_TYPE = "application/vnd.apache.arrow.stream"

MAX_RECORD_BATCHES = 10_000
"""Reading an empty record batch takes 30 µs, so a body full of them would take ten seconds."""

SCHEMA, DICTIONARY_BATCH, RECORD_BATCH = 1, 2, 3
"""Kinds of message, of the union `MessageHeader`."""

EXPECTED = {
    "number": ("float_type", "plain numbers"),
    "category": ("string_type", "texts, as utf8"),
    "boolean": ("bool_type", "booleans"),
    "date": ("date_type", "dates, timestamps, or ISO texts"),
}
"""Kind of a feature → the type of the problem with a column of another type, and what it should hold."""


class Message(NamedTuple):
    """A message of the stream."""

    kind: int
    header: FlatbufferTable
    body: memoryview


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
        types = {column.type.dictionary: column.type for column in columns if column.type.dictionary is not None}
        dictionaries: dict[int, Texts] = {}
        batches: list[Rows] = []
        count = 0
        for number, message in enumerate(messages):
            if number >= MAX_RECORD_BATCHES:
                raise ValueError(f"it has more than {MAX_RECORD_BATCHES} record batches; send larger ones")
            if message.kind == DICTIONARY_BATCH:
                dictionaries |= _dictionary(message, types, dictionaries)
                continue
            width = len(schema.model_features)
            batches.append(_record_batch(message, columns, dictionaries, width, count, max_rows))
            count += len(batches[-1])
    except (StopIteration, struct.error, ValueError) as error:
        reason = str(error) or "it ends early"
        raise _invalid("arrow_invalid", f"This can't be read as an Arrow IPC stream: {reason}") from None
    if not count:
        raise _invalid("too_short", "The stream has no rows")
    texts: dict[str, Sequence[str | None]] = {}
    for feature in schema.features:
        if keeps_texts(feature):
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
        type: of its values.
        index, width: its columns among those that the model takes: the first, and how many.
    """

    feature: Feature
    type: ColumnType
    index: int
    width: int

    @property
    def name(self) -> str:
        return self.feature.name


def _messages(body: bytes) -> Iterator[Message]:
    """The messages of the stream: a schema, then record batches, and dictionaries before they are needed."""
    data, position = memoryview(body), 0
    expected: tuple[int, ...] = (SCHEMA,)
    while position < len(body):
        continuation, size = struct.unpack_from("<II", body, position)
        if continuation != 0xFFFFFFFF:
            raise ValueError("a message doesn't begin where one should")
        if not size:
            return
        position += 8
        message = FlatbufferTable.root(bytes(part_of(data, position, size)))
        length = message.number(3, "<q")
        kind = message.number(1, "<B")
        if kind not in expected:
            raise ValueError("send a schema and then record batches, nothing else")
        yield Message(kind, message.table(2), part_of(data, position + size, length))
        expected = (RECORD_BATCH, DICTIONARY_BATCH)
        position += size + length
    if expected == (SCHEMA,):
        raise ValueError("it is empty")


def _columns(message: Message, schema: Schema) -> list[StreamColumn]:
    """The columns that the stream announces. Raises InvalidInputError unless they are those of the schema."""
    header, names = message.header, schema.feature_names
    model_names = [name for feature in schema.features for name in [feature.name] * len(model_features(feature))]
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
        type_ = read_type(field)
        if sent.count(name) > 1:
            problems.append(problem("duplicate_key", ["body", name], "This column occurs more than once"))
        elif type_ is not None and type_.suits(feature):
            columns.append(StreamColumn(feature, type_, model_names.index(name), len(model_features(feature))))
        else:
            kind, message_text = EXPECTED[feature.kind]
            problems.append(problem(kind, ["body", name], f"The column should hold {message_text}"))
    if problems:
        raise InvalidInputError(problems[:MAX_PROBLEMS])
    return columns


def _record_batch(
    message: Message, columns: list[StreamColumn], dictionaries: Mapping[int, Texts], width: int, first_row: int,
    max_rows: int,
) -> Rows:  # fmt: skip
    """The rows of a record batch. `first_row` is the number of its first row in the stream."""
    body = message.body
    length, nodes, buffers = _batch_parts(message.header)
    if first_row + length > max_rows:  # before memory is allocated, because columns may share their bytes
        raise TooManyRowsError(f"The batch has more than {max_rows} rows, the most that one may have")
    if length < 0 or len(nodes) != len(columns) or len(buffers) != sum(column.type.buffers for column in columns):
        raise ValueError("a record batch doesn't fit the schema")
    values = np.full((length, width), np.nan)
    texts: dict[str, Sequence[str | None]] = {}
    next_buffer = iter(buffers)
    for column, (count, nulls) in zip(columns, nodes, strict=True):
        if count != length:
            raise ValueError("a column is shorter than its record batch")
        feature, part = column.feature, ColumnPart(column.name, body, next_buffer, length, first_row)
        is_present = part.present(nulls)
        if not is_present.all() and not feature.missing:
            raise part.problem("missing", NEVER_MISSING, int(is_present.argmin()))
        codes, own_texts = read_codes(feature, column.type, part, is_present, dictionaries)
        values[:, column.index : column.index + column.width] = codes.reshape(length, column.width)
        if own_texts is not None:
            texts[column.name] = own_texts
    return Rows(values, texts)


def _dictionary(message: Message, types: Mapping[int, ColumnType], known: Mapping[int, Texts]) -> dict[int, Texts]:
    """The dictionary of a dictionary batch, by its id. A delta is added to what is known of it."""
    number = message.header.number(0, "<q")
    if number not in types:
        return {}
    length, nodes, buffers = _batch_parts(message.header.table(1))
    if len(nodes) != 1 or nodes[0][0] != length or length < 0 or len(buffers) != 3:
        raise ValueError("a dictionary doesn't fit the schema")
    part = ColumnPart("dictionary", message.body, iter(buffers), length, None)
    texts = part.texts(types[number].dtype, part.present(nodes[0][1]))
    is_delta = message.header.number(2, "<B")
    return {number: [*known.get(number, []), *texts] if is_delta else texts}


def _batch_parts(header: FlatbufferTable) -> tuple[int, list[tuple[int, int]], list[tuple[int, int]]]:
    """The rows of a record batch; a node per column: the number of values, and of nulls among them; the buffers."""
    if header.has(3):
        raise ValueError("it is compressed; send it uncompressed")
    return header.number(0, "<q"), header.pairs(1), header.pairs(2)


def _check_values(rows: Rows, schema: Schema, *, refuse_unknown: bool) -> None:
    """Refuses the first row with a value that the model can't take."""
    bounds, values = schema.computable_bounds, rows.values
    is_valid = (values >= bounds.lowest) & (values <= bounds.highest)  # both are false for NaN
    is_valid |= np.isnan(values) & np.array([feature.missing > 0 for feature in schema.model_features])
    if refuse_unknown:
        is_valid &= ~((values == UNKNOWN) & np.array([isinstance(one, Category) for one in schema.model_features]))
    if not is_valid.all():
        row = int((~is_valid).any(axis=1).argmax())
        bad = [feature for feature, valid in zip(schema.model_features, is_valid[row], strict=True) if not valid]
        raise InvalidInputError([_bad_value(feature, row) for feature in bad[:MAX_PROBLEMS]])


def _bad_value(feature: ModelFeature, row: int) -> dict[str, object]:
    if isinstance(feature, Category):
        return problem("unknown_category", ["body", row, feature.name], UNKNOWN_CATEGORY)
    message = "Input should be a finite number that the model can compute with"
    return problem("out_of_bounds", ["body", row, feature.name], message)


def _invalid(kind: str, message: str, *location: str | int) -> InvalidInputError:
    return InvalidInputError([problem(kind, ["body", *location], message)])
