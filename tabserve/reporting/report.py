"""What a person looks at after a training: plots, model card, summary. Shows what it is given, judges nothing."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from pandas.api.types import is_numeric_dtype
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import auc, roc_curve
from sklearn.pipeline import Pipeline

from tabserve.model.arrays import Matrix
from tabserve.model.schema import Category, Feature, Number, Schema
from tabserve.model.versions import RegisteredVersion
from tabserve.training.dataset import Split, Table
from tabserve.training.estimators import RARE, is_cut, is_forest
from tabserve.training.evaluation import Estimate, Evaluation
from tabserve.training.fitting import CrossValidation

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")
"""Okabe and Ito's palette, distinguishable with every common colour vision."""


def write(
    folder: Path,
    schema: Schema,
    pipeline: Pipeline,
    parts: Split,
    validation: CrossValidation,
    evaluation: Evaluation,
    info: Mapping[str, Any],
) -> str:
    """Writes into `folder` what people reach for: plots, model card, importances, provenance, and the scaler for their
    own scripts. Returns the card."""
    plots = folder / "plots"
    plots.mkdir()
    classes = list(schema.task.classes)
    _save(plots / "confusion_matrix.png", _confusion, evaluation.confusion, classes)
    _save(plots / "roc.png", _roc, parts.held_out.target, evaluation.probabilities, classes)
    _save(plots / "calibration.png", _calibration, parts.training.target, validation.probabilities, classes)
    _save(plots / "feature_importances.png", _importances, evaluation.importances)
    evaluation.importances.to_csv(folder / "feature_importances.csv", index=False)
    (folder / "metadata.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    name, first = pipeline.steps[0]
    joblib.dump(first, folder / f"{name}.joblib")
    card = model_card(parts.whole, schema, info, validation, evaluation)
    (folder / "model_card.md").write_text(card, encoding="utf-8")
    return card


def _save(file: Path, draw: Callable[..., None], *data: Any) -> None:
    figure = Figure(figsize=(6, 4.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    draw(axes, *data)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Software": None})


def _confusion(axes: Axes, confusion: Any, classes: list[str]) -> None:
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


def _roc(axes: Axes, target: pd.Series, probabilities: Matrix, classes: list[str]) -> None:
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--", linewidth=1, label="chance")
    for number, name in enumerate(classes):
        false_rate, true_rate, _ = roc_curve(target == name, probabilities[:, number])
        colour = COLOURS[number % len(COLOURS)]
        label = f"{name}, AUC {auc(false_rate, true_rate):.3f}"
        axes.plot(false_rate, true_rate, color=colour, label=label, linewidth=2, alpha=0.8)
    axes.set(
        title="ROC, one class against the rest (held-out rows)",
        xlabel="false positive rate",
        ylabel="true positive rate",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    axes.legend(frameon=False, loc="lower right")


def _calibration(axes: Axes, target: pd.Series, probabilities: Matrix, classes: list[str]) -> None:
    for number, name in enumerate(classes):
        colour, shares = COLOURS[number % len(COLOURS)], probabilities[:, number]
        observed, predicted = calibration_curve(target == name, shares, n_bins=CALIBRATION_BINS)
        # the same bins as calibration_curve's, whose sizes it keeps to itself
        edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
        counts = np.bincount(np.searchsorted(edges, shares), minlength=CALIBRATION_BINS)
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


def _importances(axes: Axes, importances: pd.DataFrame) -> None:
    ordered = importances.iloc[::-1]
    position = np.arange(len(ordered))
    for offset, kind, colour in ((0.2, importances.columns[1], COLOURS[0]), (-0.2, "permutation", COLOURS[1])):
        deviation = ordered[f"{kind}_std"]
        axes.barh(position + offset, ordered[kind], 0.38, xerr=deviation, color=colour, label=kind, ecolor="0.4")
    axes.axvline(0, color="0.4", linewidth=1)
    axes.set(title="Feature importances", xlabel="importance (with deviation)", yticks=position)
    axes.set_yticklabels(ordered["feature"])
    axes.legend(frameon=False, loc="lower right")


CALIBRATION_BINS = 5

IMBALANCED = 5
"""How many times as many rows the commonest class has as the rarest, from which on it is said."""

SHOWN = 5
"""How many categories are named of many."""

CARD = """\
# {info[model_name]} {info[model_version]}

A {info[model_type]} that tells {schema.target} from {width} features: {classes}.
Accuracy {accuracy} on {dataset[held_out_rows]} held-out rows, {validated} in {folds}-fold cross-validation.

## How good it is

| metric | {dataset[held_out_rows]} held-out rows | {folds}-fold cross-validation |
|---|---|---|
{quality}

And by class, on the held-out rows:

| class | rows | held out | precision | recall | F1 |
|---|---|---|---|---|---|
{by_class}

In brackets the 95 % confidence interval of what it is on all such rows.

The confusion matrix, ROC curves, calibration and importances are drawn in `plots/`. A permutation importance below 0
means that these rows show no use of the feature.

## What it expects

| feature | in training | missing |
|---|---|---|
{features}

What lies outside is answered with a warning. What was missing in some rows may be left out.
{left_out}
## What it is not for

{limits}

## Hyperparameters

| name | value |
|---|---|
{parameters}

## Where it comes from

Trained {info[trained_at]} on {dataset[training_rows]} of the {dataset[rows]} rows of `{dataset[name]}`
(SHA-256 `{dataset[sha256]}`), git commit `{info[git_commit]}`, MLflow run `{info[run_id]}`.
"""


def model_card(
    table: Table, schema: Schema, info: Mapping[str, Any], validation: CrossValidation, evaluation: Evaluation
) -> str:
    """A page of Markdown that says what the model is, how good, on what it was trained, and what it is not for."""
    dataset = info["dataset"]
    return CARD.format(
        info=info,
        schema=schema,
        dataset=dataset,
        width=len(schema.features),
        classes=", ".join(schema.task.classes),
        accuracy=f"{evaluation.metrics['accuracy']:.4f}",
        validated=_with_deviation(validation, "accuracy"),
        folds=len(next(iter(validation.folds.values()))),
        limits="\n".join(f"- {limit}" for limit in info["limits"]),
        quality=_rows(
            [name, f"{value:.4f}", _with_deviation(validation, name)] for name, value in evaluation.metrics.items()
        ),
        by_class=_rows(
            [
                name,
                f"{facts['rows']} ({facts['share']:.1%})",
                str(facts["held_out_rows"]),
                *map(_with_interval, evaluation.by_class[name].estimates.values()),
            ]
            for name, facts in info["by_class"].items()
        ),
        features=_rows([f.name, _seen(f), str(f.missing or "")] for f in schema.features),
        left_out="".join(f"\nLeft out: {name} ({why})." for name, why in table.left_out.items()),
        parameters=_rows([name, str(value)] for name, value in info["parameters"].items()),
    )


def _with_interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def by_class(table: Table, evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Class → how many rows of the table are of it, which share of all that is, and what the model did with those that
    were held out."""
    counts = table.target.value_counts()
    return {
        name: {
            "rows": int(counts[name]),
            "share": float(counts[name] / len(table)),
            "held_out_rows": of_class.rows,
            **{metric: asdict(estimate) for metric, estimate in of_class.estimates.items()},
        }
        for name, of_class in evaluation.by_class.items()
    }


def limits(parts: Split, schema: Schema, pipeline: Pipeline, trials: int) -> list[str]:
    """What the model is not good for, in sentences. `trials`: of how many its hyperparameters were the best."""
    held_out, classes = len(parts.held_out), ", ".join(schema.task.classes[:SHOWN])
    more = f" and {len(schema.task.classes) - SHOWN} more" * (len(schema.task.classes) > SHOWN)
    said = [
        f"Mistakes that are rarer than one in its {held_out} held-out rows can't be seen in its metrics.",
        f"It knows only the classes {classes}{more}, and will name one of them for anything at all.",
    ]
    linear = isinstance(pipeline[-1], LogisticRegression)
    if any(isinstance(feature, Number) for feature in schema.features):
        said.append(
            "Outside the ranges of its training it goes on along a straight line, which nothing has checked."
            if linear
            else "Outside the ranges of its training it doesn't extrapolate: it answers as at their ends."
        )
    if any(isinstance(feature, Category) for feature in schema.features):
        said.append(
            f"Categories that less than {RARE:.0%} of the training rows have are one to it, and so is any that it "
            "hasn't seen."
        )
    if is_cut(pipeline[-1]):
        said.append(
            f"Its trees were limited to {pipeline[-1].max_leaf_nodes:,} leaves each: it may know less of details than "
            "the table does."
        )
    averaged = "shares of its trees' leaves" if is_forest(pipeline[-1]) else "made of sums"
    said.append(f"Its probabilities are {averaged}: look at plots/calibration.png before acting on them.")
    counts = parts.whole.target.value_counts()
    if counts.max() >= IMBALANCED * counts.min():
        said.append(
            f"Its classes are not balanced: {counts.index[-1]} has {counts.iloc[-1]} rows, {counts.index[0]} "
            f"{counts.iloc[0]}. Look at the metrics by class, not only at accuracy."
        )
    if trials > 1:
        said.append(
            f"Its hyperparameters were the best of {trials} in the cross-validation, so what that says of it is a "
            "little too good. The held-out rows had no part in it."
        )
    return said


def _seen(feature: Feature) -> str:
    if isinstance(feature, Category):
        return _commonest(dict(zip(feature.categories, feature.counts, strict=True)))
    return f"{feature.minimum:g} to {feature.maximum:g}, mean {feature.mean:.3g}"


def _commonest(counts: Mapping[Any, int]) -> str:
    """The categories with their rows, the commonest first, and how many more there are."""
    ordered = sorted(counts.items(), key=lambda one: -one[1])
    more = f", and {len(ordered) - SHOWN} more" * (len(ordered) > SHOWN)
    return ", ".join(f"{name} {count}" for name, count in ordered[:SHOWN]) + more


def described(table: Table) -> str:
    """What was found in a table, for the terminal: its classes, each feature, and what is none and why."""
    lines = []
    for name, column in table.features.items():
        if is_numeric_dtype(column.dtype):
            kind, seen = "number", f"{column.min():g} to {column.max():g}"
        else:
            kind, seen = "category", _commonest(column.value_counts().to_dict())
        lines.append((str(name), kind, str(table.missing.get(str(name), "")), seen))
    lines += [(name, "left out", "", why) for name, why in table.left_out.items()]
    lines = [("column", "kind", "missing", "values"), *lines]
    widths = [max(len(line[at]) for line in lines) for at in range(3)]
    classes = _commonest(table.target.value_counts().to_dict())
    return "\n".join(
        [
            f"{table.name}: {len(table)} rows; {table.target.name} is one of {len(table.classes)} classes: {classes}",
            *(f"left out: {table.unlabelled} rows without a class" for _ in range(table.unlabelled > 0)),
            *(
                f"  {name:{widths[0]}}  {kind:{widths[1]}}  {missing:>{widths[2]}}  {seen}"
                for name, kind, missing, seen in lines
            ),
        ]
    )


def warnings(table: Table, leaks: Mapping[str, float]) -> list[str]:
    """What somebody should know of a table before trusting a model of it: a line each."""
    said = [
        f"warning: {name!r} alone tells {table.target.name} in {share:.1%} of the cases: "
        f"is it known before the class is? If not, --drop '{name}'"
        for name, share in leaks.items()
    ]
    counts = table.target.value_counts()
    if counts.max() >= IMBALANCED * counts.min():
        said.append(
            f"warning: the classes are not balanced, {counts.index[0]} has {counts.iloc[0]} rows and "
            f"{counts.index[-1]} {counts.iloc[-1]}: look at the metrics by class, and try --class-weight balanced"
        )
    return said


def _with_deviation(validation: CrossValidation, metric: str) -> str:
    return f"{validation.mean(metric):.4f} ± {validation.deviation(metric):.4f}"


def _rows(cells: Iterable[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def headline(evaluation: Evaluation) -> str:
    """The model's quality on the held-out rows in one line."""
    return ", ".join(f"{name} {evaluation.metrics[name]:.4f}" for name in ("accuracy", "f1_macro", "log_loss"))


def summary(
    version: RegisteredVersion,
    verdict: str,
    validation: CrossValidation,
    evaluation: Evaluation,
    folder: Path,
    tracking_uri: str,
    page: str,
) -> str:
    """What a training says at its end: which version, how good, where it is."""
    rows = [
        f"  {name:18} {value:8.4f}   {_with_deviation(validation, name)}"
        for name, value in evaluation.metrics.items()
        if not name.endswith("_weighted")
    ]
    return "\n".join(
        [
            "",
            f"{version.model_version}, version {version.registry_version} in the registry: {verdict}",
            "",
            f"  {'':18} {'held out':>8}   cross-validation",
            *rows,
            "",
            f"  artifacts   {folder}",
            f"  MLflow      run {version.run_id} in {tracking_uri}",
            f"              {page}",
        ]
    )
