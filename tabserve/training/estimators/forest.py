"""Forests: trees that are fitted independently, and whose outputs are averaged."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.tree._tree import Tree
from sklearn.utils.class_weight import compute_sample_weight

from tabserve.model import Matrix, Vector
from tabserve.model.compiled import LEAF, Compiled
from tabserve.training.estimators.family import Axis, Choice, Family, WholeRange
from tabserve.training.estimators.trees import compile_trees, nodes_in_order, split_points
from tabserve.training.preprocessing import PreparedColumns
from tabserve.training.progress import ReportProgress

PARTS, LARGE = 20, 20_000
"""A forest on more than `LARGE` rows is fitted in `PARTS` parts, so that its progress can be reported. Each part first
reads all rows, and ends with its slowest tree, so none has fewer trees than there are threads."""


class ForestFamily(Family):
    # not the number of trees: more trees are never worse, only slower
    space: ClassVar[Mapping[str, Axis]] = {
        "max_depth": Choice((None, 4, 8, 16, 32), first=None),
        "min_samples_leaf": WholeRange(1, 32, first=1),
        "max_features": Choice(("sqrt", "log2", 0.5, 1.0), first="sqrt"),
        "criterion": Choice(("gini", "entropy"), first="gini"),
    }
    takes_threads = True
    tree_count = "n_estimators"
    averages = True

    def fit(self, estimator: Any, columns: Any, target: pd.Series, report_progress: ReportProgress) -> None:
        """Fits a forest; one with many rows in parts, which gives the same trees."""
        trees = estimator.n_estimators
        # scikit-learn computes these weights itself, but warns of that in a forest that is fitted in parts
        class_weight = getattr(estimator, "class_weight", None)
        weights = compute_sample_weight(class_weight, target) if class_weight else None
        parts = max(1, min(PARTS, trees // estimator.n_jobs)) if len(target) > LARGE else 1
        estimator.set_params(warm_start=parts > 1)
        if class_weight:
            estimator.set_params(class_weight=None)
        for count in (trees * part // parts for part in range(1, parts + 1)):
            estimator.set_params(n_estimators=count).fit(columns, target, weights)
            report_progress(count / trees)
        estimator.set_params(warm_start=False)
        if class_weight:
            estimator.set_params(class_weight=class_weight)

    def describe_fit(self, estimator: Any) -> str:
        return f"{len(estimator.estimators_)} trees"

    def importances(self, estimator: Any) -> tuple[str, Matrix]:
        """The share of the decrease of impurity that each column brings, for each tree that splits."""
        splitting = [tree for tree in estimator.estimators_ if tree.tree_.node_count > 1]
        if not splitting:
            return "impurity", np.zeros((1, estimator.n_features_in_))
        return "impurity", np.array([tree.feature_importances_ for tree in splitting])

    def compile(self, estimator: Any, columns: PreparedColumns, outputs: int) -> Compiled:
        trees = [_compiled_tree(tree.tree_) for tree in estimator.estimators_]
        # a forest's trees round the scaled value to float32
        return compile_trees(trees, np.zeros(outputs), columns, rounds_to_float32=True)

    def split_points(self, estimator: Any) -> dict[int, Vector]:
        return split_points([(tree.tree_.feature, tree.tree_.threshold) for tree in estimator.estimators_])

    def reached_leaf_limit(self, estimator: Any) -> int | None:
        limit: int | None = estimator.max_leaf_nodes
        return limit if limit and any(tree.get_n_leaves() == limit for tree in estimator.estimators_) else None


FOREST = ForestFamily()


class NumberForestFamily(ForestFamily):
    """Forests that predict a number. Their splits are good with all features, unlike those of classes."""

    space: ClassVar[Mapping[str, Axis]] = {
        "max_depth": Choice((None, 4, 8, 16, 32), first=None),
        "min_samples_leaf": WholeRange(1, 32, first=1),
        "max_features": Choice((1.0, 0.5, 1 / 3, "sqrt"), first=1.0),
    }


NUMBER_FOREST = NumberForestFamily()


def _compiled_tree(tree: Tree) -> tuple[NDArray[np.void], Matrix]:
    """The nodes of a tree, with thresholds as cuts, and the values of its leaves: shape (leaves, outputs)."""
    order, nodes = nodes_in_order(
        tree.children_left, tree.children_right, tree.feature, tree.threshold, tree.n_node_samples
    )
    return nodes, tree.value[order[nodes["feature"] == LEAF], 0]
