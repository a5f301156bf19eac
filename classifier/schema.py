"""What a model takes and gives: features with their ranges, classes by name. Knows nothing of tables, files or HTTP."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Matrix = NDArray[np.float64]
"""Rows of feature values, shape (rows, features), float64, in the order of `Schema.features`."""


class Feature(BaseModel):
    """A numeric feature.

    Attributes:
        name: as callers write it.
        minimum, maximum: the range seen in training; outside it the model extrapolates, and a reply warns.
        mean: of the training rows; the documentation's example.
        lowest, highest: the range in which the model can compute; outside it a value is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=200)
    minimum: FiniteFloat
    maximum: FiniteFloat
    mean: FiniteFloat
    lowest: FiniteFloat
    highest: FiniteFloat


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

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def _ranges(self) -> tuple[tuple[str, float, float], ...]:
        return tuple((feature.name, feature.minimum, feature.maximum) for feature in self.features)

    def warnings(self, row: Sequence[float]) -> tuple[InputWarning, ...]:
        """A warning for each value outside the range seen in training."""
        found: tuple[InputWarning, ...] = ()
        for value, (name, minimum, maximum) in zip(row, self._ranges, strict=True):
            if not minimum <= value <= maximum:
                message = f"{value:g} is outside the training range {minimum:g} to {maximum:g}"
                found += (InputWarning(feature=name, message=message),)
        return found

    def rows_to_warn_of(self, rows: Matrix) -> list[int]:
        """The numbers of the rows, of shape (n, features), for which there are warnings."""
        minimum, maximum = np.array([bounds[1:] for bounds in self._ranges]).T
        outside: list[int] = np.flatnonzero(((rows < minimum) | (rows > maximum)).any(axis=1)).tolist()
        return outside
