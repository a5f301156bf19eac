"""Cross-validation: how good a config is on rows that it wasn't fitted on, before a model is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import joblib
import numpy as np
import pandas as pd

from tabserve.model import Matrix, Task
from tabserve.training.config import EstimatorConfig
from tabserve.training.dataset import Dataset, RowNumbers
from tabserve.training.estimators import build
from tabserve.training.evaluation import score
from tabserve.training.fitting import fit, useful_own_threads, useful_threads
from tabserve.training.pipeline import pipeline_outputs
from tabserve.training.progress import JointProgress, ReportProgress, ignore_progress
from tabserve.training.tasks import task_training
from tabserve.training.time_split import time_folds

UNMEASURED = -1
"""The number of the fold of a row that no fold is measured on."""


@dataclass(frozen=True)
class CrossValidation:
    """The outputs for each row from the model that wasn't fitted on it, and what they are worth.

    Attributes:
        outputs: shape (rows, outputs). If the folds go forward in time, there are none for the first rows.
        target: shape (rows,), the true values of these rows.
        fold: shape (rows,), the number of the fold that each of these rows was measured in.
        task: decides what an output says.
    """

    outputs: Matrix
    target: pd.Series
    fold: RowNumbers
    task: Task

    def with_task(self, task: Task) -> "CrossValidation":
        """The same outputs, measured with another task of the same kind."""
        return replace(self, task=task)

    @cached_property
    def folds(self) -> Mapping[str, list[float]]:
        """Metric → one value per fold, for the metrics that are defined for the rows of every fold."""
        rows_of_folds = [np.flatnonzero(self.fold == number) for number in range(int(self.fold.max()) + 1)]
        scores = [score(self.target.iloc[rows], self.outputs[rows], self.task) for rows in rows_of_folds]
        defined = [metric for metric in scores[0] if all(metric in values for values in scores)]
        return {metric: [values[metric] for values in scores] for metric in defined}

    def mean(self, metric: str) -> float:
        return float(np.mean(self.folds[metric]))

    def deviation(self, metric: str) -> float:
        """The sample standard deviation over the folds."""
        return float(np.std(self.folds[metric], ddof=1))

    def summary(self) -> dict[str, float]:
        """Mean and deviation of every metric, as `cv_…_mean` and `cv_…_std`."""
        values: dict[str, float] = {}
        for name in self.folds:
            values |= {f"cv_{name}_mean": self.mean(name), f"cv_{name}_std": self.deviation(name)}
        return values


def cross_validate(
    dataset: Dataset,
    config: EstimatorConfig,
    folds: int,
    seed: int,
    report_progress: ReportProgress = ignore_progress,
) -> CrossValidation:
    """k-fold cross-validation; preprocessing and estimator are fitted inside each fold. If the table has an order, the
    folds go forward in time.

    Raises:
        DataError: there are too few rows for so many folds.
    """
    task = task_training(dataset.task.kind)
    is_ordered = dataset.order is not None
    fold_rows = time_folds(dataset, folds) if is_ordered else task.fold_rows(dataset.target, folds, seed)
    threads = useful_threads(dataset, build(config, seed, dataset.task.kind))
    parallel_folds = min(folds, threads)
    progress = JointProgress(folds, report_progress)

    def outputs_of_fold(number: int, inside: RowNumbers, outside: RowNumbers) -> Matrix:
        threads_of_fold = -(-threads // parallel_folds)
        pipeline = fit(dataset.part(inside), config, seed, partial(progress, number), threads_of_fold)
        with useful_own_threads(dataset):
            return pipeline_outputs(pipeline, dataset.features.iloc[outside], dataset.task.kind, threads=1)

    # threads, because the slow parts release the GIL, and each process would need a copy of the rows
    fold_outputs = joblib.Parallel(parallel_folds, prefer="threads")(
        joblib.delayed(outputs_of_fold)(number, *rows) for number, rows in enumerate(fold_rows)
    )
    outputs = np.empty((len(dataset), dataset.task.outputs))
    fold = np.full(len(dataset), UNMEASURED)
    for number, ((_, outside), own_outputs) in enumerate(zip(fold_rows, fold_outputs, strict=True)):
        outputs[outside], fold[outside] = own_outputs, number
    measured = np.flatnonzero(fold != UNMEASURED)
    return CrossValidation(outputs[measured], dataset.target.iloc[measured], fold[measured], dataset.task)
