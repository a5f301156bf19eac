"""Prediction records as inference makes them, without a model."""

import numpy as np

from tabserve.inference.records import BatchPrediction, Prediction
from tabserve.model.features import Number
from tabserve.model.regression import Regression
from tabserve.model.schema import Rows, Schema
from tabserve.model.task import Classification, ClassOutcome, ClassOutcomes

NUMBER = Regression(target_minimum=0, target_maximum=9, target_spread=2.0, target_deciles=(1.0, 2.0, 4.0))
"""The task of a model of a number."""


class Clock:
    """A clock that a test sets: `now`, in seconds."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def prediction(number: int) -> Prediction:
    """The record of one row; its id is the number, and its time is so many seconds after the new year of 2026."""
    time = f"2026-01-01T00:{number // 60:02}:{number % 60:02}+00:00"
    return Prediction(str(number), time, "20260101_000000", {}, ClassOutcome(0, (1.0,), 1.0, "a", ("a",), 0.9), (), 0.1)


def number_prediction(number: int) -> Prediction:
    """The same record of a model of a number."""
    return prediction(number)._replace(outcome=NUMBER.decide([float(number)]))


def batch(rows: int, second: int) -> BatchPrediction:
    """The record of a batch of so many rows, all of class `a`; the second is its time and a part of its id."""
    time = f"2026-01-01T00:00:{second:02}+00:00"
    feature = Number(name="x", minimum=0, maximum=1e9, mean=1, lowest=-1e9, highest=1e9)
    task = Classification(classes=("a", "b"))
    schema = Schema(target="kind", features=(feature,), task=task)
    zeros, column = np.zeros(rows, dtype=np.intp), np.arange(float(rows))
    outcomes = ClassOutcomes(task, zeros, np.ones((rows, 2)), column)
    return BatchPrediction(f"b{second}", time, "20260101_000000", schema, Rows(column[:, None]), outcomes, 0.1)
