"""What a model takes and gives: features with their ranges, classes by name. Knows nothing of tables, files or HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Matrix = NDArray[np.float64]
"""Rows of feature values, shape (rows, features), float64, in the order of `Schema.features`."""


@dataclass(frozen=True, eq=False)  # what a schema caches takes part in its ==, where arrays have no truth value
class Bounds:
    """The least and the largest value of each feature, both included; each of shape (features,)."""

    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]


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

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def _ranges(self) -> tuple[tuple[str, float, float, str], ...]:
        said = "is outside the training range {0.minimum:g} to {0.maximum:g}"
        return tuple((one.name, one.minimum, one.maximum, said.format(one)) for one in self.features)

    @cached_property
    def seen(self) -> Bounds:
        """The ranges seen in training."""
        return _bounds([(feature.minimum, feature.maximum) for feature in self.features])

    @cached_property
    def computable(self) -> Bounds:
        """The ranges in which the model can compute."""
        return _bounds([(feature.lowest, feature.highest) for feature in self.features])

    def warnings(self, row: Sequence[float]) -> tuple[InputWarning, ...]:
        """A warning for each value outside the range seen in training."""
        found: tuple[InputWarning, ...] = ()
        for value, (name, minimum, maximum, said) in zip(row, self._ranges, strict=True):
            if not minimum <= value <= maximum:
                found += (InputWarning(feature=name, message=f"{value:g} {said}"),)
        return found

    def rows_to_warn_of(self, rows: Matrix) -> list[int]:
        """The numbers of the rows, of shape (n, features), for which there are warnings."""
        seen = self.seen
        places = np.flatnonzero((rows < seen.lowest) | (rows > seen.highest)) // len(self.features)
        return list(dict.fromkeys(places.tolist()))


def _bounds(pairs: Sequence[tuple[float, float]]) -> Bounds:
    return Bounds(*np.array(pairs).T)
