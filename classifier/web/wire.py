"""Bodies: what callers may send, what they get, and the way from bytes to values and back.

One pydantic model of the request, made from the schema of the model that is served, validates the body and is the
documentation's schema too. Knows JSON and the shape of each reply; knows nothing of routes or status codes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, with_config
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


class Reply(BaseModel):
    """Base of the documented replies."""

    model_config = ConfigDict(extra="forbid")


class InputWarning(Reply):
    feature: str
    message: str = Field(examples=["9.9 is outside the training range 4.3 to 7.9"])


class PredictReply(Reply):
    prediction: int = Field(description="index of the class in `prediction_proba`", examples=[0])
    prediction_proba: list[float] = Field(
        description="one probability a class; they sum to 1", examples=[[1.0, 0.0, 0.0]]
    )
    confidence: float = Field(description="the largest probability", examples=[1.0])
    model_version: str = Field(description="the model that answered", examples=["20241201_143022"])
    timestamp: str = Field(description="ISO 8601, UTC", examples=["2024-12-01T14:31:07.123456+00:00"])
    label: str = Field(description="the class by name", examples=["setosa"])
    prediction_id: str = Field(examples=["0b5c1a6e3f9d4c7f8a2b1c3d4e5f6071"])
    warnings: list[InputWarning] = Field(description="values outside the range seen in training")


class BatchWarning(InputWarning):
    row: int = Field(description="number of the row, from 0")


class BatchReply(Reply):
    """Columns in the order of the rows that were sent."""

    batch_id: str = Field(description="row n is in the history as `<batch_id>-<n>`")
    model_version: str
    timestamp: str
    prediction: list[int]
    label: list[str]
    confidence: list[float]
    prediction_proba: list[list[float]]
    warnings: list[BatchWarning]


class HealthReply(Reply):
    status: Literal["healthy", "degraded", "unhealthy"]
    model_loaded: bool
    model_version: str | None
    timestamp: str
    uptime_seconds: float
    reason: str | None = Field(description="why it is not healthy, and what to do")


class ProbeReply(Reply):
    status: Literal["alive", "ready", "not ready"]
    reason: str | None = None


class HistoryEntry(Reply):
    prediction_id: str
    timestamp: str
    model_version: str
    inputs: dict[str, float]
    prediction: int
    label: str
    prediction_proba: list[float]
    confidence: float
    warnings: list[InputWarning]
    latency_ms: float = Field(description="from the complete body to the finished prediction")


class HistoryReply(Reply):
    total: int = Field(description="predictions in memory, at most 1000")
    limit: int
    offset: int
    predictions: list[HistoryEntry] = Field(description="the newest first")


class LatencyReply(Reply):
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class MetricsReply(Reply):
    """Counted by this process since it started. Null: nothing to compute it from yet."""

    timestamp: str
    uptime_seconds: float
    model_version: str | None
    predictions_total: int
    predictions_by_class: dict[str, int]
    predictions_by_version: dict[str, int]
    mean_confidence: float | None
    latency_ms: LatencyReply = Field(description="of requests to /predict, from first byte in to last byte out")
    requests_total: int
    requests: dict[str, dict[str, int]] = Field(description="route → status → requests")
    errors_total: int
    errors: dict[str, dict[str, int]] = Field(description="the same, of statuses from 400 on")


class ModelFeature(Reply):
    name: str
    minimum: float = Field(description="smallest value seen in training")
    maximum: float = Field(description="largest value seen in training")
    mean: float
    importance: float = Field(description="mean decrease in impurity; all features' sum to 1")


class ModelReply(Reply):
    model_version: str
    model_name: str
    model_type: str
    alias: str
    registry_version: str
    run_id: str
    live_since: str
    trained_at: str
    target: str
    classes: list[str]
    features: list[ModelFeature]
    parameters: dict[str, Any]
    metrics: dict[str, float]
    dataset: dict[str, Any]
    libraries: dict[str, str]
    git_commit: str
    checksum: str = Field(description="SHA-256 of the release's manifest, which holds those of its files")


class Problem(Reply):
    type: str
    loc: list[str | int] = Field(description="the way to the field", examples=[["body", "sepal_length"]])
    msg: str


class ErrorReply(Reply):
    detail: str
    request_id: str


class ValidationReply(Reply):
    detail: list[Problem]
    request_id: str


# -- requests


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
        _, found = TypeAdapter.json_schemas(adapters, ref_template=ref_template)
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
