"""What can be trained, by name: estimators and those of their hyperparameters that can be chosen. Imports nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FOREST = (
    "n_estimators", "max_depth", "max_leaf_nodes", "min_samples_split", "min_samples_leaf", "max_features", "criterion",
)  # fmt: skip

HYPERPARAMETERS: Mapping[str, tuple[str, ...]] = {
    "random-forest": (*FOREST, "class_weight"),
    "extra-trees": (*FOREST, "class_weight"),
    "hist-gradient-boosting": (
        "max_iter", "max_depth", "min_samples_leaf", "max_leaf_nodes", "learning_rate", "l2_regularization",
        "class_weight",
    ),
    "logistic-regression": ("C", "max_iter", "class_weight"),
}  # fmt: skip
"""Estimator → what can be chosen of it, under scikit-learn's names."""


@dataclass(frozen=True)
class EstimatorConfig:
    """An estimator, by its name in `HYPERPARAMETERS`, and those of its hyperparameters that aren't the defaults."""

    estimator: str = "random-forest"
    given: Mapping[str, Any] = field(default_factory=dict)
