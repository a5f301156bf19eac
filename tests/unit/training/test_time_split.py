"""Splits by time: what is measured is later than what was fitted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tabserve.errors import DataError
from tabserve.training import DecisionOptions, EstimatorConfig, regression
from tabserve.training.cross_validation import cross_validate
from tabserve.training.dataset import Dataset, load_iris, split
from tabserve.training.time_split import time_folds
from tests.support import number_tables

SMALL = EstimatorConfig(hyperparameters={"n_estimators": 2})


def ordered(times: np.ndarray | None = None) -> Dataset:
    """Iris in some order of time; all species come at all times."""
    rng = np.random.default_rng(0)
    return replace(load_iris(), order=pd.Series(rng.permutation(150) if times is None else times, name="when"))


def test_latest_rows_are_held_out() -> None:
    """Every held-out row is later than every training row, and they are the share that was asked for."""
    parts = split(ordered(), 0.2, seed=1)
    assert parts.training.order is not None
    assert parts.held_out.order is not None
    assert parts.training.order.max() < parts.held_out.order.min()
    assert len(parts.held_out) == 30
    assert len(parts.training) == 120


def test_rows_of_one_time_stay_together() -> None:
    """No time is on both sides, even if more rows are held out for it."""
    times = np.random.default_rng(0).permutation(np.repeat([1, 2, 3], 50))
    parts = split(ordered(times), 0.2, seed=1)
    assert parts.held_out.order is not None
    assert parts.held_out.order.unique().tolist() == [3]
    with pytest.raises(DataError, match="--split-by 'when' can't hold out 20%: too many rows are of one time"):
        split(ordered(np.ones(150)), 0.2, seed=1)


def test_folds_go_forward_in_time() -> None:
    """In each fold every row that is measured is later than every row that is fitted on, and the last fold ends with
    the last row."""
    table = ordered()
    assert table.order is not None
    folds = time_folds(table, 4)
    assert len(folds) == 4
    for inside, outside in folds:
        assert table.order[inside].max() < table.order[outside].min()
    assert max(table.order[outside].max() for _, outside in folds) == 149


def test_validation_has_the_rows_that_were_measured() -> None:
    """The outputs of a validation in time are those of the later rows, with their true values."""
    table = ordered()
    validation = cross_validate(table, SMALL, 4, seed=0)
    measured = np.sort(np.concatenate([outside for _, outside in time_folds(table, 4)]))
    assert validation.outputs.shape == (len(measured), 3)
    pd.testing.assert_series_equal(validation.target, table.target.iloc[measured])
    assert validation.outputs.sum(axis=1) == pytest.approx(np.ones(len(measured)))


def test_numbers_are_predicted_forward_in_time() -> None:
    """A table with a number to predict is split by time, too, and its intervals come from the rows that were
    measured."""
    table = number_tables.as_dataset(number_tables.taxis(300), "fare_amount")
    table = replace(table, order=pd.Series(range(300), name="when"))
    parts = split(table, 0.2, seed=0)
    validation = cross_validate(parts.training, SMALL, 4, seed=0)
    target = parts.training.target
    task = regression.calibrated(
        regression.model_task(target), target, validation.target, validation.outputs, DecisionOptions()
    )
    assert (task.target_minimum, task.target_maximum) == (target.min(), target.max())
    assert len(validation.target) == 192


def test_part_that_lacks_a_class_is_refused() -> None:
    """If a class comes only early, nothing can be measured on later rows, and the message says what to do."""
    with pytest.raises(DataError, match="which are held out, have only 1 of 3 classes: use fewer --folds"):
        split(ordered(np.arange(150)), 0.2, seed=0)
    with pytest.raises(DataError, match="the rows of fold 1 of 5 in time have only 1 of 3 classes"):
        time_folds(ordered(np.arange(150)), 5)
    with pytest.raises(DataError, match="use fewer --folds"):
        time_folds(ordered(), 150)
