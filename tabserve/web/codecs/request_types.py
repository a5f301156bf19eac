"""The types of request bodies, made from the schema of a model. They validate bodies and document them.

pydantic's types explain what is wrong, and their JSON schema is the documented one. msgspec's types accept nothing
more, in a third of the time.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

import msgspec
import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, WithJsonSchema, with_config
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict, override

from tabserve.model import Boolean, Category, Date, Feature, Schema, Value
from tabserve.model.dates import PATTERN, is_date

MAX_TEXT = 200
"""Longest category, in characters. Training has seen none that is longer."""

MAX_ENUM, EXAMPLES = 100, 10
"""A feature with more categories is documented by examples: its most frequent ones."""

UNKNOWN_CATEGORY = "Not one of the categories seen in training"

NO_BOOLEAN = "Input should be true or false"

NO_DATE = "Input should be a date, as an ISO text like 2026-11-26 or 2026-11-26T13:45:59Z"


class RequestTypes:
    """The types for one schema.

    Attributes:
        row: the body of /predict.
        fast_row: the same for msgspec, as a TypedDict. It ignores other keys.
        columns, records: the two bodies of /predict/batch.
        open_records: the same as `records`, but other keys are ignored. pydantic makes an error of each other key,
            however many there are.
        values: feature → a list of its values.
    """

    def __init__(self, schema: Schema, max_rows: int, *, refuse_unknown: bool) -> None:
        features = schema.features
        optional = {feature.name for feature in features if feature.missing}
        values = {feature.name: _value(feature, refuse_unknown=refuse_unknown) for feature in features}
        example = {feature.name: _example(feature) for feature in features}

        def members(types: Mapping[str, Any]) -> dict[str, Any]:
            return {name: NotRequired[kind] if name in optional else kind for name, kind in types.items()}

        row = _closed("PredictRequest", members(values), example)
        columns = _closed(
            "BatchColumns",
            members({name: _some(value, max_rows) for name, value in values.items()}),
            {name: [value, value] for name, value in example.items()},
        )
        open_row = _open("PredictRequest", members(values))
        fast_values = {feature.name: _fast_value(feature, refuse_unknown=refuse_unknown) for feature in features}
        self.max_rows = max_rows
        self.row = TypeAdapter[dict[str, Value]](row)
        self.fast_row = _typed_dict("FastRequest", members(fast_values))
        self.columns = TypeAdapter[dict[str, dict[str, list[Any]]]](_closed("BatchByColumns", {"columns": columns}))
        self.records = TypeAdapter[dict[str, list[dict[str, Value]]]](
            _closed("BatchByRecords", {"records": _some(row, max_rows)})
        )
        self.open_records = TypeAdapter[dict[str, list[dict[str, Value]]]](
            _open("BatchByRecords", {"records": _some(open_row, max_rows)})
        )
        self.values = {name: TypeAdapter[list[Any]](_some(value, max_rows)) for name, value in values.items()}

    def json_schemas(self, ref_template: str) -> dict[str, dict[str, Any]]:
        """The schemas by name. `PredictRequest` and `BatchRequest` are the bodies; the others are parts of them."""
        adapters: list[tuple[str, Literal["validation"], TypeAdapter[Any]]] = [
            ("PredictRequest", "validation", self.row),
            ("BatchByColumns", "validation", self.columns),
            ("BatchByRecords", "validation", self.records),
        ]
        _, document = TypeAdapter.json_schemas(adapters, ref_template=ref_template, schema_generator=_InOrder)
        schemas: dict[str, dict[str, Any]] = document["$defs"]
        return schemas | {
            "BatchRequest": {
                "title": "BatchRequest",
                "description": f"Rows as columns of equal length, or as records; at most {self.max_rows}.",
                "oneOf": [{"$ref": ref_template.format(model=name)} for name in ("BatchByColumns", "BatchByRecords")],
            }
        }


class _InOrder(GenerateJsonSchema):
    """pydantic sorts every key of a schema, even those of the examples. The features keep their own order."""

    @override
    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value


def _value(feature: Feature, *, refuse_unknown: bool) -> Any:
    """pydantic's type of a feature's value."""
    value: Any
    if isinstance(feature, Category):

        def known(text: str) -> str:
            if text not in feature.code_of:
                raise PydanticCustomError("unknown_category", UNKNOWN_CATEGORY)
            return text

        description = f"one of {len(feature.categories)} categories"
        limits = Field(
            max_length=MAX_TEXT,
            strict=True,
            description=description if refuse_unknown else f"{description}; another one is answered with a warning",
            json_schema_extra=_documented_categories(feature),
        )
        value = Annotated[str, limits, AfterValidator(known)] if refuse_unknown else Annotated[str, limits]
    elif isinstance(feature, Boolean):

        def truth(value: object) -> object:
            if isinstance(value, bool) or (isinstance(value, str) and value in feature.texts):
                return value
            raise PydanticCustomError("bool_type", NO_BOOLEAN)

        # not a union of both, because an error would name its members
        kinds: list[JsonSchemaValue] = [{"type": "boolean"}]
        kinds += [{"type": "string", "enum": list(feature.texts)}] if feature.texts else []
        value = Annotated[Any, AfterValidator(truth), WithJsonSchema({"anyOf": kinds} if feature.texts else kinds[0])]
    elif isinstance(feature, Date):

        def dated(text: str) -> str:
            if not is_date(text):
                raise PydanticCustomError("date_parsing", NO_DATE)
            return text

        description = f"a date, with or without a time; seen in training: {feature.first} to {feature.last}"
        limits = Field(
            max_length=MAX_TEXT, strict=True, description=description, json_schema_extra={"pattern": PATTERN}
        )
        value = Annotated[str, limits, AfterValidator(dated)]
    else:
        description = f"seen in training: {feature.minimum:g} to {feature.maximum:g}"
        limits = Field(ge=feature.lowest, le=feature.highest, allow_inf_nan=False, strict=True, description=description)
        value = Annotated[float, limits]
    return value | None if feature.missing else value


def _documented_categories(feature: Category) -> dict[str, Any]:
    """The categories as a JSON schema names them; those of a large feature would make the page slow."""
    if len(feature.categories) <= MAX_ENUM:
        return {"enum": list(feature.categories)}
    most = np.argsort(feature.counts, kind="stable")[: -EXAMPLES - 1 : -1].tolist()
    return {"examples": [feature.categories[number] for number in most]}


def _fast_value(feature: Feature, *, refuse_unknown: bool) -> Any:
    """msgspec's type of a feature's value."""
    value: Any
    if isinstance(feature, Boolean):
        value = bool | Literal[feature.texts] if feature.texts else bool
    elif isinstance(feature, Date):
        value = Annotated[str, msgspec.Meta(max_length=MAX_TEXT, pattern=PATTERN)]
    elif not isinstance(feature, Category):
        value = Annotated[float, msgspec.Meta(ge=feature.lowest, le=feature.highest)]
    elif refuse_unknown:
        value = Literal[feature.categories]
    else:
        value = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    return value | None if feature.missing else value


def _example(feature: Feature) -> Value:
    """The most frequent category or boolean, the last date, or the mean of the numbers, rounded to as few digits as
    keep it in their range."""
    if isinstance(feature, Category):
        return feature.categories[int(np.argmax(feature.counts))]
    if isinstance(feature, Boolean):
        return feature.trues > feature.falses
    if isinstance(feature, Date):
        return feature.last
    rounded = (float(f"{feature.mean:.{digits}g}") for digits in range(3, 17))
    return next((value for value in rounded if feature.minimum <= value <= feature.maximum), feature.minimum)


def _some(item: Any, most: int) -> Any:
    """A list of 1 to `most` items. Validation stops at the first bad one, so a million bad items cost no more."""
    return Annotated[list[item], Field(min_length=1, max_length=most, fail_fast=True)]


def _closed(name: str, fields: dict[str, Any], example: object = None) -> Any:
    """A TypedDict, since its keys can be any strings. It requires all its keys and refuses others."""
    extra: Any = None if example is None else {"examples": [example]}
    config = ConfigDict(extra="forbid", strict=True, json_schema_extra=extra)
    return with_config(config)(_typed_dict(name, fields))


def _open(name: str, fields: dict[str, Any]) -> Any:
    """The same, but other keys are ignored."""
    return with_config(ConfigDict(extra="ignore", strict=True))(_typed_dict(name, fields))


def _typed_dict(name: str, fields: dict[str, Any]) -> Any:
    make: Any = TypedDict  # a type checker wants the keys in the source; these come with the model
    return make(name, fields)
