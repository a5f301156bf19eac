"""Gradient boosting on histograms: trees that are fitted one after the other, and whose values are added up."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tabserve.model import Matrix, Vector
from tabserve.model.compiled import LEAF, Compiled
from tabserve.training.estimators.family import Axis, Choice, Family, Range, WholeRange
from tabserve.training.estimators.trees import compile_trees, nodes_in_order, split_points
from tabserve.training.preprocessing import PreparedColumns


class BoostingFamily(Family):
    space: ClassVar[Mapping[str, Axis]] = {
        "learning_rate": Range(0.01, 0.5, first=0.1),
        "max_iter": WholeRange(25, 400, first=100),
        "max_leaf_nodes": WholeRange(4, 128, first=31),
        "min_samples_leaf": WholeRange(2, 100, first=20),
        "l2_regularization": Choice((0.0, 0.01, 0.1, 1.0, 10.0), first=0.0),
    }
    has_own_threads = True
    tree_count = "max_iter"
    tree_per_score = True
    keeps_missing = True

    def describe_fit(self, estimator: Any) -> str:
        return f"{estimator.n_iter_ * estimator.n_trees_per_iteration_} trees"

    def importances(self, estimator: Any) -> tuple[str, Matrix]:
        """The share of the decrease of loss that each column brings."""
        gains = np.zeros((1, estimator.n_features_in_))
        for nodes, _ in _fitted_trees(estimator):
            inner = nodes[nodes["is_leaf"] == 0]
            np.add.at(gains[0], inner["feature_idx"], inner["gain"])
        return "gain", gains / (gains.sum() or 1.0)

    def compile(self, estimator: Any, columns: PreparedColumns, outputs: int) -> Compiled:
        zeros = outputs - estimator.n_trees_per_iteration_
        right = np.arange(estimator.n_features_in_)  # the column to compare where a missing number goes right
        right[list(columns.missing_right)] = list(columns.missing_right.values())
        trees = [_compiled_tree(nodes, right, zeros + score, outputs) for nodes, score in _fitted_trees(estimator)]
        start = np.append(np.zeros(zeros), _fitted_start(estimator))
        return compile_trees(trees, start, columns, rounds_to_float32=False)

    def split_points(self, estimator: Any) -> dict[int, Vector]:
        trees = [nodes[nodes["is_leaf"] == 0] for nodes, _ in _fitted_trees(estimator)]
        return split_points([(tree["feature_idx"], tree["num_threshold"]) for tree in trees])


BOOSTING = BoostingFamily()


def _fitted_trees(estimator: Any) -> list[tuple[NDArray[np.void], int]]:
    """The nodes of each tree with the number of its score, in the order in which scikit-learn adds them up."""
    iterations = estimator._predictors  # noqa: SLF001 no public attribute holds the fitted trees (scikit-learn 1.9)
    return [(predictor.nodes, score) for trees in iterations for score, predictor in enumerate(trees)]


def _fitted_start(estimator: Any) -> NDArray[np.float64]:
    """The values to which the trees are added: one per score."""
    start = estimator._baseline_prediction  # noqa: SLF001 no public attribute holds the fitted start (scikit-learn 1.9)
    return np.asarray(start, dtype=np.float64).ravel()


def _compiled_tree(
    tree: NDArray[np.void], missing_right: NDArray[np.intp], output: int, outputs: int
) -> tuple[NDArray[np.void], Matrix]:
    """The nodes of a tree, with thresholds as cuts, and its values as leaves: shape (leaves, outputs), 0 but in its
    own output. `missing_right`: for each column, the one to compare where a missing number goes right."""
    inner = tree["is_leaf"] == 0
    left, right = (np.where(inner, tree[side].astype(np.intp), -1) for side in ("left", "right"))
    column = np.where(tree["missing_go_to_left"], tree["feature_idx"], missing_right[tree["feature_idx"]])
    order, nodes = nodes_in_order(left, right, column, tree["num_threshold"], tree["count"])
    values = tree["value"][order[nodes["feature"] == LEAF]]
    leaves = np.zeros((len(values), outputs))
    leaves[:, output] = values
    return nodes, leaves
