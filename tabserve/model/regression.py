"""Regression: the model predicts a number, and an interval in which the true value lies for a known share of the rows.

The outputs of the model are of shape (rows, 1): the numbers themselves.
"""

import itertools
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from tabserve.model.arrays import Matrix, Vector

if TYPE_CHECKING:
    from tabserve.model.task import Task


class NumberOutcome(NamedTuple):
    """The decision for one row.

    Attributes:
        prediction: the number.
        interval: its lower and its upper bound.
        task: the task of the model.
    """

    prediction: float
    interval: Sequence[float]
    task: "Regression"

    def reply(self) -> dict[str, object]:
        """The task's part of a reply, as a new dict."""
        return {"prediction": self.prediction, "interval": self.interval, "coverage": self.task.coverage}


@dataclass(frozen=True, slots=True)
class NumberOutcomes:
    """The decisions for many rows, as columns.

    Attributes:
        task: the task of the model.
        prediction: shape (rows,).
        interval: shape (rows, 2), the lower and the upper bounds.
    """

    task: "Regression"
    prediction: Vector
    interval: Matrix

    def __len__(self) -> int:
        return len(self.prediction)

    def __getitem__(self, rows: slice) -> "NumberOutcomes":
        """Some of the rows, copied into memory of their own."""
        return NumberOutcomes(self.task, self.prediction[rows].copy(), self.interval[rows].copy())

    def head(self) -> dict[str, object]:
        """What a batch reply says once."""
        return {"coverage": self.task.coverage}

    def columns(self) -> Mapping[str, Vector | Matrix]:
        """The columns of a batch reply, by key."""
        return {"prediction": self.prediction, "interval": self.interval}

    def outcomes(self) -> list[NumberOutcome]:
        """The decisions row by row."""
        pairs = zip(self.prediction.tolist(), self.interval.tolist(), strict=True)
        return [NumberOutcome(prediction, interval, self.task) for prediction, interval in pairs]


class Regression(BaseModel):
    """The model predicts a number.

    Attributes:
        target_minimum, target_maximum: the range of the target in the training rows.
        target_spread: its standard deviation there, by which differences of predictions are judged.
        target_deciles: its deciles there, ascending and different: the buckets in which predictions are counted.
        coverage: for which share of the rows the interval shall hold the true value.
        interval_bounds: the intervals' half widths depend on the prediction; these are the largest predictions of each
            group but the last, ascending.
        interval_radii: half the width of the intervals in each group. 0 before the intervals are measured.
        interval_minimum: no interval begins below; None if there is no such bound.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["regression"] = "regression"
    target_minimum: FiniteFloat
    target_maximum: FiniteFloat
    target_spread: FiniteFloat = Field(gt=0)
    target_deciles: tuple[FiniteFloat, ...]
    coverage: FiniteFloat = Field(default=0.9, gt=0, lt=1)
    interval_bounds: tuple[FiniteFloat, ...] = ()
    interval_radii: tuple[FiniteFloat, ...] = (0.0,)
    interval_minimum: FiniteFloat | None = None

    @model_validator(mode="after")
    def _are_consistent(self) -> Self:
        if len(self.interval_radii) != len(self.interval_bounds) + 1 or min(self.interval_radii) < 0:
            raise ValueError("each group of predictions needs half a width that isn't negative")
        for numbers in (self.target_deciles, self.interval_bounds):
            if any(one >= other for one, other in itertools.pairwise(numbers)):
                raise ValueError("deciles and bounds must ascend")
        return self

    @property
    def outputs(self) -> int:
        """How many numbers the model gives per row."""
        return 1

    @property
    def output_scale(self) -> float:
        """The size of outputs by which a difference from scikit-learn is judged."""
        return self.target_spread

    def decide(self, outputs: list[float]) -> NumberOutcome:
        """The number and the interval of one row."""
        (prediction,) = outputs
        radius = self.interval_radii[bisect_left(self.interval_bounds, prediction)]
        low = prediction - radius
        if self.interval_minimum is not None and low < self.interval_minimum:
            low = self.interval_minimum
        return NumberOutcome(prediction, [low, prediction + radius], self)

    def decide_rows(self, outputs: Matrix) -> NumberOutcomes:
        """The same for many rows: `outputs` has shape (rows, 1)."""
        prediction = np.ascontiguousarray(outputs[:, 0])
        radius = np.array(self.interval_radii)[np.searchsorted(self.interval_bounds, prediction)]
        low = prediction - radius
        if self.interval_minimum is not None:
            low = np.maximum(low, self.interval_minimum)
        return NumberOutcomes(self, prediction, np.column_stack([low, prediction + radius]))

    def difference_from(self, other: "Task") -> str | None:
        """How another task differs, in words; None if models of both can be compared row by row."""
        return None if other.kind == self.kind else "classes to predict; the champion predicts a number"
