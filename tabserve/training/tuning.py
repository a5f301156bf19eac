"""The search for hyperparameters: which to try next, and the best so far. Sees no table: the caller reports how good
each config was."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from tabserve.errors import DataError
from tabserve.training.config import EstimatorConfig
from tabserve.training.estimators.family import Axis, Choice, WholeRange
from tabserve.training.tasks import METRICS, TaskKind, task_training

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the command reports each trial itself


@dataclass(frozen=True)
class Trial:
    """A config that was tried: its number, from 1 on, and the value of its metric."""

    number: int
    config: EstimatorConfig
    value: float


class Search:
    """Suggests first the config with default values, then what Optuna's sampler makes of the values so far (TPE,
    Bergstra et al. 2011). The same values and the same seed give the same suggestions."""

    def __init__(self, config: EstimatorConfig, metric: str, seed: int, kind: TaskKind = "classification") -> None:
        """The hyperparameters that `config` sets stay as they are.

        Raises:
            DataError: the config sets all hyperparameters that could be tried.
        """
        self._config, self._metric, self._metrics = config, metric, METRICS[kind]
        space = task_training(kind).estimators[config.estimator].family.space
        self._space = {name: axis for name, axis in space.items() if name not in config.hyperparameters}
        if not self._space:
            raise DataError(f"--search has nothing to try: {', '.join(space)} are all set")
        lower = metric in self._metrics.lower_is_better
        direction: Literal["minimize", "maximize"] = "minimize" if lower else "maximize"
        self._study = optuna.create_study(direction=direction, sampler=TPESampler(seed=seed))
        self._study.enqueue_trial({name: axis.first for name, axis in self._space.items()})
        self._suggested: optuna.Trial
        self.trials: list[Trial] = []
        self.best: Trial

    def suggest(self) -> EstimatorConfig:
        """The config to try next. `record` comes before the next suggestion."""
        self._suggested = self._study.ask({name: _distribution(axis) for name, axis in self._space.items()})
        return replace(self._config, hyperparameters={**self._config.hyperparameters, **self._suggested.params})

    def record(self, config: EstimatorConfig, value: float) -> Trial:
        """Records the metric of the suggestion, and the config that was tried in the end. Returns the best trial so
        far; of equal ones the first."""
        trial = Trial(len(self.trials) + 1, config, value)
        if math.isfinite(value):
            self._study.tell(self._suggested, value)
        else:
            self._study.tell(self._suggested, state=TrialState.FAIL)
        if not self.trials or self._metrics.is_better(self._metric, value, self.best.value):
            self.best = trial
        self.trials.append(trial)
        return self.best


def _distribution(axis: Axis) -> BaseDistribution:
    if isinstance(axis, Choice):
        return CategoricalDistribution(axis.values)
    if isinstance(axis, WholeRange):
        return IntDistribution(axis.low, axis.high, log=True)
    return FloatDistribution(axis.low, axis.high, log=True)
