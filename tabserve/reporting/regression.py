"""Regression, for reports: its plots, its part of the model card, and its lines in the terminal.

The module is a `TaskReporting`.
"""

from collections.abc import Iterator
from functools import partial
from typing import cast

import numpy as np
from matplotlib.axes import Axes

from tabserve.model import Estimate, ModelMetadata, Regression, Schema, Vector
from tabserve.reporting.plots import COLOURS
from tabserve.reporting.tasks import Draw
from tabserve.reporting.text import number_text
from tabserve.training import METRICS, metric_text
from tabserve.training.dataset import Dataset
from tabserve.training.estimators import Family
from tabserve.training.result import TrainingResult

summary_metrics = METRICS["regression"].names

run_metrics = ("test_mae", "test_rmse", "test_r2", "cv_rmse_mean")

MAX_POINTS = 5000
"""A plot shows at most so many rows."""

DECILES = 10

TITLES = {"mae": "MAE", "rmse": "RMSE", "r2": "R²", "mape": "MAPE"}


# -- plots


def plots(result: TrainingResult, _metadata: ModelMetadata) -> Iterator[tuple[str, Draw]]:
    task = cast("Regression", result.schema.task)
    truth, predictions = result.split.held_out.target.to_numpy(), result.evaluation.outputs[:, 0]
    yield "predicted_and_actual", partial(draw_predicted, truth=truth, predictions=predictions, task=task)
    yield "residuals", partial(draw_residuals, truth=truth, predictions=predictions, task=task)
    truth, predictions = result.validation.target.to_numpy(), result.validation.outputs[:, 0]
    yield "error_by_decile", partial(draw_error_by_decile, truth=truth, predictions=predictions)


def draw_predicted(axes: Axes, truth: Vector, predictions: Vector, task: Regression) -> None:
    """The true number against the predicted one, with the intervals. Both arrays have shape (rows,)."""
    _draw_intervals(axes, predictions, task, centre=predictions)
    ends = [min(truth.min(), predictions.min()), max(truth.max(), predictions.max())]
    axes.plot(ends, ends, color="0.4", linestyle="--", linewidth=1, label="exact")
    _draw_rows(axes, predictions, truth)
    axes.set(title=f"Predicted and actual ({len(truth)} held-out rows)", xlabel="predicted", ylabel="actual")
    axes.legend(frameon=False, loc="upper left")


def draw_residuals(axes: Axes, truth: Vector, predictions: Vector, task: Regression) -> None:
    """What was missed, against the predicted number. Both arrays have shape (rows,)."""
    _draw_intervals(axes, predictions, task, centre=np.zeros(len(predictions)))
    axes.axhline(0, color="0.4", linestyle="--", linewidth=1, label="exact")
    _draw_rows(axes, predictions, truth - predictions)
    axes.set(title=f"Residuals ({len(truth)} held-out rows)", xlabel="predicted", ylabel="actual minus predicted")
    axes.legend(frameon=False, loc="upper left")


def draw_error_by_decile(axes: Axes, truth: Vector, predictions: Vector) -> None:
    """The mean absolute error of every tenth of the predictions. Both arrays have shape (rows,)."""
    parts = np.array_split(np.argsort(predictions, kind="stable"), min(DECILES, len(predictions)))
    errors = [np.abs(truth[part] - predictions[part]).mean() for part in parts]
    axes.bar(range(len(parts)), errors, color=COLOURS[0])
    axes.set(
        title=f"Mean absolute error ({len(truth)} cross-validated rows)",
        xlabel="every tenth of the predictions: the mean prediction",
        ylabel="mean absolute error",
        xticks=range(len(parts)),
        xticklabels=[f"{predictions[part].mean():.5g}" for part in parts],
    )
    axes.tick_params(axis="x", labelrotation=30)


def _draw_rows(axes: Axes, x: Vector, y: Vector) -> None:
    rows = np.linspace(0, len(x) - 1, min(len(x), MAX_POINTS)).astype(int)
    axes.scatter(x[rows], y[rows], s=9, color=COLOURS[0], alpha=0.5, linewidths=0)


def _draw_intervals(axes: Axes, predictions: Vector, task: Regression, centre: Vector) -> None:
    order = np.argsort(predictions)
    low, high = (task.decide_rows(predictions[order, np.newaxis]).interval - predictions[order, np.newaxis]).T
    label = f"{task.coverage:.0%} intervals"
    x, centre = predictions[order], centre[order]
    axes.fill_between(x, centre + low, centre + high, color=COLOURS[5], alpha=0.25, linewidth=0, label=label)


# -- the terminal


def describe_target(dataset: Dataset) -> str:
    target = dataset.target
    return (
        f"{target.name} is a number from {number_text(target.min())} to {number_text(target.max())}, "
        f"mean {number_text(target.mean(), 4)}\n"
        f"  a number, because {dataset.task_reason}: --task classification predicts classes"
    )


def dataset_warnings(_dataset: Dataset) -> list[str]:
    """A number needs none."""
    return []


def describe_leakage(score: float) -> str:
    return f"with an R² of {score:.4f}"


def metric_title(metric: str) -> str:
    return TITLES.get(metric, metric.capitalize())


def summary_lines(metadata: ModelMetadata) -> list[str]:
    width = metric_text(metadata.metrics["test_interval_width"])
    return ["", f"  intervals hold {_held(metadata)} of the held-out rows; mean width {width}"]


def _held(metadata: ModelMetadata) -> str:
    """The share of the held-out rows that the intervals hold."""
    held = cast("Estimate", metadata.interval_coverage)
    return f"{held.value:.1%} ({held.low:.1%} to {held.high:.1%})"


# -- the model card

RESULTS = """\
Intervals that shall hold {coverage:.0%} of the true numbers hold {held} of the held-out rows; in brackets
the 95 % confidence interval. Their mean width is {width}, their pinball loss {pinball}. They are as wide as the errors
of the cross-validation: half a width is {radii}.

`plots/` has the predicted and actual numbers, residuals, the error by decile, and importances."""


def card_introduction(schema: Schema) -> str:
    task = cast("Regression", schema.task)
    return (
        f"predicts the number {schema.target} from {len(schema.features)} features. In training it was from "
        f"{number_text(task.target_minimum)} to {number_text(task.target_maximum)}."
    )


def card_results(metadata: ModelMetadata, schema: Schema) -> str:
    task, metrics = cast("Regression", schema.task), metadata.metrics
    least, most = (f"{radius:.5g}" for radius in (min(task.interval_radii), max(task.interval_radii)))
    return RESULTS.format(
        coverage=task.coverage,
        held=_held(metadata),
        width=metric_text(metrics["test_interval_width"]),
        pinball=metric_text(metrics["test_pinball_loss"]),
        radii=least if least == most else f"{least} to {most}, by the prediction",
    )


def limits(_metadata: ModelMetadata, schema: Schema, family: Family) -> list[str]:
    task = cast("Regression", schema.task)
    seen = f"{number_text(task.target_minimum)} to {number_text(task.target_maximum)}"
    range_limit = f"In training the target was {seen}: predictions outside of that are not verified by any row."
    if family.averages:
        range_limit = f"It can't predict a number outside of {seen}, the range of the target in training."
    interval_limit = (
        f"Its intervals hold {task.coverage:.0%} of all rows together, if they are like those of the training; of some "
        "kinds of rows they may hold fewer."
    )
    return [range_limit, interval_limit]
