"""What a model takes and gives: features with their ranges, classes by name. Knows nothing of tables, files or HTTP."""

from collections.abc import Mapping, Sequence

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

    def row(self, values: Mapping[str, float]) -> Matrix:
        """One record as a matrix of shape (1, features)."""
        return np.array([[values[feature.name] for feature in self.features]], dtype=np.float64)

    def matrix(self, columns: Mapping[str, Sequence[float]]) -> Matrix:
        """Columns of equal length as a matrix of shape (rows, features)."""
        return np.array([columns[feature.name] for feature in self.features], dtype=np.float64).T

    def warnings(self, row: Sequence[float]) -> tuple[InputWarning, ...]:
        """A warning for each value outside the range seen in training."""
        return tuple(
            InputWarning(
                feature=feature.name,
                message=f"{value:g} is outside the training range {feature.minimum:g} to {feature.maximum:g}",
            )
            for feature, value in zip(self.features, row, strict=True)
            if not feature.minimum <= value <= feature.maximum
        )
