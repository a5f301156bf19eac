"""Decodes JSON bodies into valid rows.

A single row is decoded by msgspec, and only a row that it refuses goes to pydantic, which says why. A batch is decoded
in chunks, and only one that may be bad is validated as a whole. So a good body is decoded once, and a bad one is
explained once. Knows JSON; doesn't know routes or status codes.
"""

import contextlib
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from tabserve.errors import InvalidInputError, TabserveError
from tabserve.model import Date, Feature, Matrix, Rows, Schema, Value, keeps_texts
from tabserve.model.dates import read_date
from tabserve.web.codecs.chunks import split_columns, split_records
from tabserve.web.codecs.problems import MAX_PROBLEMS, NEVER_MISSING, problem, problems
from tabserve.web.codecs.request_types import MAX_TEXT, RequestTypes
from tabserve.web.codecs.strictness import (
    MAX_NUMBER,
    check_record,
    count_keys,
    has_long_number,
    may_be_ambiguous,
    only_value,
    parse_pairs,
)

VALUE_TYPES = ("float_type", "string_type", "bool_type")
"""pydantic's errors about a value that is of another type."""

T = TypeVar("T")
Record = dict[str, Value]


class TooManyRowsError(TabserveError):
    """A batch has more rows than one request may have."""


class JsonRequests:
    """Decodes the bodies for one schema, and documents them. With `refuse_unknown`, a category that training didn't see
    is refused instead of warned of."""

    def __init__(self, schema: Schema, max_rows: int, *, refuse_unknown: bool = False) -> None:
        self.schema, self.max_rows, self.refuse_unknown = schema, max_rows, refuse_unknown
        self._types = RequestTypes(schema, max_rows, refuse_unknown=refuse_unknown)
        self._decode: Callable[[bytes], Record] = msgspec.json.Decoder(self._types.fast_row).decode
        self._names = schema.feature_names
        self._width = len(self._names)
        self._required = {feature.name for feature in schema.features if not feature.missing}
        self._name_as_written = {json.dumps(name, ensure_ascii=False)[1:-1].encode(): name for name in self._names}
        # the colons and commas that a body may have besides those of its members
        texts = sum(feature.kind != "number" for feature in schema.features)
        self._dates = [feature.name for feature in schema.features if isinstance(feature, Date)]
        all_names = "".join(self._names)
        self._has_texts = texts > 0
        self._other_colons, self._other_commas = all_names.count(":"), all_names.count(",") + texts * MAX_TEXT
        # a body up to this length has no room for anything that only a second look would find: it is shorter than the
        # shortest row plus a number that is too long
        shortest = json.dumps(dict.fromkeys(self._names, 0), separators=(",", ":"), ensure_ascii=False)
        self._usual_length = len(shortest.encode()) + MAX_NUMBER

    def json_schemas(self, ref_template: str) -> dict[str, dict[str, Any]]:
        """The documentation of the bodies; see `RequestTypes.json_schemas`."""
        return self._types.json_schemas(ref_template)

    # -- a single row

    def decode_row(self, body: bytes) -> Record:
        """The body of /predict as feature → value.

        Raises:
            InvalidInputError: it is not JSON, or not a row of the schema.
        """
        is_long, colons = len(body) > self._usual_length, body.count(b":")
        if is_long:
            commas = body.count(b",") - self._other_commas
            if max(colons, commas) > self._width + MAX_PROBLEMS:  # counting the members takes longer than validation
                self._refuse_flood(max(self._count_members(body), commas), self._width)
        is_suspect = is_long and has_long_number(body)
        try:
            values = self._decode(body)
            if self._dates:
                self._check_dates(values)
                colons -= self._colons_in_dates(values)
            if colons == len(values) and not is_suspect:  # msgspec ignores unknown keys, whatever they hold
                return values
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass  # pydantic says what is wrong
        values = _validated(self._types.row, body)
        if colons != len(values) or is_suspect:
            check_record(parse_pairs(body), self._names, ["body"])
        return values

    def _check_dates(self, values: Record) -> None:
        """Raises ValueError if a text for a date is none. Its form has been checked."""
        for name in self._dates:
            if isinstance(text := values.get(name), str):
                read_date(text)

    def _colons_in_dates(self, values: Record) -> int:
        """How many colons the texts for dates have."""
        return sum(text.count(":") for name in self._dates if isinstance(text := values.get(name), str))

    # -- a batch

    def decode_batch(self, body: bytes) -> Rows:
        """The body of /predict/batch as rows.

        Raises:
            InvalidInputError: as for `decode_row`; a bad row is named by its number. Columns may also differ in length.
            TooManyRowsError: there are more than `max_rows` rows.
        """
        # each number but the first has a comma before it, so this many rows have at least as many commas
        if not self._has_texts and body.count(b",") >= self.max_rows * (self._width + self._other_commas):
            raise TooManyRowsError(f"The batch has more than {self.max_rows} rows, the most that one may have")
        rows = self._decode_in_chunks(body)
        return self._decode_whole(body) if rows is None else rows

    def _decode_in_chunks(self, body: bytes) -> Rows | None:
        """The rows of a good batch; None for one that may be bad, because only the whole says why."""
        with contextlib.suppress(Exception):  # whatever a decoder raises, the whole is validated next
            columns = split_columns(body, self._width)
            if columns is not None:
                return self._join_columns(columns)
            records = split_records(body)
            if records is not None:
                return self._join_records(records)
        return None

    def _join_columns(self, columns: Mapping[bytes, Iterator[bytes]]) -> Rows | None:
        chunks = {
            self._name_as_written[written]: split
            for written, split in columns.items()
            if written in self._name_as_written
        }
        if len(chunks) != len(columns) or not self._required <= chunks.keys():
            return None
        parts: dict[str, Matrix] = {}
        texts: dict[str, list[Any]] = {}
        for feature in self.schema.features:
            if feature.name not in chunks:
                continue
            values, adapter = [], self._types.values[feature.name]
            for chunk in chunks[feature.name]:
                if has_long_number(chunk):
                    return None
                part = adapter.validate_json(chunk)
                values.append(feature.codes(part))
                if keeps_texts(feature):
                    texts.setdefault(feature.name, []).extend(part)
            parts[feature.name] = np.concatenate(values)
        count = max(map(len, parts.values()), default=0)
        if not 0 < count <= self.max_rows or any(len(part) != count for part in parts.values()):
            return None
        absent = [feature for feature in self.schema.features if feature.name not in parts]
        for feature in absent:
            parts[feature.name] = feature.codes([None] * count)
        texts |= {feature.name: [None] * count for feature in absent if keeps_texts(feature)}
        return Rows(np.column_stack([parts[name] for name in self._names]), texts)

    def _join_records(self, chunks: Iterator[bytes]) -> Rows | None:
        matrices: list[Matrix] = []
        texts: dict[str, list[Any]] = {feature.name: [] for feature in self.schema.features if keeps_texts(feature)}
        rows = 0
        for chunk in chunks:
            records = orjson.loads(chunk)
            if not self._have_no_other_members(records) or may_be_ambiguous(chunk, self._expected_colons(records)):
                return None
            columns: list[Matrix] = []
            for feature in self.schema.features:
                picked = list(map(self._picker(feature), records))
                values = self._types.values[feature.name].validate_python(picked)
                columns.append(feature.codes(values))
                if keeps_texts(feature):
                    texts[feature.name] += values
            rows += len(records)
            if rows > self.max_rows:
                return None
            matrices.append(np.column_stack(columns))
        return Rows(np.concatenate(matrices), texts)

    def _expected_colons(self, records: list[Record]) -> int:
        """How many colons records have if none is in a name or a category."""
        members = sum(map(len, records))
        return members + sum(map(self._colons_in_dates, records)) if self._dates else members

    def _have_no_other_members(self, records: list[Any]) -> bool:
        """Whether no record has another member than the features. Missing members are found when they are picked."""
        if len(self._required) == self._width:
            return set(map(len, records)) == {self._width}
        return set().union(*records) <= set(self._names)

    def _picker(self, feature: Feature) -> Callable[[Record], Value]:
        """Gets the feature out of a record; `itemgetter` is twice as fast."""
        if feature.name in self._required:
            return operator.itemgetter(feature.name)
        return operator.methodcaller("get", feature.name)

    def _decode_whole(self, body: bytes) -> Rows:
        if _form(body) == "columns":
            self._refuse_flood(self._count_members(body), self._width + 1)
            columns = _validated(self._types.columns, body)["columns"]
            count = self._row_count(columns)
            if may_be_ambiguous(body, len(columns) + 1):
                check_record(only_value(parse_pairs(body), "columns"), self._names, ["body", "columns"])
            return self.schema.rows({name: columns.get(name, [None] * count) for name in self._names})
        records = _validated(self._types.open_records, body)["records"]
        if may_be_ambiguous(body, self._expected_colons(records) + 1):
            for number, pairs in enumerate(only_value(parse_pairs(body), "records")):
                check_record(pairs, self._names, ["body", "records", number])
        return self.schema.rows({name: [record.get(name) for record in records] for name in self._names})

    def _row_count(self, columns: Mapping[str, Sequence[Value]]) -> int:
        """How many rows the columns have. Refuses none, and columns of different lengths."""
        if not columns:
            raise InvalidInputError([problem("too_short", ["body", "columns"], "The batch has no rows")])
        first = next(name for name in self._names if name in columns)
        rows = len(columns[first])
        for name, column in columns.items():
            if len(column) != rows:
                message = f"Columns must be of equal length: {rows} in {first}, {len(column)} here"
                raise InvalidInputError([problem("unequal_columns", ["body", "columns", name], message)])
        return rows

    # -- floods of members

    def _count_members(self, body: bytes) -> int:
        """A lower bound of how many members the objects of the body have, close to their number."""
        return count_keys(body) if self._has_texts else body.count(b":") - self._other_colons

    def _refuse_flood(self, members: int, allowed: int) -> None:
        """Refuses a body with far more members than it may have, before validation would name each of them."""
        if members > allowed + MAX_PROBLEMS:
            message = f"Far more than the {self._width} features of the model"
            raise InvalidInputError([problem("too_many_fields", ["body"], message)])


def _validated(adapter: TypeAdapter[T], body: bytes) -> T:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
    for found in errors:
        if found["type"] == "too_long":
            raise TooManyRowsError(found["msg"])
        if found["input"] is None and found["type"] in VALUE_TYPES:
            found["msg"] = NEVER_MISSING
    raise InvalidInputError(problems(errors))


def _form(body: bytes) -> Literal["columns", "records"]:
    """Whether a batch has `columns` or `records`: its first key says so. If that is another key, any key may."""
    match = re.match(rb'[ \t\r\n]*\{[ \t\r\n]*"(columns|records)"', body)
    if match:
        return "columns" if match[1] == b"columns" else "records"
    try:
        content = from_json(body)
    except ValueError:
        return "records"  # validation says what is wrong with the JSON
    if isinstance(content, dict) and "columns" in content:
        return "columns"
    if isinstance(content, dict) and "records" in content:
        return "records"
    raise InvalidInputError([problem("missing", ["body"], "Send an object with 'columns' or with 'records'")])
