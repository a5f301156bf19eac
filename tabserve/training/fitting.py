"""Fits a pipeline, with all cores. Touches no disk, no MLflow and no figure."""

from contextlib import AbstractContextManager
from typing import Any

from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from tabserve.training.config import EstimatorConfig
from tabserve.training.dataset import Dataset
from tabserve.training.estimators import family_of, threads_for
from tabserve.training.pipeline import build_pipeline
from tabserve.training.progress import ReportProgress, ignore_progress

SMALL = 2000
"""Below this number of rows one thread is faster than two, because fitting is mostly Python then. Measured on two
cores: 150 rows take 1.4 times as long with two threads as with one, 1,000 rows as long, 4,000 rows two thirds."""


def fit(
    dataset: Dataset,
    config: EstimatorConfig,
    seed: int,
    report_progress: ReportProgress = ignore_progress,
    threads: int | None = None,
) -> Pipeline:
    """A fitted pipeline of preprocessing and estimator.

    The same table, config and seed give the same pipeline, with any number of `threads` (default: one per core, but one
    for a small table).
    """
    pipeline = build_pipeline(dataset, config, seed)
    columns = pipeline[:-1].fit_transform(dataset.features, dataset.target)
    estimator = pipeline[-1]
    family = family_of(estimator)
    if family.takes_threads:
        estimator.set_params(n_jobs=threads or useful_threads(dataset, estimator))
    with useful_own_threads(dataset):
        family.fit(estimator, columns, dataset.target, report_progress)
    if family.takes_threads:
        estimator.set_params(n_jobs=1)  # threads that predict add up outputs in any order, and so round differently
    return pipeline


def useful_threads(dataset: Dataset, estimator: Any) -> int:
    """With how many threads fitting is fastest."""
    return 1 if len(dataset) < SMALL else threads_for(estimator)


def useful_own_threads(dataset: Dataset) -> AbstractContextManager[object]:
    """Inside of it, gradient boosting uses as many threads of its own as are fastest. The results are the same.

    Its threads wait for each other at each of many small steps. On busy cores, cross-validation of 273 rows took 12 s
    with two threads and takes 1 s with one.
    """
    limits: AbstractContextManager[object] = threadpool_limits(1 if len(dataset) < SMALL else None, user_api="openmp")
    return limits
