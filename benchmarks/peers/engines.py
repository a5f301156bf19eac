"""The engines that were tried for the model, side by side: python -m benchmarks.peers.engines SECONDS

Reads `model.joblib`, `release` and `rows.npy` in the workspace; writes JSON: by engine, what one row takes in
microseconds, rows a second by their number, rows that get another class than scikit-learn's, the largest difference of
a probability.
"""

import json
import os
import sys
import warnings
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numba
import numpy as np
import onnxruntime
import treelite
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType

from benchmarks.measure import seconds_each
from tabserve.model import release
from tabserve.model.compiled import Forest
from tabserve.model.predictor import Predictor

Array = NDArray[Any]
Many = Callable[[Array], Array]
One = Callable[[list[float]], Any]

COUNTS = (1, 10, 100, 1000, 10_000, 100_000, 1_000_000)


def onnx(pipeline: Any) -> tuple[One, Many]:
    """ONNX Runtime with the forest alone, in doubles: scaled before and rounded to float32, as scikit-learn rounds."""
    scaler, forest = pipeline[0], pipeline[-1]
    types = [("x", DoubleTensorType([None, len(scaler.mean_)]))]
    model = to_onnx(forest, initial_types=types, options={id(forest): {"zipmap": False}}).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def many(rows: Array) -> Array:
        scaled = ((rows - scaler.mean_) / scaler.scale_).astype(np.float32).astype(np.float64)
        return session.run(["probabilities"], {"x": scaled})[0]

    return lambda row: many(np.array([row]))[0].tolist(), many


def gtil(pipeline: Any) -> tuple[One, Many]:
    """treelite's own interpreter."""
    scaler, model = pipeline[0], treelite.sklearn.import_model(pipeline[-1])

    def many(rows: Array) -> Array:
        scaled = ((rows - scaler.mean_) / scaler.scale_).astype(np.float32).astype(np.float64)
        return treelite.gtil.predict(model, scaled, nthread=1).reshape(len(rows), -1)

    return lambda row: many(np.array([row]))[0].tolist(), many


@numba.njit(nogil=True)
def walk(cut: Array, feature: Array, child: Array, roots: Array, leaves: Array, rows: Array, out: Array) -> None:
    classes = leaves.shape[1]
    for r in range(rows.shape[0]):
        for k in range(classes):
            out[r, k] = 0
        for root in roots:
            node = root
            while feature[node] >= 0:
                node = child[node] + (1 if rows[r, feature[node]] > cut[node] else 0)
            for k in range(classes):
                out[r, k] += leaves[child[node], k]
        for k in range(classes):
            out[r, k] /= len(roots)


def compiled_by_numba(forest: Forest) -> tuple[One, Many]:
    """The same walk in Python, compiled by numba."""
    nodes = [np.ascontiguousarray(forest.nodes[name]) for name in ("cut", "feature", "child")]

    def many(rows: Array) -> Array:
        out = np.empty((len(rows), forest.leaves.shape[1]))
        walk(*nodes, forest.roots, forest.leaves, rows, out)
        return out

    return lambda row: many(np.array([row]))[0].tolist(), many


def bit_vectors(forest: Forest) -> tuple[One, Many]:
    """A bit for each leaf of a tree, at most 64; for each feature and each interval between its cuts, which leaves are
    still possible. The leaf is the lowest bit that is left in all. After QuickScorer (Lucchese et al., 2015)."""
    cut, feature, child = (forest.nodes[name] for name in ("cut", "feature", "child"))
    trees, (_, classes) = len(forest.roots), forest.leaves.shape
    edges = [np.unique(cut[feature == number]) for number in range(int(feature.max()) + 1)]
    masks = [np.full((len(edge) + 1, trees), ~np.uint64(0)) for edge in edges]
    values = np.zeros((trees, 64, classes))

    def visit(tree: int, node: int, first: int) -> int:
        """Numbers the leaves below a node from `first` on; the next number."""
        if feature[node] < 0:
            values[tree, first] = forest.leaves[child[node]]
            return first + 1
        middle = visit(tree, child[node], first)
        above = np.searchsorted(edges[feature[node]], cut[node]) + 1
        masks[feature[node]][above:, tree] &= ~np.uint64(((1 << (middle - first)) - 1) << first)
        return visit(tree, child[node] + 1, middle)

    for tree, root in enumerate(forest.roots):
        visit(tree, root, 0)
    flat, offsets = values.reshape(-1, classes), np.arange(trees) * 64
    lists = [edge.tolist() for edge in edges]

    def shares(left: Array, axis: int) -> Array:
        lowest = np.bitwise_count((left & (~left + np.uint64(1))) - np.uint64(1))
        return np.add.reduce(flat[offsets + lowest], axis=axis) / trees

    def one(row: list[float]) -> Any:
        left = masks[0][bisect_left(lists[0], row[0])]
        for mask, edge, value in zip(masks[1:], lists[1:], row[1:], strict=True):
            left = left & mask[bisect_left(edge, value)]
        return shares(left, 0).tolist()

    def many(rows: Array) -> Array:
        parts = []
        for start in range(0, len(rows), 4096):
            part = rows[start : start + 4096]
            left = masks[0][np.searchsorted(edges[0], part[:, 0])]
            for number in range(1, len(edges)):
                left &= masks[number][np.searchsorted(edges[number], part[:, number])]
            parts.append(shares(left, 1))
        return np.concatenate(parts)

    return one, many


def each_of(one: One, rows: list[list[float]]) -> None:
    for row in rows:
        one(row)


def main() -> None:
    workspace, seconds = Path(os.environ["PEER_WORKSPACE"]), float(sys.argv[1])
    warnings.filterwarnings("ignore", "X does not have valid feature names")
    pipeline, rows = joblib.load(workspace / "model.joblib"), np.load(workspace / "rows.npy")
    predictor = Predictor(release.read(workspace / "release"))
    if not isinstance(predictor.compiled, Forest):
        raise TypeError("the engines here walk forests")
    engines: dict[str, tuple[One, Many]] = {
        "this project": (predictor.row_outputs, predictor.outputs),
        "the same walk by numba": compiled_by_numba(predictor.compiled),
        "bit vectors in numpy": bit_vectors(predictor.compiled),
        "ONNX Runtime, in doubles": onnx(pipeline),
        "treelite GTIL": gtil(pipeline),
        "scikit-learn": (lambda row: pipeline.predict_proba([row])[0].tolist(), pipeline.predict_proba),
    }
    expected = pipeline.predict_proba(rows)
    found = {}
    for name, (one, many) in engines.items():
        answers = many(rows)
        by_count = {}
        for count in COUNTS:
            taken = np.resize(rows, (count, rows.shape[1]))
            by_count[count] = count / seconds_each(partial(many, taken), seconds)
        some = rows[:20].tolist()
        each = seconds_each(partial(each_of, one, some), seconds) / len(some)
        found[name] = {
            "one": each * 1e6,
            "many": by_count,
            "wrong": int((answers.argmax(axis=1) != expected.argmax(axis=1)).sum()),
            "difference": float(np.abs(answers - expected).max()),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
