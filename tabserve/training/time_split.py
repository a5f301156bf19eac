"""Splits by time: a model is measured on rows that are later than those it was fitted on, as when it is in use."""

import numpy as np
from sklearn.model_selection import TimeSeriesSplit

from tabserve.errors import DataError
from tabserve.training.dataset import Dataset, RowNumbers
from tabserve.training.tasks import task_training


def latest_rows(dataset: Dataset, test_size: float) -> tuple[RowNumbers, RowNumbers]:
    """The rows to train on, and the latest ones: about the share `test_size` of the rows, since rows of the same time
    stay together. `dataset` has an order.

    Raises:
        DataError: a part would be empty, or lack a class.
    """
    times = _times(dataset)
    boundary = np.sort(times)[min(len(times) - 1, int(len(times) * (1 - test_size)))]
    is_late = times >= boundary
    early, late = np.flatnonzero(~is_late), np.flatnonzero(is_late)
    if not len(early):
        raise DataError(f"--split-by {_name(dataset)!r} can't hold out {test_size:.0%}: too many rows are of one time")
    _require_groups(dataset, early, f"the rows before {_shown(boundary)}")
    _require_groups(dataset, late, f"the rows from {_shown(boundary)} on, which are held out,")
    return early, late


def time_folds(dataset: Dataset, folds: int) -> list[tuple[RowNumbers, RowNumbers]]:
    """For each fold the rows to fit on, and the next ones in time, to measure on. The first rows are in no fold's
    second part.

    Raises:
        DataError: there are too few rows, or a part would lack a class.
    """
    ordered = np.argsort(_times(dataset), kind="stable")
    if len(ordered) <= folds:
        raise DataError(f"{folds} folds need more than {folds} rows: use fewer --folds")
    pairs = [(np.sort(ordered[inside]), ordered[outside]) for inside, outside in TimeSeriesSplit(folds).split(ordered)]
    for number, pair in enumerate(pairs, 1):
        for rows in pair:
            _require_groups(dataset, rows, f"the rows of fold {number} of {folds} in time")
    return pairs


def _times(dataset: Dataset) -> np.ndarray:
    if dataset.order is None:
        raise ValueError("the table has no order")
    return dataset.order.to_numpy()


def _require_groups(dataset: Dataset, rows: RowNumbers, which: str) -> None:
    task = task_training(dataset.task.kind)
    groups = [
        len(task.resample_groups(task.true_values(part.target, part.task))) for part in (dataset, dataset.part(rows))
    ]
    if groups[1] < groups[0]:
        raise DataError(
            f"--split-by {_name(dataset)!r}: {which} have only {groups[1]} of {groups[0]} classes: use fewer --folds, "
            "another --test-size, or no --split-by"
        )


def _name(dataset: Dataset) -> str:
    return "" if dataset.order is None else str(dataset.order.name)


def _shown(time: object) -> str:
    return str(time).replace("T00:00:00.000000", "")
