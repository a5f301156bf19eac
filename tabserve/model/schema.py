"""The schema of a model: its features with their ranges and categories, its target and its task.

Knows nothing of tables, files or HTTP.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tabserve.model.arrays import Matrix, Vector
from tabserve.model.boolean import Boolean
from tabserve.model.dates import Date
from tabserve.model.features import (
    UNKNOWN,
    Category,
    Feature,
    ModelFeature,
    Number,
    Value,
    fits,
    keeps_texts,
    model_features,
    takes_texts,
    training_range,
)
from tabserve.model.task import Task, listed


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
            feature.missing if (value := values.get(feature.name)) is None else fits(feature, value)
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
        return _bounds([training_range(feature) for feature in self.model_features])

    @cached_property
    def computable_bounds(self) -> Bounds:
        """The ranges in which the model can compute."""
        return _bounds([(feature.lowest, feature.highest) for feature in self.model_features])

    @cached_property
    def _warning_rules(self) -> tuple[tuple[str, ModelFeature, float, float], ...]:
        return tuple(
            (name, one, *training_range(one))
            for name, one in zip(self._feature_of_column, self.model_features, strict=True)
        )

    def warnings(self, row: Sequence[float]) -> tuple[InputWarning, ...]:
        """A warning for each value outside its training range, and each category that is unknown or pooled. `row` is as
        the model takes it."""
        warnings: tuple[InputWarning, ...] = ()
        for value, (name, feature, minimum, maximum) in zip(row, self._warning_rules, strict=True):
            if value < minimum or value > maximum:  # both are false for NaN, which is a missing value
                warnings += (InputWarning(name, feature.warning(value)),)
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
        others = [own.name for own, theirs in pairs if not takes_texts(theirs, own)]
        return f"it takes other texts for {listed(others)} than the champion" if others else None


def _described(schema: Schema) -> list[str]:
    return [
        one.name + f", in {one.unit}" * bool(one.unit) if isinstance(one, Number) else f"{one.name}, a {one.kind}"
        for one in schema.features
    ]


def _bounds(pairs: Sequence[tuple[float, float]]) -> Bounds:
    return Bounds(*np.ascontiguousarray(np.array(pairs).T))  # contiguous, because compiled code reads them
