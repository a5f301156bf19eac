"""What an `EstimatorConfig` builds, with bounds on what that may cost. Fits nothing."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import joblib

from tabserve.model import Task
from tabserve.model.compiled import NODE
from tabserve.training.config import HYPERPARAMETERS, ONE_TASK, EstimatorConfig
from tabserve.training.estimators.family import Family
from tabserve.training.tasks import METRICS, TaskKind, task_training

MAX_TREE_BYTES = 100 * 10**6
"""The most memory for all trees of a compiled model, unless the leaves are limited by hand. A server holds two models
during a swap, and scikit-learn's own model takes five times as much."""


def build(config: EstimatorConfig, seed: int, kind: TaskKind) -> Any:
    """The estimator, unfitted."""
    sklearn_type, family = task_training(kind).estimators[config.estimator]
    return sklearn_type(**{**family.defaults, **config.hyperparameters}, random_state=seed)


def all_hyperparameters(config: EstimatorConfig, kind: TaskKind) -> dict[str, Any]:
    """Every hyperparameter that can be set, with its value."""
    values = build(config, 0, kind).get_params()
    return {name: values[name] for name in HYPERPARAMETERS[config.estimator] if ONE_TASK.get(name, kind) == kind}


def family_of(estimator: Any) -> Family:
    """The family of an estimator, fitted or not."""
    types = [entry for kind in METRICS for entry in task_training(kind).estimators.values()]
    return next(entry.family for entry in types if isinstance(estimator, entry.sklearn_type))


def threads_for(estimator: Any) -> int:
    """How many threads may use it at the same time: one per core; or one if it has threads of its own, which would
    compete for the cores."""
    return 1 if family_of(estimator).has_own_threads else int(joblib.cpu_count())


def with_leaf_limit(
    config: EstimatorConfig, rows: int, task: Task, set_by_hand: Collection[str] | None = None
) -> EstimatorConfig:
    """The config, with a limit on the leaves of each tree if the trees could take more than `MAX_TREE_BYTES`.

    A limit that is among the hyperparameters `set_by_hand` (default: all that the config sets) stays. A tree has at
    most as many leaves as rows, twice as many for each level of depth, and less than twice as many nodes as leaves.
    """
    training, estimator = task_training(task.kind), build(config, 0, task.kind)
    family = family_of(estimator)
    if not family.tree_count or "max_leaf_nodes" in (config.hyperparameters if set_by_hand is None else set_by_hand):
        return config
    trees = getattr(estimator, family.tree_count) * (training.scores(task) if family.tree_per_score else 1)
    limit = max(2, MAX_TREE_BYTES // ((2 * NODE.itemsize + 8 * task.outputs) * trees))
    by_depth = 2 ** min(estimator.max_depth or 64, 64)
    leaves = min(rows // estimator.min_samples_leaf, by_depth, estimator.max_leaf_nodes or rows)
    if leaves <= limit:
        return config
    return replace(config, hyperparameters={**config.hyperparameters, "max_leaf_nodes": limit})
