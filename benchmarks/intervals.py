"""How often the intervals of a number hold the true value: 200 random splits of four tables.

python -m benchmarks.intervals            prints the mean coverage and width on the held-out rows
python -m benchmarks.intervals --splits 20
"""

import argparse
from collections.abc import Mapping

import joblib
import numpy as np
from sklearn.datasets import load_diabetes

from tabserve.training import DecisionOptions, EstimatorConfig, cross_validation, dataset, fitting, task_training
from tabserve.training.dataset import Dataset
from tabserve.training.pipeline import pipeline_outputs
from tests.support import number_tables

CONFIGS = {
    "forest": EstimatorConfig("random-forest", {"n_estimators": 30}),
    "boosting": EstimatorConfig("hist-gradient-boosting", {"max_iter": 50}),
    "ridge": EstimatorConfig("ridge"),
}


def tables() -> Mapping[str, Dataset]:
    """Three made tables, and scikit-learn's 442 patients with diabetes."""
    return {
        "diamonds": number_tables.as_dataset(number_tables.diamonds(1500), "price"),
        "houses": number_tables.as_dataset(number_tables.houses(600), "SalePrice"),
        "taxis": number_tables.as_dataset(number_tables.taxis(1000), "fare_amount"),
        "diabetes": number_tables.as_dataset(load_diabetes(as_frame=True).frame, "target"),
    }


def measure(table: Dataset, config: EstimatorConfig, coverage: float, seed: int) -> tuple[float, float]:
    """Coverage and mean width of the intervals on the held-out rows of one split."""
    training = task_training("regression")
    parts = dataset.split(table, 0.2, seed)
    validation = cross_validation.cross_validate(parts.training, config, 5, seed)
    task = training.calibrated(
        table.task, parts.training.target, validation.target, validation.outputs, DecisionOptions(coverage)
    )
    pipeline = fitting.fit(parts.training, config, seed, threads=1)
    truth, outputs = parts.held_out.target.to_numpy(), pipeline_outputs(pipeline, parts.held_out.features, "regression")
    found = training.results(truth, outputs, task).named_metrics()
    return found["interval_coverage"], found["interval_width"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--coverage", type=float, default=0.9)
    options = parser.parse_args()
    print(f"{'table':10} {'model':10} coverage   width, as a share of the target's spread")
    for name, table in tables().items():
        for model, config in CONFIGS.items():
            work = (joblib.delayed(measure)(table, config, options.coverage, seed) for seed in range(options.splits))
            coverage, width = np.mean(joblib.Parallel(2)(work), axis=0)
            print(f"{name:10} {model:10} {coverage:.3f}      {width / table.target.std():.2f}", flush=True)


if __name__ == "__main__":
    main()
