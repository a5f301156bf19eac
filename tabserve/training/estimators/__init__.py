"""Estimators: a file per family, and the catalog of what a config builds.

A new estimator is an entry in the `estimators` of its task and in `config.HYPERPARAMETERS`; and a file here if it isn't
fitted and compiled like one that exists.
"""

from tabserve.training.estimators.catalog import (
    all_hyperparameters,
    build,
    family_of,
    threads_for,
    with_leaf_limit,
)
from tabserve.training.estimators.family import EstimatorType, Family

__all__ = [
    "EstimatorType", "Family", "all_hyperparameters", "build", "family_of", "threads_for", "with_leaf_limit",
]  # fmt: skip
