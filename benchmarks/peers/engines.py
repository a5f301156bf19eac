"""Compares the engines that were tried for the model: python -m benchmarks.peers.engines SECONDS

Reads `model.joblib`, `release` and `rows.npy` in the workspace. Writes JSON, by engine: microseconds for one row, rows
per second by the number of rows per call, the number of rows that get another class than from scikit-learn, and the
largest difference of a probability.
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

from benchmarks.measure import seconds_per_call
from tabserve.model import Predictor, release
from tabserve.model.compiled import Forest

Array = NDArray[Any]
PredictRows = Callable[[Array], Array]
PredictRow = Callable[[list[float]], Any]

COUNTS = (1, 10, 100, 1000, 10_000, 100_000, 1_000_000)
"""How many rows one call gets."""

ROWS_PER_CHUNK = 4096


def onnx(pipeline: Any) -> tuple[PredictRow, PredictRows]:
    """ONNX Runtime computes the forest, in doubles. The rows are scaled and rounded to float32 before, as scikit-learn
    does it."""
    scaler, forest = pipeline[0], pipeline[-1]
    types = [("x", DoubleTensorType([None, len(scaler.mean_)]))]
    model = to_onnx(forest, initial_types=types, options={id(forest): {"zipmap": False}}).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def predict_rows(rows: Array) -> Array:
        scaled = ((rows - scaler.mean_) / scaler.scale_).astype(np.float32).astype(np.float64)
        return session.run(["probabilities"], {"x": scaled})[0]

    return lambda row: predict_rows(np.array([row]))[0].tolist(), predict_rows


def gtil(pipeline: Any) -> tuple[PredictRow, PredictRows]:
    """treelite's interpreter."""
    scaler, model = pipeline[0], treelite.sklearn.import_model(pipeline[-1])

    def predict_rows(rows: Array) -> Array:
        scaled = ((rows - scaler.mean_) / scaler.scale_).astype(np.float32).astype(np.float64)
        return treelite.gtil.predict(model, scaled, nthread=1).reshape(len(rows), -1)

    return lambda row: predict_rows(np.array([row]))[0].tolist(), predict_rows


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


def compiled_by_numba(forest: Forest) -> tuple[PredictRow, PredictRows]:
    """The algorithm of this project's kernels, in Python, compiled by numba."""
    nodes = [np.ascontiguousarray(forest.nodes[name]) for name in ("cut", "feature", "child")]

    def predict_rows(rows: Array) -> Array:
        out = np.empty((len(rows), forest.leaves.shape[1]))
        walk(*nodes, forest.roots, forest.leaves, rows, out)
        return out

    return lambda row: predict_rows(np.array([row]))[0].tolist(), predict_rows


def bit_vectors(forest: Forest) -> tuple[PredictRow, PredictRows]:
    """QuickScorer (Lucchese et al., 2015) in numpy.

    A tree has one bit per leaf, at most 64. For each feature, and each interval between its cuts, a mask holds the
    leaves that a row can still reach. The masks of all features are combined by AND, and the lowest bit that remains is
    the row's leaf.
    """
    cut, feature, child = (forest.nodes[name] for name in ("cut", "feature", "child"))
    trees, (_, classes) = len(forest.roots), forest.leaves.shape
    edges = [np.unique(cut[feature == number]) for number in range(int(feature.max()) + 1)]
    masks = [np.full((len(edge) + 1, trees), ~np.uint64(0)) for edge in edges]
    values = np.zeros((trees, 64, classes))

    def number_leaves(tree: int, node: int, first: int) -> int:
        """Numbers the leaves below a node, starting with `first`. Returns the next free number."""
        if feature[node] < 0:
            values[tree, first] = forest.leaves[child[node]]
            return first + 1
        middle = number_leaves(tree, child[node], first)
        above = np.searchsorted(edges[feature[node]], cut[node]) + 1
        masks[feature[node]][above:, tree] &= ~np.uint64(((1 << (middle - first)) - 1) << first)
        return number_leaves(tree, child[node] + 1, middle)

    for tree, root in enumerate(forest.roots):
        number_leaves(tree, root, 0)
    flat, offsets = values.reshape(-1, classes), np.arange(trees) * 64
    edge_lists = [edge.tolist() for edge in edges]

    def probabilities(reachable: Array, axis: int) -> Array:
        lowest = np.bitwise_count((reachable & (~reachable + np.uint64(1))) - np.uint64(1))
        return np.add.reduce(flat[offsets + lowest], axis=axis) / trees

    def predict_row(row: list[float]) -> Any:
        reachable = masks[0][bisect_left(edge_lists[0], row[0])]
        for mask, edge, value in zip(masks[1:], edge_lists[1:], row[1:], strict=True):
            reachable = reachable & mask[bisect_left(edge, value)]
        return probabilities(reachable, 0).tolist()

    def predict_rows(rows: Array) -> Array:
        chunks = []
        for start in range(0, len(rows), ROWS_PER_CHUNK):
            chunk = rows[start : start + ROWS_PER_CHUNK]
            reachable = masks[0][np.searchsorted(edges[0], chunk[:, 0])]
            for number in range(1, len(edges)):
                reachable &= masks[number][np.searchsorted(edges[number], chunk[:, number])]
            chunks.append(probabilities(reachable, 1))
        return np.concatenate(chunks)

    return predict_row, predict_rows


def predict_one_by_one(predict_row: PredictRow, rows: list[list[float]]) -> None:
    for row in rows:
        predict_row(row)


def main() -> None:
    workspace, seconds = Path(os.environ["PEER_WORKSPACE"]), float(sys.argv[1])
    warnings.filterwarnings("ignore", "X does not have valid feature names")
    pipeline, rows = joblib.load(workspace / "model.joblib"), np.load(workspace / "rows.npy")
    predictor = Predictor(release.read(workspace / "release"))
    if not isinstance(predictor.compiled, Forest):
        raise TypeError("the engines here compute forests")
    engines: dict[str, tuple[PredictRow, PredictRows]] = {
        "this project": (predictor.row_outputs, predictor.outputs),
        "the same algorithm, compiled by numba": compiled_by_numba(predictor.compiled),
        "bit vectors in numpy": bit_vectors(predictor.compiled),
        "ONNX Runtime, in doubles": onnx(pipeline),
        "treelite GTIL": gtil(pipeline),
        "scikit-learn": (lambda row: pipeline.predict_proba([row])[0].tolist(), pipeline.predict_proba),
    }
    expected = pipeline.predict_proba(rows)
    results = {}
    for name, (predict_row, predict_rows) in engines.items():
        outputs = predict_rows(rows)
        rows_per_second = {}
        for count in COUNTS:
            batch = np.resize(rows, (count, rows.shape[1]))
            rows_per_second[count] = count / seconds_per_call(partial(predict_rows, batch), seconds)
        singles = rows[:20].tolist()
        row_seconds = seconds_per_call(partial(predict_one_by_one, predict_row, singles), seconds) / len(singles)
        results[name] = {
            "row_microseconds": row_seconds * 1e6,
            "rows_per_second": rows_per_second,
            "other_classes": int((outputs.argmax(axis=1) != expected.argmax(axis=1)).sum()),
            "largest_difference": float(np.abs(outputs - expected).max()),
        }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
