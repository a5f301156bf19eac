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
from tabserve.model.task import Task, listed

UNKNOWN = -1.0
"""The code of a category that training did not see."""

Value = float | str | None
"""What a caller sends for a feature."""


class Number(BaseModel):
    """A numeric feature.

    Attributes:
        name: as callers write it.
        missing: how many training rows lacked it. Unless it is 0, callers may leave it out.
        minimum, maximum: the range seen in training. Outside it the model extrapolates, and the reply warns.
        mean: over the training rows that had a value; the documentation's example.
        lowest, highest: the range in which the model can compute. Outside it a value is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["number"] = "number"
    name: str = Field(min_length=1, max_length=200)
    missing: int = Field(default=0, ge=0)
    minimum: FiniteFloat
    maximum: FiniteFloat
    mean: FiniteFloat
    lowest: FiniteFloat
    highest: FiniteFloat

    def warning(self, value: float) -> str:
        """The warning for a value outside `minimum` to `maximum`."""
        return f"{value:g} is outside the training range {self.minimum:g} to {self.maximum:g}"

    def codes(self, values: Sequence[Any]) -> Vector:
        """The values as the model takes them: None becomes NaN."""
        if self.missing:
            return np.array(values, dtype=np.float64)
        return np.fromiter(values, np.float64, len(values))  # faster, and there is no None


class Category(BaseModel):
    """A categorical feature. The model takes a category as its index in `categories`, an unknown one as -1.

    Attributes:
        name, missing: as for a number.
        categories: those seen in training: those that the model tells apart, in their order, then those that it
            doesn't.
        counts: how many training rows had each.
        pooled: how many categories at the end are too rare for the model to tell apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["category"] = "category"
    name: str = Field(min_length=1, max_length=200)
    missing: int = Field(default=0, ge=0)
    categories: tuple[str, ...] = Field(min_length=1)
    counts: tuple[int, ...]
    pooled: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if len(set(self.categories)) != len(self.categories) or len(self.counts) != len(self.categories):
            raise ValueError("the categories must differ, and each needs a count")
        if self.pooled > len(self.categories):
            raise ValueError("there are fewer categories than pooled ones")
        return self

    @property
    def distinct(self) -> int:
        """How many categories the model tells apart."""
        return len(self.categories) - self.pooled

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def maximum(self) -> float:
        return self.distinct - 1.0

    @property
    def lowest(self) -> float:
        return UNKNOWN

    @property
    def highest(self) -> float:
        return len(self.categories) - 1.0

    def warning(self, code: float) -> str:
        """The warning for a category that the model doesn't tell from others."""
        if code == UNKNOWN:
            return f"not one of the {len(self.categories)} categories seen in training"
        return "too rare in training: the model doesn't tell it from other rare categories"

    @cached_property
    def code_of(self) -> Mapping[str | None, float]:
        """Category → code. None, which is a missing value, → NaN."""
        return {None: math.nan} | {category: float(code) for code, category in enumerate(self.categories)}

    def codes(self, values: Sequence[Any]) -> Vector:
        """The values as the model takes them: None becomes NaN, an unknown category -1."""
        return np.array([self.code_of.get(value, UNKNOWN) for value in values], dtype=np.float64)


Feature = Annotated[Number | Category, Field(discriminator="kind")]


@dataclass(frozen=True)
class Rows:
    """Rows as callers sent them.

    Attributes:
        values: what the model takes, shape (rows, features).
        texts: categorical feature → its texts. They are kept because an unknown category is only -1 in `values`.
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
    """The smallest and the largest value of each feature, both included; each of shape (features,)."""

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
    def is_plain(self) -> bool:
        """Whether every feature is a number that is never missing. Then the model takes values as they are."""
        return all(isinstance(feature, Number) and not feature.missing for feature in self.features)

    @cached_property
    def _category_codes(self) -> tuple[tuple[int, Mapping[str | None, float]], ...]:
        """The index of each categorical feature, and its codes."""
        return tuple((i, feature.code_of) for i, feature in enumerate(self.features) if isinstance(feature, Category))

    @cached_property
    def _optional_numbers(self) -> tuple[int, ...]:
        """The index of each numeric feature that may be missing."""
        return tuple(i for i, feature in enumerate(self.features) if isinstance(feature, Number) and feature.missing)

    def row(self, values: Mapping[str, Any]) -> list[float]:
        """A valid row as the model takes it, in the order of the features. A feature that isn't there is missing."""
        if self.is_plain:
            return [values[name] for name in self.feature_names]
        row: list[Any] = list(map(values.get, self.feature_names))
        for i, code_of in self._category_codes:
            row[i] = code_of.get(row[i], UNKNOWN)
        for i in self._optional_numbers:
            if row[i] is None:
                row[i] = math.nan
        return row

    def fits(self, values: Mapping[str, Value]) -> bool:
        """Whether a record from elsewhere has the features of this schema, each of its kind."""
        kinds = {feature.name: (feature.missing, _python_type(feature)) for feature in self.features}
        return values.keys() <= kinds.keys() and all(
            missing if (value := values.get(name)) is None else isinstance(value, kind)
            for name, (missing, kind) in kinds.items()
        )

    def rows(self, columns: Mapping[str, Sequence[Any]]) -> Rows:
        """Rows from valid columns of equal length, None where a value is missing."""
        values = np.column_stack([feature.codes(columns[feature.name]) for feature in self.features])
        texts = {feature.name: columns[feature.name] for feature in self.features if isinstance(feature, Category)}
        return Rows(values, texts)

    def inputs(self, rows: Rows) -> list[dict[str, Value]]:
        """The rows as records, as callers sent them."""
        columns: list[Sequence[Value]] = []
        for feature, values in zip(self.features, rows.values.T, strict=True):
            if isinstance(feature, Category):
                columns.append(rows.texts[feature.name])
            else:
                numbers = values.tolist()
                columns.append(
                    [None if math.isnan(value) else value for value in numbers] if feature.missing else numbers
                )
        return [dict(zip(self.feature_names, record, strict=True)) for record in zip(*columns, strict=True)]

    @cached_property
    def training_bounds(self) -> Bounds:
        """The ranges seen in training."""
        return _bounds([(feature.minimum, feature.maximum) for feature in self.features])

    @cached_property
    def computable_bounds(self) -> Bounds:
        """The ranges in which the model can compute."""
        return _bounds([(feature.lowest, feature.highest) for feature in self.features])

    @cached_property
    def _warning_rules(self) -> tuple[tuple[Feature, float, float], ...]:
        return tuple((feature, feature.minimum, feature.maximum) for feature in self.features)

    def warnings(self, row: Sequence[float]) -> tuple[InputWarning, ...]:
        """A warning for each value outside its training range, and each category that is unknown or pooled. `row` is as
        the model takes it."""
        warnings: tuple[InputWarning, ...] = ()
        for value, (feature, minimum, maximum) in zip(row, self._warning_rules, strict=True):
            if value < minimum or value > maximum:  # both are false for NaN, which is a missing value
                warnings += (InputWarning(feature.name, feature.warning(value)),)
        return warnings

    def rows_with_warnings(self, rows: Matrix) -> list[int]:
        """The numbers of the rows that have warnings. `rows` has shape (rows, features)."""
        bounds = self.training_bounds
        outside = np.flatnonzero((rows < bounds.lowest) | (rows > bounds.highest)) // len(self.features)
        return list(dict.fromkeys(outside.tolist()))

    def incompatibility(self, other: "Schema") -> str | None:
        """Why a model of the `other` schema can't answer the rows of this one, which is the champion's; None if it
        can."""
        if _described(self) != _described(other):
            return f"it has other features ({listed(_described(other))}) than the champion ({listed(_described(self))})"
        if difference := self.task.difference_from(other.task):
            return f"it has {difference}"
        pairs = zip(self.features, other.features, strict=True)
        required = [own.name for own, theirs in pairs if own.missing and not theirs.missing]
        return f"it requires {listed(required)}, which the champion does not" if required else None


def _python_type(feature: Feature) -> type:
    return str if isinstance(feature, Category) else float


def _described(schema: Schema) -> list[str]:
    return [f"{one.name}, a category" if isinstance(one, Category) else one.name for one in schema.features]


def _bounds(pairs: Sequence[tuple[float, float]]) -> Bounds:
    return Bounds(*np.ascontiguousarray(np.array(pairs).T))  # contiguous, because compiled code reads them
