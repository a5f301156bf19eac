"""A fitted pipeline → a compiled model, golden rows, and the proof that both say the same.

scikit-learn scales a value in float64, a forest's trees round it to float32 and compare that with a threshold in
float64. All these steps only ever go up when the value does, so each threshold has a largest value that still goes
left. That value is the compiled tree's `cut`: it takes values as callers send them, and takes every branch that
scikit-learn takes. What makes columns of categories and fills in missing values is compiled as `Inputs`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree._tree import Tree

from tabserve.errors import ParityError
from tabserve.model import release
from tabserve.model.arrays import Matrix, Vector
from tabserve.model.compiled import INPUT, LEAF, NODE, NOWHERE, Compiled, Forest, Inputs, Linear, Link
from tabserve.model.metadata import ModelMetadata
from tabserve.model.release import TOLERANCE, Release
from tabserve.model.schema import Category, Schema
from tabserve.training.dataset import Table
from tabserve.training.estimators import boosted_start, boosted_trees, column_widths

MODEL_REQUIREMENTS = ("scikit-learn", "skops", "numpy", "pandas")
"""What loading the model that MLflow keeps takes."""

TRUSTED = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
]
"""The types in such models that skops can't vouch for by itself: those of trees, and of an encoder of categories."""

UNSEEN = "\0unseen"
"""A text that is no table's."""

GOLDEN_ROWS = 64
PARITY_ROWS = 2000


def compile_pipeline(pipeline: Pipeline, schema: Schema) -> Compiled:
    """The preprocessing and the classifier of the pipeline as one model, over values as `Schema.rows` makes them."""
    classifier, prepared = pipeline[-1], _prepared(pipeline, schema)
    classes = len(classifier.classes_)
    if isinstance(classifier, LogisticRegression):
        weights, start = classifier.coef_.T, classifier.intercept_
        if classes == 2:  # the softmax of nothing and a sum is the logistic function of the sum
            weights, start = np.column_stack([np.zeros(len(weights)), weights]), np.append(0.0, start)
        return Linear(prepared.inputs, start, prepared.mean, prepared.scale, np.ascontiguousarray(weights))
    if isinstance(classifier, HistGradientBoostingClassifier):
        trees = [_boosted(nodes, at if classes > 2 else 1, classes) for nodes, at in boosted_trees(classifier)]
        baseline = boosted_start(classifier)
        start = baseline if classes > 2 else np.append(0.0, baseline)
    else:
        trees = [_averaged(estimator.tree_) for estimator in classifier.estimators_]
        start = np.zeros(classes)
    sizes = np.array([len(nodes) for nodes, _ in trees])
    roots = np.cumsum(sizes) - sizes
    leaf = 0
    for (nodes, leaves), root in zip(trees, roots, strict=True):
        nodes["child"] += np.where(nodes["feature"] == LEAF, leaf, root).astype(np.int32)
        leaf += len(leaves)
    nodes = np.concatenate([nodes for nodes, _ in trees])
    for column in prepared.numbers:
        asked = nodes["feature"] == column
        thresholds, which = np.unique(nodes["cut"][asked], return_inverse=True)
        rounded = not isinstance(classifier, HistGradientBoostingClassifier)
        nodes["cut"][asked] = _cuts(thresholds, prepared.mean[column], prepared.scale[column], rounded=rounded)[which]
    # many leaves say the same, of fully grown trees nearly all: kept once, they are always in the processor's caches
    leaves, which = np.unique(np.concatenate([leaves for _, leaves in trees]), axis=0, return_inverse=True)
    in_leaf = nodes["feature"] == LEAF
    nodes["child"][in_leaf] = which.ravel()[nodes["child"][in_leaf]]
    return Forest(prepared.inputs, start.astype(np.float64), nodes, roots.astype(np.int32), leaves)


def link(pipeline: Pipeline) -> Link:
    """How the sums of the compiled model become probabilities."""
    return "softmax" if isinstance(pipeline[-1], LogisticRegression | HistGradientBoostingClassifier) else "mean"


@dataclass(frozen=True)
class Prepared:
    """What the pipeline's first step does: the columns it makes, how each is scaled, and which are numbers."""

    inputs: Inputs
    mean: Vector
    scale: Vector
    numbers: list[int]


def _prepared(pipeline: Pipeline, schema: Schema) -> Prepared:
    first = pipeline[0]
    if isinstance(first, StandardScaler):
        count = len(schema.features)
        return Prepared(Inputs.plain(count), first.mean_, first.scale_, list(range(count)))
    features = np.zeros(len(schema.features), INPUT)
    features["fill"] = np.nan
    places: list[int] = []
    mean, scale = np.empty(0), np.empty(0)
    if scaled := first.named_transformers_.get("numbers"):
        mean, scale = scaled[-1].mean_, scaled[-1].scale_
        for column, name in enumerate(scaled.feature_names_in_):
            at = schema.feature_names.index(name)
            features["column"][at] = column
            if schema.features[at].missing:
                features["fill"][at] = scaled[0].statistics_[column]
    numbers = list(range(len(mean)))
    if encoder := first.named_transformers_.get("categories"):
        for name, found in _columns_of(encoder, schema).items():
            at = schema.feature_names.index(name)
            features["codes"][at], features["count"][at] = len(places), len(found) - 2
            places += [NOWHERE if column < 0 else column + len(numbers) for column in found]
        more = len(encoder.get_feature_names_out())
        mean, scale = np.append(mean, np.zeros(more)), np.append(scale, np.ones(more))
    return Prepared(Inputs(features, np.array(places, np.int32)), mean, scale, numbers)


def _columns_of(encoder: OneHotEncoder, schema: Schema) -> dict[str, list[int]]:
    """For each feature the column that the encoder sets for a missing value, an unknown one, and each category; -1 for
    none. It is asked, for that is simpler than its rules."""
    categories = {one.name: one.categories for one in schema.features if isinstance(one, Category)}
    most = 2 + max(map(len, categories.values()))
    asked = {name: [None, UNSEEN, *values] + [None] * (most - 2 - len(values)) for name, values in categories.items()}
    frame = pd.DataFrame(asked, dtype="str")[encoder.feature_names_in_]
    hot = encoder.transform(frame)
    found, first = {}, 0
    for name, width in zip(encoder.feature_names_in_, column_widths(encoder), strict=True):
        own = hot[: len(categories[name]) + 2, first : first + width]
        found[name] = np.where(own.any(axis=1), first + own.argmax(axis=1), NOWHERE).tolist()
        first += width
    return found


def _averaged(tree: Tree) -> tuple[NDArray[np.void], Matrix]:
    """A forest's tree: its nodes, with the thresholds as cuts, and its leaves' shares."""
    order, nodes = _in_order(tree.children_left, tree.children_right, tree.feature, tree.threshold, tree.n_node_samples)
    return nodes, tree.value[order[nodes["feature"] == LEAF], 0]


def _boosted(tree: NDArray[np.void], at: int, classes: int) -> tuple[NDArray[np.void], Matrix]:
    """A tree of gradient boosting for the class at this place: as `_averaged`."""
    inner = tree["is_leaf"] == 0
    left, right = (np.where(inner, tree[side].astype(np.intp), -1) for side in ("left", "right"))
    order, nodes = _in_order(left, right, tree["feature_idx"], tree["num_threshold"], tree["count"])
    values = tree["value"][order[nodes["feature"] == LEAF]]
    leaves = np.zeros((len(values), classes))
    leaves[:, at] = values
    return nodes, leaves


def _in_order(
    left: NDArray[np.intp],
    right: NDArray[np.intp],
    feature: NDArray[np.intp],
    threshold: Vector,
    rows: NDArray[np.integer[Any]],
) -> tuple[NDArray[np.intp], NDArray[np.void]]:
    """A tree's nodes in which order, and what they are: siblings side by side, behind them first what is below the one
    that more training `rows` came to, and then what is below the other. A walk mostly goes on where it is, which takes
    a third less of the processor's cache than level by level."""
    levels = [np.zeros(1, dtype=np.intp)]
    while len(inner := levels[-1][left[levels[-1]] >= 0]):
        levels.append(np.concatenate([left[inner], right[inner]]))
    below = np.zeros(len(left), dtype=np.int32)  # how many nodes are
    for level in reversed(levels):
        inner = level[left[level] >= 0]
        below[inner] = 2 + below[left[inner]] + below[right[inner]]
    place, start = np.zeros_like(below), np.ones_like(below)
    for level in levels:
        inner = level[left[level] >= 0]
        place[left[inner]], place[right[inner]] = start[inner], start[inner] + 1
        to_the_left = rows[left[inner]] >= rows[right[inner]]
        more, fewer = np.where(to_the_left, (left[inner], right[inner]), (right[inner], left[inner]))
        start[more] = start[inner] + 2
        start[fewer] = start[more] + below[more]
    order = np.empty(below[0] + 1, dtype=np.intp)
    reached = np.concatenate(levels)
    order[place[reached]] = reached
    leaf = left[order] < 0
    nodes = np.empty(len(order), dtype=NODE)
    nodes["cut"] = np.where(leaf, 0.0, threshold[order])
    nodes["feature"] = np.where(leaf, LEAF, feature[order])
    nodes["child"] = np.where(leaf, np.cumsum(leaf) - 1, place[left[order]])
    return order, nodes


def _cuts(thresholds: Vector, mean: float, scale: float, *, rounded: bool = True) -> Vector:
    """For each threshold the largest float64 that goes left there: whose scaled value, as float32 where it is
    `rounded`, is at most it.

    By bisection over all doubles, whose bit patterns, read as whole numbers, have the same order as they.
    """
    largest = np.full(thresholds.shape, np.finfo(np.float64).max)
    low, high = _reflected((-largest).view(np.int64)), _reflected(largest.view(np.int64))
    for _ in range(64):
        middle = (low & high) + ((low ^ high) >> 1)  # their mean, without overflow
        with np.errstate(over="ignore"):
            scaled = (_reflected(middle).view(np.float64) - mean) / scale
            goes_left = (scaled.astype(np.float32).astype(np.float64) if rounded else scaled) <= thresholds
        low, high = np.where(goes_left, middle, low), np.where(goes_left, high, middle)
    cuts: Vector = _reflected(low).view(np.float64)
    return cuts


def _reflected(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bits of doubles as whole numbers of the same order, and back: those of negative ones run the other way."""
    return np.where(bits >= 0, bits, np.iinfo(np.int64).min - bits)


def as_rows(schema: Schema, features: pd.DataFrame) -> Matrix:
    """A table's features as the model takes them: shape (n, features)."""
    columns = (features[name] for name in schema.feature_names)
    return schema.rows({str(one.name): one.astype(object).where(one.notna(), None).tolist() for one in columns}).values


def as_table(schema: Schema, rows: Matrix) -> pd.DataFrame:
    """And back. A category that wasn't seen in training becomes one that nobody has."""
    columns: dict[str, pd.Series] = {}
    for feature, values in zip(schema.features, rows.T, strict=True):
        if isinstance(feature, Category):
            texts = np.array([*feature.categories, None, UNSEEN], dtype=object)  # UNKNOWN is -1, the last
            at = np.where(np.isnan(values), len(feature.categories), values).astype(int)
            columns[feature.name] = pd.Series(texts[at], dtype="str")
        else:
            columns[feature.name] = pd.Series(values)
    return pd.DataFrame(columns)


def probing_rows(pipeline: Pipeline, schema: Schema, table: Table, count: int, seed: int) -> Matrix:
    """Rows on which a wrong rounding shows, as the model takes them: shape (count, features).

    In turn: rows of the table; rows whose values are split points of the trees, scaled back and moved by up to two
    units in the last place of float32; and rows drawn uniformly from half as far again as the table reaches. Categories
    of the latter two are any, known or not, and a tenth of what may be missing is missing.
    """
    rng = np.random.default_rng(seed)
    values = as_rows(schema, table.features.iloc[rng.integers(0, len(table), -(-count // 3))])
    third = len(values)
    thresholds, prepared = _thresholds(pipeline), _prepared(pipeline, schema)
    near, wide = np.empty(values.shape), np.empty(values.shape)
    for at, feature in enumerate(schema.features):
        if isinstance(feature, Category):
            near[:, at], wide[:, at] = rng.integers(-1, len(feature.categories), (2, third))
        else:
            column = prepared.inputs.features["column"][at]
            splits = thresholds.get(column, np.zeros(1)).astype(np.float32)
            points = rng.choice(splits, third)
            nudged = points + rng.integers(-2, 3, third) * np.spacing(points)
            near[:, at] = nudged.astype(np.float64) * prepared.scale[column] + prepared.mean[column]
            half = (feature.maximum - feature.minimum) / 2
            wide[:, at] = rng.uniform(feature.minimum - half, feature.maximum + half, third)
        if feature.missing:
            for rows in (near, wide):
                rows[rng.random(third) < 0.1, at] = np.nan
    stacked = np.stack([values, near, wide], axis=1)
    return np.ascontiguousarray(stacked.reshape(-1, values.shape[1])[:count])


def _thresholds(pipeline: Pipeline) -> dict[int, Vector]:
    """The split points of a model of trees, by column."""
    classifier = pipeline[-1]
    if isinstance(classifier, LogisticRegression):
        return {}
    if isinstance(classifier, HistGradientBoostingClassifier):
        trees = [nodes[nodes["is_leaf"] == 0] for nodes, _ in boosted_trees(classifier)]
        pairs = [(tree["feature_idx"], tree["num_threshold"]) for tree in trees]
    else:
        pairs = [(one.tree_.feature, one.tree_.threshold) for one in classifier.estimators_]
    columns, points = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return {int(column): np.unique(points[columns == column]) for column in np.unique(columns[columns >= 0])}


def expected_probabilities(pipeline: Pipeline, schema: Schema, rows: Matrix) -> Matrix:
    """What scikit-learn itself answers for rows of shape (n, features): shape (n, classes)."""
    return np.asarray(pipeline.predict_proba(as_table(schema, rows)), dtype=np.float64)


def write_release(
    folder: Path, pipeline: Pipeline, schema: Schema, training: Table, metadata: ModelMetadata
) -> Release:
    """Writes the fitted pipeline as a release into `folder`, with golden rows and the metadata."""
    golden = probing_rows(pipeline, schema, training, GOLDEN_ROWS, seed=0)
    return release.write(
        folder,
        schema=schema,
        golden_rows=golden,
        golden_outputs=expected_probabilities(pipeline, schema, golden),
        model=compile_pipeline(pipeline, schema).to_bytes(),
        link=link(pipeline),
        metadata=metadata,
    )


def check_parity(pipeline: Pipeline, schema: Schema, rows: Matrix, actual: Matrix) -> float:
    """Holds probabilities `actual`, shape (n, classes), to scikit-learn's for the same rows, shape (n, features).

    Returns the largest difference. The class must be the same for every row.

    Raises:
        ParityError: they differ.
    """
    expected = expected_probabilities(pipeline, schema, rows)
    allowed = TOLERANCE[link(pipeline)]
    difference = float(np.abs(expected - actual).max())
    wrong = int((expected.argmax(axis=1) != actual.argmax(axis=1)).sum())
    if not difference <= allowed or wrong:
        raise ParityError(
            f"the compiled model differs from scikit-learn: {wrong} of {len(expected)} classes, probabilities by "
            f"up to {difference:.1e} (allowed {allowed:.0e}). Nothing was published"
        )
    return difference
