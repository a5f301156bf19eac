"""Bodies: the way from bytes to values and back.

One pydantic model of the request, made from the schema of the model that is served, validates the body and is the
documentation's schema too. Knows JSON; knows nothing of routes or status codes. `replies` documents what goes out.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from classifier.errors import ClassifierError, InvalidInputError
from classifier.record import Prediction
from classifier.schema import Feature, Matrix, Schema

T = TypeVar("T")

JSON = "application/json"

MAX_PROBLEMS = 20
"""How many problems one reply names; a body with more gets a last entry that says how many were left out."""

MAX_NAME = 64
"""A field's name that the caller made up is cut to this length before it is repeated."""


MAX_DIGITS = 64
"""Longest number, in characters; a double needs 17 digits to be told from its neighbours."""


class Requests:
    """What may be sent for one schema: the adapters that validate bodies, and the JSON schemas that document them."""

    def __init__(self, schema: Schema, max_rows: int) -> None:
        self._width, self._max_rows, self._features = len(schema.features), max_rows, schema.feature_names
        example = {feature.name: float(f"{feature.mean:.3g}") for feature in schema.features}
        record = _closed("PredictRequest", {f.name: _number(f) for f in schema.features}, [example])
        columns = _closed(
            "BatchColumns",
            {f.name: _some(_number(f)) for f in schema.features},
            [{name: [value, value] for name, value in example.items()}],
        )
        by_columns = _closed("BatchByColumns", {"columns": columns}, [])
        by_records = _closed("BatchByRecords", {"records": _some(record)}, [])
        self._single = TypeAdapter[dict[str, float]](record)
        self._columns = TypeAdapter[dict[str, dict[str, list[float]]]](by_columns)
        self._records = TypeAdapter[dict[str, list[dict[str, float]]]](by_records)

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
                "description": f"Rows as columns of equal length, or as records; at most {self._max_rows}.",
                "oneOf": [{"$ref": ref_template.format(model=name)} for name in ("BatchByColumns", "BatchByRecords")],
            }
        }

    def parse(self, body: bytes) -> dict[str, float]:
        """The body of `/predict` as values by feature.

        Raises:
            InvalidInputError: it is not JSON, or not a record of the schema.
        """
        if body.count(b":") > self._width + MAX_PROBLEMS:
            _refuse_flood(body, self._width)
        values = _validated(self._single, body)
        _scrutinise(body, self._width)
        return values

    def parse_batch(self, body: bytes) -> Matrix:
        """The body of `/predict/batch` as a matrix of shape (rows, features), in the order of the schema.

        Raises:
            InvalidInputError: as `parse`; a bad row is named by its number. Columns may also differ in length.
            TooManyRowsError: there are more rows than the cap.
        """
        form = _form(body)
        if form == "columns":
            columns = _validated(self._columns, body)["columns"]
            rows, members = self._equal_length(columns), self._width + 1
            by_feature = [columns[name] for name in self._features]
        else:
            records = _validated(self._records, body)["records"]
            rows, members = len(records), len(records) * self._width + 1
            by_feature = [[record[name] for record in records] for name in self._features]
        if rows > self._max_rows:
            raise TooManyRowsError(f"{rows} rows in one batch; the limit is {self._max_rows}")
        _scrutinise(body, members)
        return np.ascontiguousarray(np.array(by_feature, dtype=np.float64).T)

    def _equal_length(self, columns: Mapping[str, list[float]]) -> int:
        first = self._features[0]
        rows = len(columns[first])
        for name in self._features:
            if len(columns[name]) != rows:
                message = f"Columns must be of equal length: {rows} in {first}, {len(columns[name])} here"
                raise InvalidInputError([_problem("unequal_columns", ["body", "columns", name], message)])
        return rows


class InOrder(GenerateJsonSchema):
    """pydantic sorts every key of a schema, those of the examples too; the features have an order of their own."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:  # noqa: ARG002
        return value


class TooManyRowsError(ClassifierError):
    """A batch has more rows than one request may."""


def _number(feature: Feature) -> Any:
    described = f"seen in training: {feature.minimum:g} to {feature.maximum:g}"
    bounds = Field(ge=feature.lowest, le=feature.highest, allow_inf_nan=False, description=described)
    return Annotated[float, bounds]


def _some(item: Any) -> Any:
    """A list of at least one; of a million bad items the first is named, the rest cost neither time nor memory."""
    return Annotated[list[item], Field(min_length=1, fail_fast=True)]


def _closed(name: str, fields: dict[str, Any], examples: list[Any]) -> Any:
    """A TypedDict, for its keys can be any strings, that takes all of its keys, no others, and no look-alikes."""
    config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": examples} if examples else None)
    return with_config(config)(TypedDict(name, fields))  # type: ignore[operator]  # made at run time, from a schema


def _validated(adapter: TypeAdapter[T], body: bytes) -> T:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidInputError(problems(found)) from None


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
    raise InvalidInputError([_problem("missing", ["body"], "Send an object with 'columns' or with 'records'")])


def _refuse_flood(body: bytes, width: int) -> None:
    """Refuses an object with far more members than features at once: naming each would cost more than the caller's."""
    try:
        content = from_json(body)
    except ValueError:
        return  # validation says what is wrong with the JSON
    if isinstance(content, dict) and len(content) > width + MAX_PROBLEMS:
        message = f"{len(content)} fields; the model takes {width}"
        raise InvalidInputError([_problem("too_many_fields", ["body"], message)])


def _scrutinise(body: bytes, members: int) -> None:
    """Refuses, in a body that validation has passed, what it doesn't look at: a key that stands twice, of which JSON
    leaves open which one counts, and a number with more than `MAX_DIGITS` digits, which nobody measured.

    A valid body has `members` members whose values are numbers or containers, so it has that many colons unless a key
    contains one or stands twice. Only such a body, or one with a long run of digits, is parsed again.
    """
    if body.count(b":") == members and _LONG_RUN not in body.translate(_DIGITS_AS_ZERO):
        return

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise InvalidInputError([_problem("duplicate_key", ["body", key], "This key stands more than once")])
            if value == _TOO_LONG or (isinstance(value, list) and _TOO_LONG in value):
                message = f"A number has at most {MAX_DIGITS} digits"
                raise InvalidInputError([_problem("number_too_long", ["body", key], message)])
            seen[key] = value
        return seen

    def number(text: str) -> float | str:
        return float(text) if len(text) <= MAX_DIGITS else _TOO_LONG

    json.loads(body, object_pairs_hook=unique, parse_int=number, parse_float=number)


_DIGITS_AS_ZERO = bytes.maketrans(b"123456789.", b"0000000000")
_LONG_RUN = b"0" * (MAX_DIGITS + 1)
_TOO_LONG = "too long"


def _problem(kind: str, way: Sequence[str | int], message: str) -> dict[str, object]:
    return {"type": kind, "loc": [_cut(part) for part in way], "msg": message}


def problems(errors: Sequence[Mapping[str, Any]], *, start: str = "body") -> list[dict[str, object]]:
    """pydantic's errors as replies name them: at most `MAX_PROBLEMS`, and nothing of the caller's but cut names."""
    found = [
        _problem(error["type"], (start, *error["loc"]) if start else error["loc"], error["msg"])
        for error in errors[:MAX_PROBLEMS]
    ]
    if len(errors) > MAX_PROBLEMS:
        found.append(_problem("more", [start], f"and {len(errors) - MAX_PROBLEMS} more problems"))
    return found


def _cut(part: str | int) -> str | int:
    if isinstance(part, int) or len(part) <= MAX_NAME:
        return part
    return part[:MAX_NAME] + "…"


# -- replies


def encode_prediction(prediction: Prediction) -> bytes:
    """The reply of `/predict`."""
    return to_json(
        {
            "prediction": prediction.prediction,
            "prediction_proba": prediction.prediction_proba,
            "confidence": prediction.confidence,
            "model_version": prediction.model_version,
            "timestamp": prediction.timestamp,
            "label": prediction.label,
            "prediction_id": prediction.prediction_id,
            "warnings": prediction.warnings,
        }
    )


def encode_batch(batch: Sequence[Prediction]) -> bytes:
    """The reply of `/predict/batch`; `batch` has at least one row."""
    first = batch[0]
    return to_json(
        {
            "batch_id": first.prediction_id.rpartition("-")[0],
            "model_version": first.model_version,
            "timestamp": first.timestamp,
            "prediction": [row.prediction for row in batch],
            "label": [row.label for row in batch],
            "confidence": [row.confidence for row in batch],
            "prediction_proba": [row.prediction_proba for row in batch],
            "warnings": [
                {"row": number, "feature": warning.feature, "message": warning.message}
                for number, row in enumerate(batch)
                for warning in row.warnings
            ],
        }
    )


def encode(content: object) -> bytes:
    """Strict JSON of plain values, dataclasses and pydantic models; NaN and infinity, unknown to JSON, become null."""
    return to_json(content, inf_nan_mode="null")
