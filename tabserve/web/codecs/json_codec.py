"""Bodies: the way from bytes to values and back.

One pydantic model of the request, made from the schema of the model that is served, validates the body and is the
documentation's schema too. For a single row msgspec is asked first, which takes a third of the time and accepts nothing
that the other wouldn't. Knows JSON; knows nothing of routes or status codes. `replies` documents what goes out.
"""

import itertools
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, TypeVar

import msgspec
import numpy as np
import orjson
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticCustomError, from_json, to_json
from typing_extensions import TypedDict, override

from tabserve.errors import InvalidInputError, TabserveError
from tabserve.inference.records import BatchPrediction, Prediction
from tabserve.model.arrays import Matrix, Vector
from tabserve.model.schema import Category, Feature, Rows, Schema, Value
from tabserve.web.codecs import chunks

T = TypeVar("T")
Record = dict[str, Value]

JSON = "application/json"

MAX_PROBLEMS = 20
"""How many problems one reply names; a body with more gets a last entry that says how many were left out."""

MAX_NAME = 64
"""A field's name that the caller made up is cut to this length before it is repeated."""


UNKNOWN_CATEGORY = "Not one of the categories seen in training"

MAX_TEXT = 200
"""Longest category, in characters; a longer one can't have been seen in training."""

MAX_NUMBER = 64
"""Longest number, in characters. A double needs 17 digits, a point, a sign and an exponent."""


class Requests:
    """What may be sent for one schema: the adapters that validate bodies, and the JSON schemas that document them.

    `known_only`: a category that wasn't seen in training is refused, not warned of.
    """

    def __init__(self, schema: Schema, max_rows: int, *, known_only: bool = False) -> None:
        self.schema, self.max_rows, self.known_only = schema, max_rows, known_only
        self._features = schema.feature_names
        names = "".join(self._features)
        self._width, self._colons, self._commas = len(self._features), names.count(":"), names.count(",")
        texts = sum(feature.kind == "category" for feature in schema.features)
        self._has_texts, self._commas = texts > 0, self._commas + texts * MAX_TEXT
        # as short as a body can be, and less than a number that is too long besides: nothing else can be wrong with it
        shortest = json.dumps(dict.fromkeys(self._features, 0), separators=(",", ":"), ensure_ascii=False)
        self._longest_usual = len(shortest.encode()) + MAX_NUMBER
        example = {feature.name: _example(feature) for feature in schema.features}
        values = {feature.name: _value(feature, known_only=known_only) for feature in schema.features}
        optional = {feature.name for feature in schema.features if feature.missing}

        def members(of: Mapping[str, Any]) -> dict[str, Any]:
            return {name: NotRequired[one] if name in optional else one for name, one in of.items()}

        record = _closed("PredictRequest", members(values), [example])
        columns = _closed(
            "BatchColumns",
            members({name: _some(value, max_rows) for name, value in values.items()}),
            [{name: [value, value] for name, value in example.items()}],
        )
        self._single = TypeAdapter[Record](record)
        fast = members({feature.name: _fast_value(feature, known_only=known_only) for feature in schema.features})
        self._decode: Callable[[bytes], Record] = msgspec.json.Decoder(_any_typed_dict("FastRequest", fast)).decode
        self._columns = TypeAdapter[dict[str, dict[str, list[Any]]]](
            _closed("BatchByColumns", {"columns": columns}, [])
        )
        self._records = TypeAdapter[dict[str, list[Record]]](
            _closed("BatchByRecords", {"records": _some(record, max_rows)}, [])
        )
        self._values = {one.name: TypeAdapter[list[Any]](_some(values[one.name], max_rows)) for one in schema.features}
        self._required = set(self._features) - optional
        self._written = {json.dumps(name, ensure_ascii=False)[1:-1].encode(): name for name in self._features}
        # of extra keys pydantic makes an error each, however many there are: in records they are looked for afterwards
        open_record = _open("PredictRequest", members(values))
        self._open_records = TypeAdapter[dict[str, list[Record]]](
            _open("BatchByRecords", {"records": _some(open_record, max_rows)})
        )

    def json_schemas(self, ref_template: str) -> dict[str, dict[str, Any]]:
        """The schemas by name; `PredictRequest` and `BatchRequest` are the bodies, the others what they refer to."""
        adapters: list[tuple[str, Literal["validation"], TypeAdapter[Any]]] = [
            ("PredictRequest", "validation", self._single),
            ("BatchByColumns", "validation", self._columns),
            ("BatchByRecords", "validation", self._records),
        ]
        _, found = TypeAdapter.json_schemas(adapters, ref_template=ref_template, schema_generator=InOrder)
        schemas: dict[str, dict[str, Any]] = found["$defs"]
        return schemas | {
            "BatchRequest": {
                "title": "BatchRequest",
                "description": f"Rows as columns of equal length, or as records; at most {self.max_rows}.",
                "oneOf": [{"$ref": ref_template.format(model=name)} for name in ("BatchByColumns", "BatchByRecords")],
            }
        }

    def parse(self, body: bytes) -> Record:
        """The body of `/predict` as values by feature.

        Raises:
            InvalidInputError: it is not JSON, or not a record of the schema.
        """
        long, colons = len(body) > self._longest_usual, body.count(b":")
        if long:
            commas = body.count(b",") - self._commas
            if max(colons, commas) > self._width + MAX_PROBLEMS:  # to count members takes longer than to validate them
                self._refuse_flood(max(self._members(body), commas), self._width)
        may_be_odd = long and _has_a_long_number(body)
        try:
            values = self._decode(body)
            if colons == len(values) and not may_be_odd:  # keys that it doesn't know it passes over, whatever they are
                return values
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass  # what is wrong, the next line says
        values = _validated(self._single, body)
        if colons != len(values) or may_be_odd:
            _check_record(_parsed_again(body), self._features, ["body"])
        return values

    def parse_batch(self, body: bytes, *, explain: bool = True) -> Rows:
        """The body of `/predict/batch` as rows.

        Raises:
            InvalidInputError: as `parse`; a bad row is named by its number. Columns may also differ in length. Where
                it needn't `explain`, which takes longest, it names no problem, and there may be none.
            TooManyRowsError: there are more rows than the cap.
        """
        # each number but the first has a comma before it, so this many rows have at least as many commas
        if not self._has_texts and body.count(b",") >= self.max_rows * (self._width + self._commas):
            raise TooManyRowsError(f"The batch has more than {self.max_rows} rows, the most that one may have")
        rows = self._parse_in_pieces(body)
        if rows is not None:
            return rows
        if not explain:
            raise InvalidInputError([])
        return self._parse_whole(body)

    def _parse_in_pieces(self, body: bytes) -> Rows | None:
        """The rows of a batch that is good; None for one that may not be, for it takes the whole to say why."""
        columns = chunks.columns(body, self._width)
        if columns is not None:
            return self._join_columns(columns)
        records = chunks.records(body)
        return None if records is None else self._join_records(records)

    def _join_columns(self, columns: Mapping[bytes, Iterator[bytes]]) -> Rows | None:
        found = {self._written[written]: split for written, split in columns.items() if written in self._written}
        if len(found) != len(columns) or not self._required <= found.keys():
            return None
        parts: list[Vector] = []
        texts: dict[str, list[Any]] = {}
        for feature in self.schema.features:
            if feature.name not in found:
                parts.append(np.empty(0))
                continue
            values, adapter = [], self._values[feature.name]
            for piece in found[feature.name]:
                try:
                    part = adapter.validate_json(piece)
                except ValidationError:
                    return None
                if _has_a_long_number(piece):
                    return None
                values.append(feature.codes(part))
                if feature.kind == "category":
                    texts.setdefault(feature.name, []).extend(part)
            parts.append(np.concatenate(values))
        count = max(map(len, parts))
        absent = [name for name in self._features if name not in found]
        if any(len(part) != count for name, part in zip(self._features, parts, strict=True) if name not in absent):
            return None
        if count > self.max_rows:
            return None
        filled = [part if len(part) else np.full(count, np.nan) for part in parts]
        return Rows(np.stack(filled, axis=1), texts | {name: [None] * count for name in absent})

    def _join_records(self, records: Iterator[bytes]) -> Rows | None:
        joined: list[Matrix] = []
        texts: dict[str, list[Any]] = {one.name: [] for one in self.schema.features if one.kind == "category"}
        rows = 0
        for piece in records:
            try:
                found = orjson.loads(piece)
                # as many members as features, and each feature among them: a record has nothing else
                if not self._are_records(found) or _needs_a_closer_look(piece, sum(map(len, found))):
                    return None
                taken = np.empty((len(found), self._width))
                for at, feature in enumerate(self.schema.features):
                    picked = list(map(self._pick(feature), found))
                    values = self._values[feature.name].validate_python(picked)
                    taken[:, at] = feature.codes(values)
                    if feature.kind == "category":
                        texts[feature.name] += values
            except (
                ValueError,
                TypeError,
                LookupError,
                AttributeError,
            ):  # no JSON, a bad value, no record, other fields
                return None
            rows += len(found)
            if rows > self.max_rows:
                return None
            joined.append(taken)
        return Rows(np.concatenate(joined), texts)

    def _are_records(self, found: list[Any]) -> bool:
        """Whether none has another member than the features; whether all have those that are required turns out
        when they are picked."""
        if len(self._required) == self._width:
            return set(map(len, found)) == {self._width}
        return set().union(*found) <= set(self._features)

    def _parse_whole(self, body: bytes) -> Rows:
        if _form(body) == "columns":
            self._refuse_flood(self._members(body), self._width + 1)
            columns = _validated(self._columns, body)["columns"]
            count = self._check_lengths(columns)
            if _needs_a_closer_look(body, len(columns) + 1):
                _check_record(_only_value(_parsed_again(body), "columns"), self._features, ["body", "columns"])
            return self.schema.rows({name: columns.get(name, [None] * count) for name in self._features})
        records = _validated(self._open_records, body)["records"]
        if _needs_a_closer_look(body, sum(map(len, records)) + 1):
            for number, pairs in enumerate(_only_value(_parsed_again(body), "records")):
                _check_record(pairs, self._features, ["body", "records", number])
        return self.schema.rows({name: [record.get(name) for record in records] for name in self._features})

    def _check_lengths(self, columns: Mapping[str, Sequence[Value]]) -> int:
        """How many rows the columns have."""
        if not columns:
            raise InvalidInputError([problem("too_short", ["body", "columns"], "The batch has no rows")])
        first, *_ = (name for name in self._features if name in columns)
        rows = len(columns[first])
        for name, column in columns.items():
            if len(column) != rows:
                message = f"Columns must be of equal length: {rows} in {first}, {len(column)} here"
                raise InvalidInputError([problem("unequal_columns", ["body", "columns", name], message)])
        return rows

    def _pick(self, feature: Feature) -> Callable[[Record], Value]:
        """What gets the feature out of a record. The former is twice as fast."""
        if feature.name in self._required:
            return operator.itemgetter(feature.name)
        return operator.methodcaller("get", feature.name)

    def _members(self, body: bytes) -> int:
        """How many members the objects of a body have, about, and not more."""
        # within a text a quotation mark is escaped
        return len(_KEY.findall(body)) if self._has_texts else body.count(b":") - self._colons

    def _refuse_flood(self, found: int, members: int) -> None:
        """Refuses a body with far more members than it may have, before validation would name each of them."""
        if found > members + MAX_PROBLEMS:
            message = f"Far more than the {self._width} features of the model"
            raise InvalidInputError([problem("too_many_fields", ["body"], message)])


class InOrder(GenerateJsonSchema):
    """pydantic sorts every key of a schema, those of the examples too; the features have an order of their own."""

    @override
    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value


class TooManyRowsError(TabserveError):
    """A batch has more rows than one request may."""


def _value(feature: Feature, *, known_only: bool) -> Any:
    """The type of a feature's value; `known_only` takes no category but those of training."""
    value: Any
    if isinstance(feature, Category):

        def known(text: str) -> str:
            if text not in feature.code_of:
                raise PydanticCustomError("unknown_category", UNKNOWN_CATEGORY)
            return text

        described = f"one of {len(feature.categories)} categories"
        limits = Field(
            max_length=MAX_TEXT,
            strict=True,
            description=described if known_only else f"{described}; another is answered with a warning",
            json_schema_extra={"enum": list(feature.categories)},
        )
        value = Annotated[str, limits, AfterValidator(known)] if known_only else Annotated[str, limits]
    else:
        described = f"seen in training: {feature.minimum:g} to {feature.maximum:g}"
        limits = Field(ge=feature.lowest, le=feature.highest, allow_inf_nan=False, strict=True, description=described)
        value = Annotated[float, limits]
    return value | None if feature.missing else value


def _fast_value(feature: Feature, *, known_only: bool) -> Any:
    """The same for msgspec."""
    value: Any
    if not isinstance(feature, Category):
        value = Annotated[float, msgspec.Meta(ge=feature.lowest, le=feature.highest)]
    elif known_only:
        value = Literal[feature.categories]
    else:
        value = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    return value | None if feature.missing else value


def _example(feature: Feature) -> Value:
    """The category that most rows had, or the mean of the numbers with as few digits as keep it in their range."""
    if isinstance(feature, Category):
        return feature.categories[int(np.argmax(feature.counts))]
    rounded = (float(f"{feature.mean:.{digits}g}") for digits in range(3, 17))
    return next((value for value in rounded if feature.minimum <= value <= feature.maximum), feature.minimum)


def _some(item: Any, most: int) -> Any:
    """A list of at least one; of a million bad items the first is named, the rest cost neither time nor memory."""
    return Annotated[list[item], Field(min_length=1, max_length=most, fail_fast=True)]


def _closed(name: str, fields: dict[str, Any], examples: list[Any]) -> Any:
    """A TypedDict, for its keys can be any strings, that takes all of its keys, no others, and no look-alikes."""
    config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": examples} if examples else None)
    return _typed_dict(name, fields, config)


def _open(name: str, fields: dict[str, Any]) -> Any:
    """The same, but for other keys, which are passed over."""
    return _typed_dict(name, fields, ConfigDict(extra="ignore", strict=True))


def _typed_dict(name: str, fields: dict[str, Any], config: ConfigDict) -> Any:
    return with_config(config)(_any_typed_dict(name, fields))


def _any_typed_dict(name: str, fields: dict[str, Any]) -> Any:
    make: Any = TypedDict  # a type checker wants the keys in the source; these come with the model
    return make(name, fields)


def _validated(adapter: TypeAdapter[T], body: bytes) -> T:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    for problem in found:
        if problem["type"] == "too_long":
            raise TooManyRowsError(problem["msg"])
    raise InvalidInputError(problems(found))


def _form(body: bytes) -> str:
    """Whether a batch comes as `columns` or as `records`: by its first key, and only if that is neither by all."""
    match = re.match(rb'[ \t\r\n]*\{[ \t\r\n]*"(columns|records)"', body)
    if match:
        return match.group(1).decode()
    try:
        content = from_json(body)
    except ValueError:
        return "records"  # validation says what is wrong with the JSON
    for form in ("columns", "records"):
        if isinstance(content, dict) and form in content:
            return form
    raise InvalidInputError([problem("missing", ["body"], "Send an object with 'columns' or with 'records'")])


# -- what validation doesn't look at


class Pairs(list[tuple[str, Any]]):
    """A JSON object with every key as it stands, twice if it stands twice."""


def _needs_a_closer_look(body: bytes, members: int) -> bool:
    """Whether a valid body may hold more than its `members` members, or a number longer than `MAX_NUMBER`.

    The values are numbers or containers, so there are as many colons as members, unless a key contains one, stands
    twice, or isn't a feature. A number is a run of the characters that numbers are made of.
    """
    return body.count(b":") != members or _has_a_long_number(body)


def _has_a_long_number(body: bytes) -> bool:
    return _LONG_RUN in body.translate(_NUMBERS_AS_ZEROS)


TOO_LONG = object()
"""In place of a number that is."""


def _parsed_again(body: bytes) -> Pairs:
    def number(text: str) -> object:
        return float(text) if len(text) <= MAX_NUMBER else TOO_LONG

    found: Pairs = json.loads(body, object_pairs_hook=Pairs, parse_int=number, parse_float=number)
    return found


def _check_record(pairs: Pairs, features: Sequence[str], way: list[str | int]) -> None:
    """Refuses a key that isn't a feature, a number that is too long, and a key that stands twice, for JSON leaves open
    which one counts."""
    seen: set[str] = set()
    for key, value in pairs:
        if key not in features:
            raise InvalidInputError([problem("extra_forbidden", [*way, key], "Extra inputs are not permitted")])
        if key in seen:
            raise InvalidInputError([problem("duplicate_key", [*way, key], "This key stands more than once")])
        if value is TOO_LONG or (isinstance(value, list) and TOO_LONG in value):
            message = f"A number has at most {MAX_NUMBER} characters"
            raise InvalidInputError([problem("number_too_long", [*way, key], message)])
        seen.add(key)


def _only_value(pairs: Pairs, name: str) -> Any:
    """The value of an object's one key; refuses others, and the key a second time."""
    for key, _ in pairs:
        if key != name:
            raise InvalidInputError([problem("extra_forbidden", ["body", key], "Extra inputs are not permitted")])
    if len(pairs) > 1:
        raise InvalidInputError([problem("duplicate_key", ["body", name], "This key stands more than once")])
    return pairs[0][1]


_KEY = re.compile(rb'(?<!\\)"[ \t\r\n]*:')
_NUMBERS_AS_ZEROS = bytes.maketrans(b"123456789.eE+-", b"0" * 14)
_LONG_RUN = b"0" * (MAX_NUMBER + 1)


def problem(kind: str, way: Sequence[str | int], message: str) -> dict[str, object]:
    """A problem as replies name it: its kind, the way to the field, and what is wrong."""
    return {"type": kind, "loc": [_cut(part) for part in way], "msg": message}


def problems(errors: Sequence[Mapping[str, Any]], *, start: str = "body") -> list[dict[str, object]]:
    """pydantic's errors as replies name them: at most `MAX_PROBLEMS`, and nothing of the caller's but cut names."""
    found = [
        problem(error["type"], (start, *error["loc"]) if start else error["loc"], error["msg"])
        for error in errors[:MAX_PROBLEMS]
    ]
    if len(errors) > MAX_PROBLEMS:
        found.append(problem("more", [start], f"and {len(errors) - MAX_PROBLEMS} more problems"))
    return found


def _cut(part: str | int) -> str | int:
    if isinstance(part, int) or len(part) <= MAX_NAME:
        return part
    return part[:MAX_NAME] + "…"


# -- replies


def encode_prediction(prediction: Prediction) -> bytes:
    """The reply of `/predict`."""
    return to_json(prediction.reply())


def encode_batch(batch: BatchPrediction) -> bytes:
    """The reply of `/predict/batch`."""
    labels = np.array(batch.schema.task.classes, dtype=object)
    columns: dict[str, list[bytes]] = {"prediction": [], "label": [], "confidence": [], "prediction_proba": []}
    for start in range(0, len(batch.rows), chunks.ROWS):
        piece = slice(start, start + chunks.ROWS)
        prediction = batch.outcomes.prediction[piece]
        for column, values in zip(
            columns.values(),
            (
                prediction,
                labels[prediction].tolist(),
                batch.outcomes.confidence[piece],
                batch.outcomes.prediction_proba[piece],
            ),
            strict=True,
        ):
            # straight from the array: three times as fast as by way of a list
            column.append(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1])
    head = {"batch_id": batch.batch_id, "model_version": batch.model_version, "timestamp": batch.timestamp}
    parts = [to_json(head)[:-1]]
    for name, column in columns.items():
        parts.append(b',"%b":[' % name.encode())
        parts += itertools.chain.from_iterable(zip(column, itertools.repeat(b","), strict=False))
        parts[-1] = b"]"
    return b"".join([*parts, b',"warnings":', to_json(warnings_of(batch)), b"}"])  # once: it takes 2 ms for 4 MB


def warnings_of(batch: BatchPrediction) -> list[dict[str, object]]:
    """The warnings of all rows, with their numbers."""
    return [
        {"row": number, "feature": warning.feature, "message": warning.message}
        for number in batch.schema.rows_with_warnings(batch.rows.values)
        for warning in batch.schema.warnings(batch.rows.values[number].tolist())
    ]


def encode(content: object) -> bytes:
    """Strict JSON of plain values, dataclasses and pydantic models; NaN and infinity, unknown to JSON, become null."""
    return to_json(content, inf_nan_mode="null")
