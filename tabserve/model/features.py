"""The kinds of features: what callers may send for each, and as what the model takes it.

Numbers and categories stand here, `tabserve.model.boolean` and `tabserve.model.dates` have the others.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from tabserve.model.arrays import Vector
from tabserve.model.boolean import Boolean
from tabserve.model.dates import Date, DatePart, is_date

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


Feature = Annotated[Number | Category | Boolean | Date, Field(discriminator="kind")]

ModelFeature = Number | Category | Boolean | DatePart
"""What the model takes one number for."""


def keeps_texts(feature: Feature) -> bool:
    """Whether `Rows.texts` has the feature."""
    return isinstance(feature, Category | Date)


def model_features(feature: Feature) -> tuple[ModelFeature, ...]:
    """A feature in the form in which the model takes it: a date as its parts."""
    return feature.model_features if isinstance(feature, Date) else (feature,)


def training_range(feature: ModelFeature) -> tuple[float, float]:
    """The range outside of which the reply warns."""
    return feature.training_range if isinstance(feature, DatePart) else (feature.minimum, feature.maximum)


def fits(feature: Feature, value: Value) -> bool:
    """Whether a value that isn't missing is one for the feature."""
    match feature:
        case Category():
            return isinstance(value, str)
        case Boolean():
            return isinstance(value, bool) or (isinstance(value, str) and value in feature.texts)
        case Date():
            return isinstance(value, str) and is_date(value)
    return isinstance(value, float)


def takes_texts(feature: Feature, other: Feature) -> bool:
    """Whether a feature of booleans takes the texts of another one; other features are all the same in that."""
    return not (isinstance(feature, Boolean) and isinstance(other, Boolean)) or set(other.texts) <= set(feature.texts)
