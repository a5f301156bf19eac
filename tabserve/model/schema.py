"""What a model takes and gives: features with their ranges, classes by name. Knows nothing of tables, files or HTTP."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Matrix = NDArray[np.float64]
"""Rows of features as a model takes them, shape (rows, features), float64, in the order of `Schema.features`: a number
as it is, a category as its number among those of the feature, NaN for what is missing."""

Vector = NDArray[np.float64]
"""A column of such a matrix, shape (rows,)."""

UNKNOWN = -1.0
"""The number of a category that wasn't seen in training."""


@dataclass(frozen=True, eq=False)  # what a schema caches takes part in its ==, where arrays have no truth value
class Bounds:
    """The least and the largest value of each feature, both included; each of shape (features,)."""

    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]


class Number(BaseModel):
    """A feature that is a number.

    Attributes:
        name: as callers write it.
        missing: how many of the training rows lacked it; unless it is 0, callers may leave it out.
        minimum, maximum: the range seen in training; outside it the model extrapolates, and a reply warns.
        mean: of the training rows that had it; the documentation's example.
        lowest, highest: the range in which the model can compute; outside it a value is refused.
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

    @property
    def unusual(self) -> str:
        """What to say of a value outside `minimum` to `maximum`, with a place for it."""
        return f"{{:g}} is outside the training range {self.minimum:g} to {self.maximum:g}"

    def codes(self, values: Sequence[Any]) -> Vector:
        """Values as a model takes them: None is NaN."""
        if self.missing:
            return np.array(values, dtype=np.float64)
        return np.fromiter(values, np.float64, len(values))  # faster, where none is None


class Category(BaseModel):
    """A feature that is one of some texts. A model takes it as its number among them, and as -1 what is none of them.

    Attributes:
        name, missing: as a number's.
        categories: those seen in training, in their order.
        counts: how many of the training rows had each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["category"] = "category"
    name: str = Field(min_length=1, max_length=200)
    missing: int = Field(default=0, ge=0)
    categories: tuple[str, ...] = Field(min_length=1)
    counts: tuple[int, ...]

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len(set(self.categories)) != len(self.categories) or len(self.counts) != len(self.categories):
            raise ValueError("the categories must differ, with a count each")
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
    def unusual(self) -> str:
        """What to say of another text."""
        return f"not one of the {len(self.categories)} categories seen in training"

    @cached_property
    def numbers(self) -> Mapping[str | None, float]:
        """The number of each category; of None, NaN."""
        return {None: math.nan} | {category: float(number) for number, category in enumerate(self.categories)}

    def codes(self, values: Sequence[Any]) -> Vector:
        """Values as a model takes them: None is NaN."""
        return np.array([self.numbers.get(value, UNKNOWN) for value in values], dtype=np.float64)


@dataclass(frozen=True)
class Rows:
    """Rows as they were received: what a model takes, and the texts of the categories by feature, for what is unknown
    is only a number to a model."""

    values: Matrix
    texts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> "Rows":
        """A part of them, in memory of its own."""
        return Rows(self.values[part].copy(), {name: list(texts[part]) for name, texts in self.texts.items()})


Feature = Annotated[Number | Category, Field(discriminator="kind")]

Value = float | str | None
"""What a caller sends for a feature."""


class InputWarning(BaseModel):
    """Something about an input that the caller should know, though it was answered."""

    model_config = ConfigDict(frozen=True)

    feature: str
    message: str


class Schema(BaseModel):
    """The features in the model's order, and the classes in the order of its probabilities."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    target: str
    features: tuple[Feature, ...] = Field(min_length=1)
    classes: tuple[str, ...] = Field(min_length=2)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def _ranges(self) -> tuple[tuple[str, float, float, str], ...]:
        return tuple((one.name, one.minimum, one.maximum, one.unusual) for one in self.features)

    @cached_property
    def is_plain(self) -> bool:
        """Whether every feature is a number that can't be missing: values are as the model takes them."""
        return all(isinstance(one, Number) and not one.missing for one in self.features)

    @cached_property
    def _numbered(self) -> tuple[tuple[int, Mapping[str | None, float]], ...]:
        """Where the categories are, and their numbers."""
        return tuple((at, one.numbers) for at, one in enumerate(self.features) if isinstance(one, Category))

    @cached_property
    def _with_gaps(self) -> tuple[int, ...]:
        """Where the numbers are that may be missing."""
        return tuple(at for at, one in enumerate(self.features) if isinstance(one, Number) and one.missing)

    def row(self, values: Mapping[str, Any]) -> list[float]:
        """A valid row as the model takes it, in the order of the features. What isn't there is missing."""
        if self.is_plain:
            return [values[name] for name in self.feature_names]
        found: list[Any] = list(map(values.get, self.feature_names))
        for at, numbers in self._numbered:
            found[at] = numbers.get(found[at], UNKNOWN)
        for at in self._with_gaps:
            if found[at] is None:
                found[at] = math.nan
        return found

    def fits(self, values: Mapping[str, Value]) -> bool:
        """Whether a record that somebody answered is one of this schema's."""
        known = {one.name: (one.missing, str if isinstance(one, Category) else float) for one in self.features}
        return values.keys() <= known.keys() and all(
            missing if (value := values.get(name)) is None else isinstance(value, kind)
            for name, (missing, kind) in known.items()
        )

    def rows(self, columns: Mapping[str, Sequence[Any]]) -> Rows:
        """Rows from valid columns of equal length, None where a value is missing."""
        values = np.column_stack([one.codes(columns[one.name]) for one in self.features])
        return Rows(values, {one.name: columns[one.name] for one in self.features if isinstance(one, Category)})

    def inputs(self, rows: Rows) -> list[dict[str, Value]]:
        """The rows as records, as they were received."""
        columns: list[Sequence[Value]] = []
        for feature, values in zip(self.features, rows.values.T, strict=True):
            if isinstance(feature, Category):
                columns.append(rows.texts[feature.name])
            else:
                plain = values.tolist()
                columns.append([None if math.isnan(one) else one for one in plain] if feature.missing else plain)
        return [dict(zip(self.feature_names, record, strict=True)) for record in zip(*columns, strict=True)]

    @cached_property
    def seen(self) -> Bounds:
        """The ranges seen in training."""
        return _bounds([(feature.minimum, feature.maximum) for feature in self.features])

    @cached_property
    def computable(self) -> Bounds:
        """The ranges in which the model can compute."""
        return _bounds([(feature.lowest, feature.highest) for feature in self.features])

    def warnings(self, row: Sequence[float]) -> tuple[InputWarning, ...]:
        """A warning for each value, as the model takes it, unlike those seen in training."""
        found: tuple[InputWarning, ...] = ()
        for value, (name, minimum, maximum, said) in zip(row, self._ranges, strict=True):
            if value < minimum or value > maximum:  # of NaN, which is missing, neither is true
                found += (InputWarning(feature=name, message=said.format(value)),)
        return found

    def rows_to_warn_of(self, rows: Matrix) -> list[int]:
        """The numbers of the rows, of shape (n, features), for which there are warnings."""
        seen = self.seen
        places = np.flatnonzero((rows < seen.lowest) | (rows > seen.highest)) // len(self.features)
        return list(dict.fromkeys(places.tolist()))


def _bounds(pairs: Sequence[tuple[float, float]]) -> Bounds:
    return Bounds(*np.ascontiguousarray(np.array(pairs).T))  # each in one piece, for compiled code reads them
