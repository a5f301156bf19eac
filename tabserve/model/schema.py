"""The schema of a model: its features with their ranges and categories, its target and its task.

Knows nothing of tables, files or HTTP.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from tabserve.model.arrays import Matrix, Vector
from tabserve.model.boolean import Boolean
from tabserve.model.dates import Date, DatePart, is_date
from tabserve.model.task import Task, listed

UNKNOWN = -1.0
"""The code of a category that training did not see."""

Value = float | str | bool | None
"""What a caller sends for a feature."""


class Number(BaseModel):
    """A numeric feature.

    Attributes:
        name: as callers write it.
        missing: how many training rows lacked it. Unless it is 0, callers may leave it out.
        unit: `seconds` if the table has durations.
        minimum, maximum: the range seen in training. Outside it the model extrapolates, and the reply warns.
        mean: over the training rows that had a value; the documentation's example.
        lowest, highest: the range in which the model can compute. Outside it a value is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["number"] = "number"
    name: str = Field(min_length=1, max_length=200)
    missing: int = Field(default=0, ge=0)
    unit: Literal["", "seconds"] = ""
    minimum: FiniteFloat
    maximum: FiniteFloat
    mean: FiniteFloat
    lowest: FiniteFloat
    highest: FiniteFloat

    @property
    def warning_format(self) -> str:
        """The warning for a value outside `minimum` to `maximum`; `{:g}` stands for the value."""
        return f"{{:g}} is outside the training range {self.minimum:g} to {self.maximum:g}"

    def codes(self, values: Sequence[Any]) -> Vector:
        """The values as the model takes them: None becomes NaN."""
        if self.missing:
            return np.array(values, dtype=np.float64)
        return np.fromiter(values, np.float64, len(values))  # faster, and there is no None


class Category(BaseModel):
    """A categorical feature. The model takes a category as its index in `categories`, an unknown one as -1.

    Attributes:
        name, missing: as for a number.
        categories: those seen in training, in their order.
        counts: how many training rows had each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["category"] = "category"
    name: str = Field(min_length=1, max_length=200)
    missing: int = Field(default=0, ge=0)
    categories: tuple[str, ...] = Field(min_length=1)
    counts: tuple[int, ...]

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if len(set(self.categories)) != len(self.categories) or len(self.counts) != len(self.categories):
            raise ValueError("the categories must differ, and each needs a count")
        return self

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def maximum(self) -> float:
        return len(self.categories) - 1.0

    @property
    def lowest(self) -> float:
        return UNKNOWN

    @property
    def highest(self) -> float:
        return self.maximum

    @property
    def warning_format(self) -> str:
        """The warning for an unknown category."""
        return f"not one of the {len(self.categories)} categories seen in training"

    @cached_property
    def code_of(self) -> Mapping[str | None, float]:
        """Category → code. None, which is a missing value, → NaN."""
        return {None: math.nan} | {category: float(code) for code, category in enumerate(self.categories)}

    def codes(self, values: Sequence[Any]) -> Vector:
        """The values as the model takes them: None becomes NaN, an unknown category -1."""
        return np.array([self.code_of.get(value, UNKNOWN) for value in values], dtype=np.float64)


Feature = Annotated[Number | Category | Boolean | Date, Field(discriminator="kind")]

ModelFeature = Number | Category | Boolean | DatePart
"""What the model takes one number for."""


@dataclass(frozen=True)
class Rows:
    """Rows as callers sent them.

    Attributes:
        values: what the model takes, shape (rows, model features).
        texts: feature of categories or dates → its texts. They are kept because an unknown category is only -1 in
            `values`, and a date only its parts.
    """

    values: Matrix
    texts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> "Rows":
        """Some of the rows, copied into memory of their own."""
        return Rows(self.values[part].copy(), {name: list(texts[part]) for name, texts in self.texts.items()})


@dataclass(frozen=True, eq=False)  # a schema caches them, and arrays in a comparison of schemas have no truth value
class Bounds:
    """The smallest and the largest value of each model feature, both included; each of shape (model features,)."""

    lowest: Vector
    highest: Vector


@dataclass(frozen=True, slots=True)
class InputWarning:
    """Something about an input that the caller should know. The row was predicted all the same."""

    feature: str
    message: str


class Schema(BaseModel):
    """The features in the model's order, and what the model predicts from them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    target: str
    features: tuple[Feature, ...] = Field(min_length=1)
    task: Task

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def model_features(self) -> tuple[ModelFeature, ...]:
        """The features in the form in which the model takes them: each date as its parts."""
        return tuple(part for feature in self.features for part in model_features(feature))

    @cached_property
    def _feature_of_column(self) -> tuple[str, ...]:
        """For each model feature, the name of the feature that it is made of."""
        return tuple(feature.name for feature in self.features for _ in model_features(feature))

    @cached_property
    def is_plain(self) -> bool:
        """Whether every feature is a number that is never missing. Then the model takes values as they are."""
        return all(isinstance(feature, Number) and not feature.missing for feature in self.features)

    @cached_property
    def _category_codes(self) -> tuple[tuple[int, Mapping[Any, float]], ...]:
        """The index of each feature of categories or booleans, and its codes."""
        return tuple(
            (i, feature.code_of) for i, feature in enumerate(self.features) if isinstance(feature, Category | Boolean)
        )

    @cached_property
    def _dates(self) -> tuple[tuple[int, Date], ...]:
        """The index of each date, and the date, the last first."""
        return tuple((i, feature) for i, feature in enumerate(self.features) if isinstance(feature, Date))[::-1]

    @cached_property
    def _optional_numbers(self) -> tuple[int, ...]:
        """The index of each numeric feature that may be missing."""
        return tuple(i for i, feature in enumerate(self.features) if isinstance(feature, Number) and feature.missing)

    def row(self, values: Mapping[str, Any]) -> list[float]:
        """A valid row as the model takes it, in the order of its features. A feature that isn't there is missing."""
        if self.is_plain:
            return [values[name] for name in self.feature_names]
        row: list[Any] = list(map(values.get, self.feature_names))
        for i, code_of in self._category_codes:
            row[i] = code_of.get(row[i], UNKNOWN)
        for i in self._optional_numbers:
            if row[i] is None:
                row[i] = math.nan
        for i, date in self._dates:
            row[i : i + 1] = date.numbers(row[i])
        return row

    def fits(self, values: Mapping[str, Value]) -> bool:
        """Whether a record from elsewhere has the features of this schema, each of its kind."""
        return values.keys() <= set(self.feature_names) and all(
            feature.missing if (value := values.get(feature.name)) is None else _fits(feature, value)
            for feature in self.features
        )

    def rows(self, columns: Mapping[str, Sequence[Any]]) -> Rows:
        """Rows from valid columns of equal length, None where a value is missing."""
        values = np.column_stack([feature.codes(columns[feature.name]) for feature in self.features])
        texts = {feature.name: columns[feature.name] for feature in self.features if keeps_texts(feature)}
        return Rows(values, texts)

    def inputs(self, rows: Rows) -> list[dict[str, Value]]:
        """The rows as records, as callers sent them."""
        columns: list[Sequence[Value]] = []
        for feature in self.features:
            if keeps_texts(feature):
                columns.append(rows.texts[feature.name])
                continue
            numbers: list[float] = rows.values[:, self._feature_of_column.index(feature.name)].tolist()
            if isinstance(feature, Boolean):
                columns.append([None if math.isnan(number) else number == 1 for number in numbers])
            elif feature.missing:
                columns.append([None if math.isnan(number) else number for number in numbers])
            else:
                columns.append(numbers)
        return [dict(zip(self.feature_names, record, strict=True)) for record in zip(*columns, strict=True)]

    @cached_property
    def training_bounds(self) -> Bounds:
        """The ranges seen in training."""
        return _bounds([_training_range(feature) for feature in self.model_features])

    @cached_property
    def computable_bounds(self) -> Bounds:
        """The ranges in which the model can compute."""
        return _bounds([(feature.lowest, feature.highest) for feature in self.model_features])

    @cached_property
    def _warning_rules(self) -> tuple[tuple[str, float, float, str], ...]:
        return tuple(
            (name, *_training_range(one), one.warning_format)
            for name, one in zip(self._feature_of_column, self.model_features, strict=True)
        )

    def warnings(self, row: Sequence[float]) -> tuple[InputWarning, ...]:
        """A warning for each value outside its training range. `row` is as the model takes it."""
        warnings: tuple[InputWarning, ...] = ()
        for value, (name, minimum, maximum, message) in zip(row, self._warning_rules, strict=True):
            if value < minimum or value > maximum:  # both are false for NaN, which is a missing value
                warnings += (InputWarning(name, message.format(value)),)
        return warnings

    def rows_with_warnings(self, rows: Matrix) -> list[int]:
        """The numbers of the rows that have warnings. `rows` has shape (rows, model features)."""
        bounds = self.training_bounds
        outside = np.flatnonzero((rows < bounds.lowest) | (rows > bounds.highest)) // len(self.model_features)
        return list(dict.fromkeys(outside.tolist()))

    def incompatibility(self, other: "Schema") -> str | None:
        """Why a model of the `other` schema can't answer the rows of this one, which is the champion's; None if it
        can."""
        if _described(self) != _described(other):
            return f"it has other features ({listed(_described(other))}) than the champion ({listed(_described(self))})"
        if difference := self.task.difference_from(other.task):
            return f"it has {difference}"
        pairs = list(zip(self.features, other.features, strict=True))
        required = [own.name for own, theirs in pairs if own.missing and not theirs.missing]
        if required:
            return f"it requires {listed(required)}, which the champion does not"
        others = [own.name for own, theirs in pairs if not _takes_texts(theirs, own)]
        return f"it takes other texts for {listed(others)} than the champion" if others else None


def keeps_texts(feature: Feature) -> bool:
    """Whether `Rows.texts` has the feature."""
    return isinstance(feature, Category | Date)


def model_features(feature: Feature) -> tuple[ModelFeature, ...]:
    """A feature in the form in which the model takes it: a date as its parts."""
    return feature.model_features if isinstance(feature, Date) else (feature,)


def _training_range(feature: ModelFeature) -> tuple[float, float]:
    """The range outside of which the reply warns."""
    return feature.training_range if isinstance(feature, DatePart) else (feature.minimum, feature.maximum)


def _fits(feature: Feature, value: Value) -> bool:
    """Whether a value that isn't missing is one for the feature."""
    match feature:
        case Category():
            return isinstance(value, str)
        case Boolean():
            return isinstance(value, bool) or (isinstance(value, str) and value in feature.texts)
        case Date():
            return isinstance(value, str) and is_date(value)
    return isinstance(value, float)


def _described(schema: Schema) -> list[str]:
    return [
        one.name + f", in {one.unit}" * bool(one.unit) if isinstance(one, Number) else f"{one.name}, a {one.kind}"
        for one in schema.features
    ]


def _takes_texts(feature: Feature, other: Feature) -> bool:
    """Whether a feature of booleans takes the texts of another one; other features are all the same in that."""
    return not (isinstance(feature, Boolean) and isinstance(other, Boolean)) or set(other.texts) <= set(feature.texts)


def _bounds(pairs: Sequence[tuple[float, float]]) -> Bounds:
    return Bounds(*np.ascontiguousarray(np.array(pairs).T))  # contiguous, because compiled code reads them
