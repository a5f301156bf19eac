"""Regression, for training: all that is true of numbers to predict only. The module is a `TaskTraining`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
from pandas.api.types import is_float_dtype
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_pinball_loss, r2_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeRegressor

from tabserve.errors import DataError
from tabserve.model import Estimate, Matrix, ModelMetadata, Regression, Vector
from tabserve.model.compiled import Link
from tabserve.training.columns import as_inferred
from tabserve.training.config import CRITERIA, POSITIVE_LOSSES, DecisionOptions, EstimatorConfig
from tabserve.training.conformal import grouped_quantiles
from tabserve.training.dataset import Dataset, RowNumbers
from tabserve.training.estimators import EstimatorType
from tabserve.training.estimators.boosting import BOOSTING
from tabserve.training.estimators.forest import NUMBER_FOREST
from tabserve.training.estimators.linear import RIDGE
from tabserve.training.number_formats import DecimalSign
from tabserve.training.proportion import proportion
from tabserve.training.tasks import METRICS

metrics = METRICS["regression"]

estimators: Mapping[str, EstimatorType] = {
    "random-forest": EstimatorType(RandomForestRegressor, NUMBER_FOREST),
    "extra-trees": EstimatorType(ExtraTreesRegressor, NUMBER_FOREST),
    "hist-gradient-boosting": EstimatorType(HistGradientBoostingRegressor, BOOSTING),
    "ridge": EstimatorType(Ridge, RIDGE),
}

estimator_step = "regressor"

LARGEST, SMALLEST_SPREAD = 1e30, 1e-30
"""The largest absolute value of a target, and its smallest standard deviation, with which every estimator can compute:
gradient boosting does so in float32."""

STRATIFIED_ROWS, STRATA = 1000, 10
"""With fewer rows, each fold gets its share of every tenth of the target's values."""

NEAR_ZERO = 1e-3
"""A true value below this share of the largest one makes a percentage of it meaningless."""

LEAKAGE_ROWS, LEAKAGE_FOLDS = 10_000, 3
"""Leakage is measured on at most so many rows, by cross-validation in so many folds."""


# -- the table


def read_target(column: pd.Series, decimal: DecimalSign | None = None, _has_types: bool = False) -> pd.Series:
    """The numbers; texts if some are no numbers, which `target_checks` reports."""
    return as_inferred(column, decimal)


def target_checks(target: pd.Series, rows_needed: int, fewest_rows: int) -> Iterator[pandera.Check]:
    """There are enough rows, and their values are finite numbers that differ."""
    name = target.name
    if not is_float_dtype(target.dtype):
        texts = target[pd.to_numeric(target, errors="coerce").isna()]
        message = (
            f"--task regression: the target {name!r} has {len(texts)} texts, the first {str(texts.iloc[0])[:40]!r} in "
            f"row {int(texts.index[0]) + 1}: repair them, or --task classification"
        )
        yield pandera.Check(lambda _: False, error=message)
        return
    largest = float(target.abs().max())
    if not largest <= LARGEST:
        message = f"the target {name!r} holds infinity or a number beyond {LARGEST:g}: repair or scale it"
        yield pandera.Check(lambda values: bool((values.abs() <= LARGEST).all()), error=message)
    elif not float(np.std(target.to_numpy())) > max(SMALLEST_SPREAD, 1e-12 * largest):
        message = f"the target {name!r} is the same number in all rows, or nearly so: there is nothing to predict"
        yield pandera.Check(lambda _: False, error=message)
    else:
        remedy = "use fewer --folds" if len(target) >= fewest_rows else "more rows are needed"
        message = f"the target {name!r} has {len(target)} rows, and needs {rows_needed}: {remedy}"
        yield pandera.Check(lambda values: len(values) >= rows_needed, error=message)


def config_problem(config: EstimatorConfig, target: pd.Series) -> str | None:
    """Estimators, weights and criteria for classes are refused, and a loss that the target doesn't allow."""
    number = f"{target.name!r} is a number to predict"
    advice = f"{number}: leave it out, or predict classes with --task classification"
    criterion, loss = config.hyperparameters.get("criterion"), config.hyperparameters.get("loss")
    if config.estimator not in estimators:
        others = f"use {', '.join(estimators)}, or --task classification"
        return f"--estimator {config.estimator} predicts classes; {number}: {others}"
    if "class_weight" in config.hyperparameters:
        return f"--class-weight is for classes; {advice}"
    if criterion is not None and criterion not in CRITERIA["regression"]:
        return f"--criterion {criterion} is for classes; {advice}"
    least = float(target.min())
    if (loss == "gamma" and least <= 0) or (loss == "poisson" and least < 0):
        bound = "above 0" if loss == "gamma" else "of at least 0"
        return f"--loss {loss} needs a target {bound}, and {target.name!r} has {least:g}: use another --loss"
    return None


def metric_problem(metric: str, target: pd.Series) -> str | None:
    """Metrics of classes are refused, and a percentage error where a true value is near 0."""
    if metric not in metrics.comparable:
        return f"--metric {metric} is for classes, and {target.name!r} is a number: use {', '.join(metrics.comparable)}"
    if metric == "mape" and not _has_percentages(target.to_numpy()):
        return f"--metric mape makes no sense: {target.name!r} has values near 0, of which no percentage can be given"
    return None


def rows_needed(_estimator: str, folds: int, test_size: float) -> int:
    """How many rows it takes so that each fold and the held-out rows get two of them."""
    return max(int(np.ceil(2 * folds / (1 - test_size))), int(np.ceil(2 / test_size)))


def model_task(target: pd.Series) -> Regression:
    """The range of the target. Its intervals aren't measured yet."""
    values = target.to_numpy()
    return Regression(
        target_minimum=float(values.min()),
        target_maximum=float(values.max()),
        target_spread=float(values.std()),
        target_deciles=tuple(np.unique(np.quantile(values, np.arange(1, 10) / 10, method="inverted_cdf")).tolist()),
    )


def decision_problem(options: DecisionOptions, _task: Regression) -> str | None:
    """There is no threshold for numbers."""
    if options.threshold is None:
        return None
    return "--threshold is for two classes, and a number is predicted: leave it out, or --task classification"


def calibrated(
    _task: Regression,
    training: pd.Series,
    measured: pd.Series,
    outputs: Matrix,
    options: DecisionOptions,
    loss: str | None = None,
) -> Regression:
    """The range of these training rows, and intervals as wide as the absolute errors that cross-validation found. With
    a loss of numbers that are never negative, no interval begins below 0.

    Raises:
        DataError: there are too few rows for the coverage.
    """
    predictions = outputs[:, 0]
    bounds, radii = grouped_quantiles(predictions, np.abs(measured.to_numpy() - predictions), options.coverage)
    intervals = {
        "interval_minimum": 0.0 if loss in POSITIVE_LOSSES else None,
        "coverage": options.coverage,
        "interval_bounds": tuple(bounds),
        "interval_radii": tuple(radii),
    }
    return Regression(**model_task(training).model_dump() | intervals)


def dataset_facts(_task: Regression) -> dict[str, int]:
    return {}


# -- rows


def strata(_target: pd.Series) -> None:
    """A split is drawn from all rows alike, so that the held-out rows tell what the intervals promise."""


def fold_rows(target: pd.Series, folds: int, seed: int) -> list[tuple[RowNumbers, RowNumbers]]:
    """Plain folds; in small tables each has its share of every tenth of the values.

    Raises:
        DataError: a fold would have fewer than two rows.
    """
    rows = len(target)
    if rows < 2 * folds:
        raise DataError(f"{folds} folds need {2 * folds} training rows, and there are {rows}: use fewer folds")
    if rows >= STRATIFIED_ROWS:
        return list(KFold(folds, shuffle=True, random_state=seed).split(np.zeros(rows)))
    order = target.rank(method="first").to_numpy().astype(np.intp) - 1
    groups = order * min(STRATA, rows // folds) // rows
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(rows), groups))


def resample_groups(truth: Vector) -> Sequence[RowNumbers]:
    """All rows are one group."""
    return [np.arange(len(truth))]


# -- a model


def score_link(estimator: Any) -> Link:
    """Gradient boosting adds up logarithms if its loss is one of positive numbers."""
    return "exp" if getattr(estimator, "loss", None) in POSITIVE_LOSSES else "identity"


def scores(_task: Regression) -> int:
    return 1


def outputs(pipeline: Pipeline, features: pd.DataFrame) -> Matrix:
    """The predicted numbers: shape (rows, 1).

    Raises:
        DataError: they are not finite.
    """
    predictions = np.asarray(pipeline.predict(features), dtype=np.float64)[:, np.newaxis]
    if not np.isfinite(predictions).all():
        raise DataError("the model predicts numbers that are not finite: use a smaller --learning-rate")
    return predictions


def true_values(target: pd.Series, _task: Regression) -> Vector:
    values: Vector = target.to_numpy()
    return values


def metric_value(metric: str, truth: Vector, outputs: Matrix, _task: Regression) -> float:
    """A metric of predictions of shape (rows, 1), for true values of shape (rows,).

    All are in the unit of the target, but R² and the mean absolute percentage error, which is a share (0.1 is 10 %). R²
    of rows with the same true value is 1 if they are predicted exactly, else 0.
    """
    errors = outputs[:, 0] - truth
    match metric:
        case "mae":
            return float(np.abs(errors).mean())
        case "rmse":
            return float(np.sqrt(np.square(errors).mean()))
        case "median_absolute_error":
            return float(np.median(np.abs(errors)))
        case "mape":
            return float(np.abs(errors / truth).mean()) if _has_percentages(truth) else float("nan")
    return _r2(truth, outputs[:, 0])


def _has_percentages(truth: Vector) -> bool:
    sizes = np.abs(truth)
    return bool(sizes.min() >= NEAR_ZERO * sizes.max() > 0)


def _r2(truth: Vector, predictions: Vector) -> float:
    return float(r2_score(truth, predictions))


def prediction_score(target: pd.Series, predictions: Vector) -> float:
    """R²."""
    return _r2(target.to_numpy(), predictions)


def changed_predictions(_expected: Matrix, _actual: Matrix, _task: Regression) -> int:
    """A number that differs by less than the tolerance is the same prediction."""
    return 0


@dataclass(frozen=True)
class IntervalResults:
    """What the intervals do on the held-out rows.

    Attributes:
        coverage: the share of the rows whose true value is in its interval, with its 95 % confidence interval.
        width: the mean width of the intervals.
        pinball_loss: the mean pinball loss of the two bounds, as the quantiles that they stand for (Koenker and Bassett
            1978).
    """

    coverage: Estimate
    width: float
    pinball_loss: float

    def named_metrics(self) -> dict[str, float]:
        return {
            "interval_coverage": self.coverage.value,
            "interval_width": self.width,
            "pinball_loss": self.pinball_loss,
        }

    def add_to(self, metadata: ModelMetadata, _target: pd.Series) -> ModelMetadata:
        return metadata.model_copy(update={"interval_coverage": self.coverage})


def results(truth: Vector, outputs: Matrix, task: Regression) -> IntervalResults:
    low, high = task.decide_rows(outputs).interval.T
    tail = (1 - task.coverage) / 2
    losses = [mean_pinball_loss(truth, bound, alpha=level) for bound, level in ((low, tail), (high, 1 - tail))]
    held = int(((low <= truth) & (truth <= high)).sum())
    return IntervalResults(proportion(held, len(truth)), float((high - low).mean()), float(np.mean(losses)))


# -- leakage


def leakage_sample(dataset: Dataset, seed: int) -> Dataset | None:
    """At most `LEAKAGE_ROWS` rows."""
    order = np.random.default_rng(seed).permutation(len(dataset))
    return dataset.part(np.sort(order[:LEAKAGE_ROWS]))


def leakage_score(column: pd.DataFrame, target: pd.Series, seed: int) -> float:
    """R² of a decision tree that sees this column only, by cross-validation; 0 instead of a negative one."""
    folds = KFold(LEAKAGE_FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(DecisionTreeRegressor(random_state=seed), column, target, cv=folds)
    return max(0.0, _r2(target.to_numpy(), predicted))
