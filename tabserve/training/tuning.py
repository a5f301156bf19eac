"""Which hyperparameters to try next, and which were the best so far. Knows no table: it is told how good each was."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from tabserve.errors import DataError
from tabserve.training.config import EstimatorConfig
from tabserve.training.evaluation import LOWER_IS_BETTER, is_better

optuna.logging.set_verbosity(optuna.logging.WARNING)  # train_model.py tells of each trial itself

FOREST_SPACE: Mapping[str, tuple[BaseDistribution, Any]] = {
    "max_depth": (CategoricalDistribution((None, 4, 8, 16, 32)), None),
    "min_samples_leaf": (IntDistribution(1, 32, log=True), 1),
    "max_features": (CategoricalDistribution(("sqrt", "log2", 0.5, 1.0)), "sqrt"),
    "criterion": (CategoricalDistribution(("gini", "entropy")), "gini"),
}

SPACES: Mapping[str, Mapping[str, tuple[BaseDistribution, Any]]] = {
    "random-forest": FOREST_SPACE,
    "extra-trees": FOREST_SPACE,
    "hist-gradient-boosting": {
        "learning_rate": (FloatDistribution(0.01, 0.5, log=True), 0.1),
        "max_iter": (IntDistribution(25, 400, log=True), 100),
        "max_leaf_nodes": (IntDistribution(4, 128, log=True), 31),
        "min_samples_leaf": (IntDistribution(2, 100, log=True), 20),
        "l2_regularization": (CategoricalDistribution((0.0, 0.01, 0.1, 1.0, 10.0)), 0.0),
    },
    "logistic-regression": {"C": (FloatDistribution(1e-3, 1e3, log=True), 1.0)},
}
"""Estimator → hyperparameter → what it may be, and what it is first. Of a forest not the number of trees: more of them
are never worse, only slower."""


@dataclass(frozen=True)
class Trial:
    """A recipe that was tried, with its number, from 1 on, and how good it was."""

    number: int
    recipe: EstimatorConfig
    value: float


class Search:
    """Tries the recipe as it was given first, and then what Optuna's sampler makes of the answers so far (TPE, Bergstra
    et al. 2011). The same answers and the same seed give the same questions."""

    def __init__(self, recipe: EstimatorConfig, metric: str, seed: int) -> None:
        """What `recipe` gives stays as it is. `metric` is one of `quality.METRICS`.

        Raises:
            DataError: it leaves nothing open.
        """
        self._recipe, self._metric = recipe, metric
        self._space = {name: axis for name, axis in SPACES[recipe.estimator].items() if name not in recipe.given}
        if not self._space:
            raise DataError(f"--search has nothing to try: {', '.join(SPACES[recipe.estimator])} are all given")
        direction: Literal["minimize", "maximize"] = "minimize" if metric in LOWER_IS_BETTER else "maximize"
        self._study = optuna.create_study(direction=direction, sampler=TPESampler(seed=seed))
        self._study.enqueue_trial({name: first for name, (_, first) in self._space.items()})
        self.trials: list[Trial] = []
        self.best: Trial
        self._asked: optuna.Trial

    def ask(self) -> EstimatorConfig:
        """What to try next. `tell` answers it, before the next is asked."""
        self._asked = self._study.ask({name: distribution for name, (distribution, _) in self._space.items()})
        return replace(self._recipe, given={**self._recipe.given, **self._asked.params})

    def tell(self, recipe: EstimatorConfig, value: float) -> Trial:
        """How good it was by the metric, and what it was in the end. Returns the best so far; of equals the first."""
        trial = Trial(len(self.trials) + 1, recipe, value)
        if math.isfinite(value):
            self._study.tell(self._asked, value)
        else:
            self._study.tell(self._asked, state=TrialState.FAIL)
        if not self.trials or is_better(self._metric, value, self.best.value):
            self.best = trial
        self.trials.append(trial)
        return self.best
