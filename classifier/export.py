"""A fitted pipeline → a forest ready to be walked, golden rows, and the proof that both say the same.

scikit-learn scales a value in float64, rounds it to float32, and compares that with a threshold in float64. All three
steps only ever go up when the value does, so each threshold has a largest value that still goes left. That value is the
forest's `cut`: it takes values as callers send them, and takes every branch that scikit-learn takes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.tree._tree import Tree

from classifier import release
from classifier.data import Table
from classifier.errors import ParityError
from classifier.forest import LEAF, NODE, Forest
from classifier.release import TOLERANCE, Release
from classifier.schema import Matrix, Schema

MODEL_REQUIREMENTS = ("scikit-learn", "skops", "numpy", "pandas")
"""What loading the model that MLflow keeps takes."""

TRUSTED = ["sklearn.tree._tree.Tree"]
"""The type in such a model that skops can't vouch for by itself."""

GOLDEN_ROWS = 64
PARITY_ROWS = 2000


def compile_forest(pipeline: Pipeline) -> Forest:
    """The scaler and the forest of the pipeline as one forest over values that aren't scaled."""
    scaler, forest = pipeline.named_steps["scaler"], pipeline.named_steps["classifier"]
    trees = [_walkable(estimator.tree_) for estimator in forest.estimators_]
    sizes = np.array([len(nodes) for nodes, _ in trees])
    roots = np.cumsum(sizes) - sizes
    leaf = 0
    for (nodes, leaves), root in zip(trees, roots, strict=True):
        nodes["child"] += np.where(nodes["feature"] == LEAF, leaf, root).astype(np.int32)
        leaf += len(leaves)
    nodes = np.concatenate([nodes for nodes, _ in trees])
    for feature in range(forest.n_features_in_):
        asked = nodes["feature"] == feature
        thresholds, which = np.unique(nodes["cut"][asked], return_inverse=True)
        nodes["cut"][asked] = _cuts(thresholds, scaler.mean_[feature], scaler.scale_[feature])[which]
    return Forest(nodes, roots.astype(np.int32), np.concatenate([leaves for _, leaves in trees]))


def _walkable(tree: Tree) -> tuple[NDArray[np.void], Matrix]:
    """A tree's nodes level by level, so that siblings stand side by side and children behind their parents, with the
    thresholds as cuts; and its leaves' shares."""
    left, right = tree.children_left, tree.children_right
    levels = [np.zeros(1, dtype=np.intp)]
    while len(levels[-1]):
        inner = levels[-1][left[levels[-1]] >= 0]
        levels.append(np.column_stack([left[inner], right[inner]]).ravel())
    order = np.concatenate(levels)
    place = np.empty(len(order), dtype=np.int32)
    place[order] = np.arange(len(order))
    leaf = left[order] < 0
    nodes = np.empty(len(order), dtype=NODE)
    nodes["cut"] = np.where(leaf, 0.0, tree.threshold[order])
    nodes["feature"] = np.where(leaf, LEAF, tree.feature[order])
    nodes["child"] = np.where(leaf, np.cumsum(leaf) - 1, place[left[order]])
    return nodes, tree.value[order[leaf], 0]


def _cuts(thresholds: Matrix, mean: float, scale: float) -> Matrix:
    """For each threshold the largest float64 that goes left there: whose scaled value, as float32, is at most it.

    By bisection over all doubles, whose bit patterns, read as whole numbers, have the same order as they.
    """
    largest = np.full(thresholds.shape, np.finfo(np.float64).max)
    low, high = _reflected((-largest).view(np.int64)), _reflected(largest.view(np.int64))
    for _ in range(64):
        middle = (low & high) + ((low ^ high) >> 1)  # their mean, without overflow
        with np.errstate(over="ignore"):
            scaled = ((_reflected(middle).view(np.float64) - mean) / scale).astype(np.float32)
        goes_left = scaled.astype(np.float64) <= thresholds
        low, high = np.where(goes_left, middle, low), np.where(goes_left, high, middle)
    cuts: Matrix = _reflected(low).view(np.float64)
    return cuts


def _reflected(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bits of doubles as whole numbers of the same order, and back: those of negative ones run the other way."""
    return np.where(bits >= 0, bits, np.iinfo(np.int64).min - bits)


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
    golden = probing_rows(pipeline, training, GOLDEN_ROWS, seed=0)
    return release.write(
        folder,
        model_version=model_version,
        schema=schema,
        golden_rows=golden,
        golden_probabilities=expected_probabilities(pipeline, golden),
        forest=compile_forest(pipeline).to_bytes(),
        info=info,
    )


def check_parity(pipeline: Pipeline, rows: Matrix, actual: Matrix) -> float:
    """Holds probabilities `actual`, shape (n, classes), to scikit-learn's for the same rows, shape (n, features).

    Returns the largest difference. The class must be the same for every row.

    Raises:
        ParityError: they differ.
    """
    expected = expected_probabilities(pipeline, rows)
    difference = float(np.abs(expected - actual).max())
    wrong = int((expected.argmax(axis=1) != actual.argmax(axis=1)).sum())
    if not difference <= TOLERANCE or wrong:
        raise ParityError(
            f"the compiled forest differs from scikit-learn: {wrong} of {len(expected)} classes, probabilities by "
            f"up to {difference:.1e} (allowed {TOLERANCE:.0e}). Nothing was published"
        )
    return difference
