"""Classification, for reports: its plots, its part of the model card, and its lines in the terminal.

The module is a `TaskReporting`.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import auc, roc_curve

from tabserve.model import Classification, Estimate, Matrix, ModelMetadata, Schema
from tabserve.model.task import listed
from tabserve.reporting.plots import COLOURS
from tabserve.reporting.tasks import Draw
from tabserve.reporting.text import SHOWN, most_frequent, table_rows
from tabserve.training import METRICS
from tabserve.training.dataset import Dataset
from tabserve.training.estimators import Family
from tabserve.training.result import TrainingResult

summary_metrics = tuple(name for name in METRICS["classification"].names if not name.endswith("_weighted"))

run_metrics = ("test_accuracy", "cv_accuracy_mean", "test_f1_macro", "test_log_loss")

CALIBRATION_BINS = 5

IMBALANCED = 5
"""Classes are reported as imbalanced if the most common one has this many times as many rows as the rarest."""


# -- plots


def plots(result: TrainingResult, metadata: ModelMetadata) -> Iterator[tuple[str, Draw]]:
    classes, split = list(_classes(result.schema)), result.split
    draw = partial(draw_confusion, confusion=np.array(metadata.confusion_matrix), classes=classes)
    yield "confusion_matrix", draw
    probabilities = result.evaluation.outputs
    target = split.held_out.target.astype("str")
    yield "roc", partial(draw_roc, target=target, probabilities=probabilities, classes=classes)
    probabilities = result.validation.outputs
    target = result.validation.target.astype("str")
    draw = partial(draw_calibration, target=target, probabilities=probabilities, classes=classes)
    yield "calibration", draw


def draw_confusion(axes: Axes, confusion: NDArray[np.int64], classes: list[str]) -> None:
    """`confusion`: shape (classes, classes); row: the true class, column: the predicted one."""
    axes.imshow(confusion, cmap="Blues", vmin=0)
    ticks = range(len(classes))
    axes.set(
        title=f"Confusion matrix ({confusion.sum()} held-out rows)",
        xlabel="predicted",
        ylabel="true",
        xticks=ticks,
        yticks=ticks,
        xticklabels=classes,
        yticklabels=classes,
    )
    for (row, column), count in np.ndenumerate(confusion):
        dark = count > confusion.max() / 2
        axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black", fontsize=13)


def draw_roc(axes: Axes, target: pd.Series, probabilities: Matrix, classes: list[str]) -> None:
    """`target`: shape (rows,), the names of the true classes; `probabilities`: shape (rows, classes)."""
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", linewidth=1, label="chance")
    for number, name in enumerate(classes):
        false_rate, true_rate, _ = roc_curve(target == name, probabilities[:, number])
        label = f"{name}, AUC {auc(false_rate, true_rate):.3f}"
        axes.plot(false_rate, true_rate, color=_colour(number), label=label, linewidth=2, alpha=0.8)
    axes.set(
        title="ROC, one class against the rest (held-out rows)",
        xlabel="false positive rate",
        ylabel="true positive rate",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    axes.legend(frameon=False, loc="lower right")


def draw_calibration(axes: Axes, target: pd.Series, probabilities: Matrix, classes: list[str]) -> None:
    """`target`: shape (rows,), the names of the true classes; `probabilities`: shape (rows, classes)."""
    for number, name in enumerate(classes):
        colour, own = _colour(number), probabilities[:, number]
        observed, predicted = calibration_curve(target == name, own, n_bins=CALIBRATION_BINS)
        # the bins of calibration_curve, which doesn't return their sizes
        edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
        counts = np.bincount(np.searchsorted(edges, own), minlength=CALIBRATION_BINS)
        counts = counts[counts > 0]
        axes.plot(predicted, observed, color=colour, linewidth=1, alpha=0.4)
        axes.scatter(predicted, observed, s=4 * counts + 4, color=colour, label=name, alpha=0.7, linewidths=0)
    axes.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1, label="perfectly calibrated")
    axes.set(
        title=f"Calibration ({len(target)} cross-validated rows; a dot's area: its rows)",
        xlabel="predicted probability",
        ylabel="observed frequency",
        xlim=(-0.06, 1.06),
        ylim=(-0.06, 1.06),
    )
    for handle in axes.legend(frameon=False, loc="upper left").legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([40])


def _classes(schema: Schema) -> tuple[str, ...]:
    return cast("Classification", schema.task).classes


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


# -- the terminal


def describe_target(dataset: Dataset) -> str:
    rows = dataset.target.value_counts().to_dict()
    described = f"{dataset.target.name} has {len(rows)} classes: {most_frequent(rows)}"
    if dataset.task_reason:
        described += f"\n  classes, because {dataset.task_reason}: --task regression predicts a number"
    return described


def dataset_warnings(dataset: Dataset) -> list[str]:
    counts = dataset.target.value_counts().to_dict()
    if not _are_imbalanced(counts):
        return []
    advice = "look at the metrics of each class, and try --class-weight balanced"
    return [f"warning: the classes are imbalanced, {_extremes(counts)}: {advice}"]


def _are_imbalanced(rows: Mapping[Any, int]) -> bool:
    return max(rows.values()) >= IMBALANCED * min(rows.values())


def _extremes(rows: Mapping[Any, int]) -> str:
    common, rare = max(rows, key=rows.__getitem__), min(rows, key=rows.__getitem__)
    return f"{common} has {rows[common]} rows, {rare} {rows[rare]}"


# -- the model card

RESULTS = """\
For each class, on the held-out rows:

| class | rows | held out | precision | recall | F1 |
|---|---|---|---|---|---|
{by_class}

In brackets: the 95 % confidence interval.

{decision}
Prediction sets that shall hold the true class of {coverage:.0%} of the rows hold it for {held:.1%} of the held-out
rows, and have {size:.2f} classes in the mean.

`plots/` has the confusion matrix, ROC curves, calibration and importances."""


def describe_leakage(score: float) -> str:
    return f"in {score:.1%} of the cases"


def metric_title(metric: str) -> str:
    return metric.capitalize()


def summary_lines(metadata: ModelMetadata) -> list[str]:
    held, size = metadata.metrics["test_set_coverage"], metadata.metrics["test_set_size"]
    return ["", f"  prediction sets hold {held:.1%} of the held-out rows; mean size {size:.2f}"]


def card_introduction(schema: Schema) -> str:
    width = len(schema.features)
    return f"predicts {schema.target} from {width} features. Classes: {', '.join(_classes(schema))}."


def card_results(metadata: ModelMetadata, schema: Schema) -> str:
    task = cast("Classification", schema.task)
    decision = "The most probable class is predicted."
    if task.threshold is not None:
        decision = f"{task.positive} is predicted from a probability of {task.threshold:.4g} on."
    by_class = table_rows(
        [
            name,
            f"{facts.rows} ({facts.share:.1%})",
            str(facts.held_out_rows),
            *map(_with_interval, (facts.precision, facts.recall, facts.f1)),
        ]
        for name, facts in metadata.by_class.items()
    )
    return RESULTS.format(
        by_class=by_class,
        decision=decision,
        coverage=task.coverage,
        held=metadata.metrics["test_set_coverage"],
        size=metadata.metrics["test_set_size"],
    )


def _with_interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def limits(metadata: ModelMetadata, schema: Schema, family: Family) -> list[str]:
    source = "shares of its trees' leaves" if family.averages else "computed from sums"
    sentences = [
        f"It knows only the classes {listed(_classes(schema), SHOWN)}, and predicts one of them for any input.",
        f"Its probabilities are {source}: look at plots/calibration.png before you rely on them.",
    ]
    rows = {name: facts.rows for name, facts in metadata.by_class.items()}
    if _are_imbalanced(rows):
        sentences.append(
            f"Its classes are imbalanced: {_extremes(rows)}. Look at the metrics of each class, not only at accuracy."
        )
    return sentences
