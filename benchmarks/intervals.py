"""How often intervals and prediction sets hold the truth: 200 random splits of four tables of each task.

python -m benchmarks.intervals                               prints means over the held-out rows
python -m benchmarks.intervals --splits 20 --task regression
"""

import argparse
from collections.abc import Mapping

import joblib
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from benchmarks.servers import ROOT
from tabserve.training import (
    METRICS,
    ColumnOptions,
    DecisionOptions,
    EstimatorConfig,
    TaskKind,
    cross_validation,
    dataset,
    fitting,
    task_training,
)
from tabserve.training.dataset import Dataset
from tabserve.training.ingest import load_table
from tabserve.training.pipeline import pipeline_outputs
from tests.support import number_tables

ESTIMATORS = {
    "forest": EstimatorConfig("random-forest", {"n_estimators": 30}),
    "boosting": EstimatorConfig("hist-gradient-boosting", {"max_iter": 50}),
}
LINEAR: Mapping[TaskKind, EstimatorConfig] = {
    "regression": EstimatorConfig("ridge"),
    "classification": EstimatorConfig("logistic-regression"),
}

MEASURED: Mapping[TaskKind, tuple[str, str, str]] = {
    "regression": ("interval_coverage", "interval_width", "width, as a share of the target's spread"),
    "classification": ("set_coverage", "set_size", "classes in a set"),
}
"""The metrics of coverage and of size, and what the size is."""


def tables(kind: TaskKind) -> Mapping[str, Dataset]:
    """Of numbers, three made tables, and scikit-learn's 442 patients with diabetes. Of classes, three that scikit-learn
    ships, of which the tumours keep three columns, so that they are hard to tell apart; and the penguins."""
    if kind == "regression":
        return {
            "diamonds": number_tables.as_dataset(number_tables.diamonds(1500), "price"),
            "houses": number_tables.as_dataset(number_tables.houses(600), "SalePrice"),
            "taxis": number_tables.as_dataset(number_tables.taxis(1000), "fare_amount"),
            "diabetes": number_tables.as_dataset(load_diabetes(as_frame=True).frame, "target"),
        }
    tumours = load_breast_cancer(as_frame=True).frame
    return {
        "tumours": of_classes(tumours[["mean texture", "mean smoothness", "mean symmetry", "target"]]),
        "wine": of_classes(load_wine(as_frame=True).frame),
        "digits": of_classes(load_digits(as_frame=True).frame),
        "penguins": load_table(ROOT / "examples" / "penguins.csv", ColumnOptions("species"), lambda _: 7),
    }


def of_classes(frame: pd.DataFrame) -> Dataset:
    """A table of numbers whose column `target` has classes."""
    target = frame["target"]
    task = task_training("classification").model_task(target)
    return Dataset("table", frame.drop(columns="target").astype("float64"), target, task)


def measure(table: Dataset, config: EstimatorConfig, coverage: float, seed: int) -> tuple[float, float]:
    """Coverage and mean size on the held-out rows of one split."""
    kind = table.task.kind
    training = task_training(kind)
    parts = dataset.split(table, 0.2, seed)
    validation = cross_validation.cross_validate(parts.training, config, 5, seed)
    task = training.calibrated(
        table.task, parts.training.target, validation.target, validation.outputs, DecisionOptions(coverage)
    )
    pipeline = fitting.fit(parts.training, config, seed, threads=1)
    outputs = pipeline_outputs(pipeline, parts.held_out.features, kind)
    found = training.results(training.true_values(parts.held_out.target, task), outputs, task).named_metrics()
    held, size, _ = MEASURED[kind]
    return found[held], found[size]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--task", choices=METRICS, help="(default: both)")
    options = parser.parse_args()
    for kind in [options.task] if options.task else METRICS:
        print(f"{'table':10} {'model':10} coverage   {MEASURED[kind][2]}")
        for name, table in tables(kind).items():
            unit = table.target.std() if kind == "regression" else 1
            for model, config in (ESTIMATORS | {"linear": LINEAR[kind]}).items():
                jobs = (
                    joblib.delayed(measure)(table, config, options.coverage, seed) for seed in range(options.splits)
                )
                coverage, size = np.mean(joblib.Parallel(2)(jobs), axis=0)
                print(f"{name:10} {model:10} {coverage:.3f}      {size / unit:.2f}", flush=True)


if __name__ == "__main__":
    main()
