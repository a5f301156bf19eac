"""A fitted pipeline → a compiled forest, golden rows, and the proof that both say the same.

The scaler stays outside the compiled part: scikit-learn scales in float64 and the trees compare the value rounded to
float32, and any other order of rounding takes other branches (measured: 1 % of the classes on a grid of 0.1).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.pipeline import Pipeline

from classifier import release
from classifier.data import Table
from classifier.errors import ParityError
from classifier.release import TOLERANCE, Release
from classifier.schema import Matrix, Schema

MODEL_REQUIREMENTS = ("scikit-learn", "skops", "numpy", "pandas")
"""What loading the model that MLflow keeps takes."""

TRUSTED = ["sklearn.tree._tree.Tree"]
"""The type in such a model that skops can't vouch for by itself."""

GOLDEN_ROWS = 64
PARITY_ROWS = 2000


def compile_forest(pipeline: Pipeline) -> bytes:
    """The forest of the pipeline as ONNX: input `features`, double (rows, features), already scaled and rounded to
    float32; output `probabilities`, float (rows, classes)."""
    forest = pipeline.named_steps["classifier"]
    shape = DoubleTensorType([None, forest.n_features_in_])
    model = to_onnx(forest, initial_types=[("features", shape)], options={id(forest): {"zipmap": False}})
    return bytes(model.SerializeToString())


def probing_rows(pipeline: Pipeline, table: Table, count: int, seed: int) -> Matrix:
    """Rows on which a wrong rounding shows, shape (count, features).

    In turn: rows of the table; rows whose values are split points of the trees, scaled back and moved by up to two
    units in the last place of float32; and rows drawn uniformly from half as far again as the table reaches.
    """
    rng = np.random.default_rng(seed)
    values = table.features.to_numpy()
    scaler, forest = pipeline.named_steps["scaler"], pipeline.named_steps["classifier"]
    third = -(-count // 3)
    near = np.empty((third, values.shape[1]))
    for column in range(values.shape[1]):
        splits = np.concatenate([tree.tree_.threshold[tree.tree_.feature == column] for tree in forest.estimators_])
        points = rng.choice(splits, third) if len(splits) else np.zeros(third)
        nudged = points.astype(np.float32) + rng.integers(-2, 3, third) * np.spacing(points.astype(np.float32))
        near[:, column] = nudged.astype(np.float64) * scaler.scale_[column] + scaler.mean_[column]
    low, high = values.min(axis=0), values.max(axis=0)
    wide = rng.uniform(low - (high - low) / 2, high + (high - low) / 2, (third, values.shape[1]))
    stacked = np.stack([values[rng.integers(0, len(values), third)], near, wide], axis=1)
    return np.ascontiguousarray(stacked.reshape(-1, values.shape[1])[:count])


def expected_probabilities(pipeline: Pipeline, rows: Matrix) -> Matrix:
    """What scikit-learn itself answers for rows of shape (n, features): shape (n, classes)."""
    named = pd.DataFrame(rows, columns=pipeline.feature_names_in_)
    return np.asarray(pipeline.predict_proba(named), dtype=np.float64)


def write_release(
    folder: Path, model_version: str, pipeline: Pipeline, schema: Schema, training: Table, info: dict[str, Any]
) -> Release:
    """Writes the fitted pipeline as a release into `folder`, with golden rows and the provenance `info`."""
    scaler = pipeline.named_steps["scaler"]
    golden = probing_rows(pipeline, training, GOLDEN_ROWS, seed=0)
    return release.write(
        folder,
        model_version=model_version,
        schema=schema,
        mean=scaler.mean_,
        scale=scaler.scale_,
        golden_rows=golden,
        golden_probabilities=expected_probabilities(pipeline, golden),
        forest=compile_forest(pipeline),
        info=info,
    )


def check_parity(pipeline: Pipeline, rows: Matrix, actual: Matrix) -> float:
    """Holds probabilities `actual`, shape (n, classes), to scikit-learn's for the same rows, shape (n, features).

    Returns the largest difference. The class must be the same too, save in a draw: where scikit-learn's own two best
    are closer than `TOLERANCE`.

    Raises:
        ParityError: they differ.
    """
    expected = expected_probabilities(pipeline, rows)
    difference = float(np.abs(expected - actual).max())
    best = np.sort(expected, axis=1)
    drawn = best[:, -1] - best[:, -2] < TOLERANCE
    wrong = int(((expected.argmax(axis=1) != actual.argmax(axis=1)) & ~drawn).sum())
    if not difference <= TOLERANCE or wrong:
        raise ParityError(
            f"the compiled forest differs from scikit-learn: {wrong} of {len(expected)} classes, probabilities by "
            f"up to {difference:.1e} (allowed {TOLERANCE:.0e}). Nothing was published"
        )
    return difference
