"""The engine alone, in this process: beside scikit-learn, and how it grows with rows, trees and features."""

import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import make_classification
from sklearn.pipeline import Pipeline

from benchmarks.measure import seconds_each
from tabserve.model.arrays import Matrix
from tabserve.model.compiled import Forest
from tabserve.model.metadata import ModelMetadata
from tabserve.model.predictor import Predictor
from tabserve.registry.registry import Store
from tabserve.settings import Settings
from tabserve.training import (
    EstimatorConfig,
    compiler,
    dataset,
    fitting,
    parity,
    provenance,
    schema_inference,
    task_training,
)  # fmt: skip

Engine = Callable[[Matrix], Matrix]


def live(workspace: Path) -> Predictor:
    """The champion of a workspace."""
    store = Store(Settings.load(artifacts_dir=str(workspace / "artifacts"), tracking_uri=str(workspace / "mlruns")))
    return Predictor(store.fetch(store.champion()))


def rows_a_second(engine: Engine, rows: Matrix, seconds: float) -> float:
    return len(rows) / seconds_each(lambda: engine(rows), seconds)


def answer_each(predictor: Predictor, rows: list[list[float]]) -> None:
    for row in rows:
        predictor.row_outputs(row)


def fitted(trees: int, features: int) -> tuple[Pipeline, Predictor, Matrix]:
    """A forest on 2,000 rows of so many features, its predictor, and 10,000 rows to answer; Iris for 4 features."""
    if features == 4:
        table = dataset.load_iris()
    else:
        drawn, target = make_classification(
            12_000, features, n_informative=features // 2, n_classes=3, random_state=0, flip_y=0.05
        )
        frame = pd.DataFrame(drawn[:2000], columns=[f"x{number}" for number in range(features)])
        column = pd.Series(target[:2000].astype(str), name="kind")
        table = dataset.Dataset("drawn", frame, column, task_training("classification").model_task(column))
    parts = dataset.split(table, 0.2, seed=0)
    pipeline = fitting.fit(parts.training, EstimatorConfig(hyperparameters={"n_estimators": trees}), seed=0)
    schema = schema_inference.infer_schema(parts.training)
    metadata = ModelMetadata(
        model_name="drawn", model_version="20241201_143022", run_id="", model_type="", trained_at="", parameters={},
        metrics={}, feature_importances=dict.fromkeys(schema.feature_names, 0.0), dataset=parts.facts(),
        libraries=provenance.libraries(), git_commit="",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        made = compiler.write_release(Path(folder) / "release", pipeline, schema, parts.training, metadata)
    return pipeline, Predictor(made), parity.probing_rows(pipeline, schema, parts.training, 10_000, seed=1)


def report(seconds: float) -> str:
    lines = ["## The engine alone", "", "One core. Rows near the split points of the trees, one third of them."]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of rows without names of columns
        lines += ["", "| rows at once, 100 trees on Iris | rows/s | of scikit-learn |", "|---|---|---|"]
        pipeline, predictor, rows = fitted(trees=100, features=4)
        for count in (1, 10, 100, 1000, 10_000, 1_000_000):
            taken = np.resize(rows, (count, rows.shape[1]))
            ours = rows_a_second(predictor.outputs, taken, seconds / 2)
            if count == 1:
                ours = 1 / seconds_each(partial(predictor.row_outputs, rows[0].tolist()), seconds / 2)
            theirs = rows_a_second(pipeline.predict_proba, taken, seconds / 2)
            lines.append(f"| {count:,} | {ours:,.0f} | {ours / theirs:,.1f} times |")
        lines += ["", "| trees | features | nodes | rows/s, 10,000 at once | µs for one row |", "|---|---|---|---|---|"]
        for trees, features in ((10, 4), (100, 4), (1000, 4), (100, 10), (100, 30)):
            _, predictor, rows = fitted(trees, features)
            many, single = rows_a_second(predictor.outputs, rows, seconds / 2), rows[:1000].tolist()
            one = seconds_each(partial(answer_each, predictor, single), seconds / 2) / len(single)
            nodes = len(predictor.compiled.nodes) if isinstance(predictor.compiled, Forest) else 0
            lines.append(f"| {trees} | {features} | {nodes:,} | {many:,.0f} | {one * 1e6:.1f} |")
    text = "\n".join(lines)
    print(f"\n{text}", flush=True)
    return text
