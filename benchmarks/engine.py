"""The engine alone, in this process: compared with scikit-learn, and by the number of rows, trees and features."""

import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import make_classification
from sklearn.pipeline import Pipeline

from benchmarks.measure import seconds_per_call
from benchmarks.servers import ROOT
from tabserve.model import Matrix, ModelMetadata, Predictor, Release
from tabserve.model.compiled import Forest
from tabserve.registry import open_registry
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
)

Engine = Callable[[Matrix], Matrix]
"""Rows → the outputs of the model."""

COUNTS = (1, 10, 100, 1000, 10_000, 1_000_000)
"""How many rows one call gets."""

SIZES = ((10, 4), (100, 4), (1000, 4), (100, 10), (100, 30))
"""Trees and features of the measured forests."""


def champion_of(workspace: Path) -> Predictor:
    """The champion of a workspace, loaded."""
    artifacts, mlruns = str(workspace / "artifacts"), str(workspace / "mlruns")
    registry = open_registry(Settings.load(ROOT, artifacts_dir=artifacts, tracking_uri=mlruns))
    return Predictor(registry.fetch(registry.champion()))


def rows_per_second(engine: Engine, rows: Matrix, seconds: float) -> float:
    return len(rows) / seconds_per_call(lambda: engine(rows), seconds)


def predict_one_by_one(predictor: Predictor, rows: list[list[float]]) -> None:
    for row in rows:
        predictor.row_outputs(row)


def trained_forest(trees: int, features: int) -> tuple[Pipeline, Predictor, Matrix]:
    """A forest as scikit-learn's pipeline and as our predictor, and 10,000 rows for it. With 4 features it is trained
    on Iris, otherwise on 2,000 random rows."""
    if features == 4:
        table = dataset.load_iris()
    else:
        matrix, target = make_classification(
            12_000, features, n_informative=features // 2, n_classes=3, random_state=0, flip_y=0.05
        )
        frame = pd.DataFrame(matrix[:2000], columns=[f"x{number}" for number in range(features)])
        column = pd.Series(target[:2000].astype(str), name="kind")
        table = dataset.Dataset("random", frame, column, task_training("classification").model_task(column))
    parts = dataset.split(table, 0.2, seed=0)
    pipeline = fitting.fit(parts.training, EstimatorConfig(hyperparameters={"n_estimators": trees}), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        release = released(Path(folder) / "release", pipeline, parts)
    return pipeline, Predictor(release), parity.probing_rows(pipeline, release.schema, parts.training, 10_000, seed=1)


def released(folder: Path, pipeline: Pipeline, parts: dataset.Split) -> Release:
    """The release of a pipeline that was fitted to the training rows, with metadata that say little."""
    schema = schema_inference.infer_schema(parts.training, pipeline)
    importances = {feature.name: 0.0 for feature in schema.model_features}
    metadata = ModelMetadata(
        model_name="random", model_version="20241201_143022", run_id="", model_type="", trained_at="", parameters={},
        metrics={}, feature_importances=importances, dataset=parts.facts(),
        libraries=provenance.libraries(), git_commit="",
    )  # fmt: skip
    return compiler.write_release(folder, pipeline, schema, parts.training, metadata)


def report(seconds: float) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of rows without column names
        tables = [by_rows(seconds / 2), by_size(seconds / 2)]
    remark = "One core. A third of the rows are near the split points of the trees."
    text = "\n".join(["## The engine alone", "", remark, *tables])
    print(f"\n{text}", flush=True)
    return text


def by_rows(seconds: float) -> str:
    """Throughput by the number of rows per call, compared with scikit-learn."""
    lines = ["", "| rows per call, 100 trees on Iris | rows/s | compared with scikit-learn |", "|---|---|---|"]
    pipeline, predictor, rows = trained_forest(trees=100, features=4)
    for count in COUNTS:
        batch = np.resize(rows, (count, rows.shape[1]))
        ours = rows_per_second(predictor.outputs, batch, seconds)
        if count == 1:
            ours = 1 / seconds_per_call(partial(predictor.row_outputs, rows[0].tolist()), seconds)
        theirs = rows_per_second(pipeline.predict_proba, batch, seconds)
        lines.append(f"| {count:,} | {ours:,.0f} | {ours / theirs:,.1f} times |")
    return "\n".join(lines)


def by_size(seconds: float) -> str:
    """Throughput of 10,000 rows, and the time of one row, by the size of the forest."""
    lines = ["", "| trees | features | nodes | rows/s, 10,000 per call | one row, µs |", "|---|---|---|---|---|"]
    for trees, features in SIZES:
        _, predictor, rows = trained_forest(trees, features)
        throughput, singles = rows_per_second(predictor.outputs, rows, seconds), rows[:1000].tolist()
        row_seconds = seconds_per_call(partial(predict_one_by_one, predictor, singles), seconds) / len(singles)
        nodes = len(predictor.compiled.nodes) if isinstance(predictor.compiled, Forest) else 0
        lines.append(f"| {trees} | {features} | {nodes:,} | {throughput:,.0f} | {row_seconds * 1e6:.1f} |")
    return "\n".join(lines)
