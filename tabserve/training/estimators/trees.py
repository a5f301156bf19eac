"""Fitted decision trees → the nodes and leaves of a compiled forest.

scikit-learn scales a value in float64. The trees of a forest then round it to float32. Both compare it with a threshold
in float64. None of these steps changes the order of two values, so each threshold has a largest unscaled value that
still goes left. That value is the `cut` of the compiled node: a walk takes values as callers send them, and takes every
branch that scikit-learn takes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tabserve.model import Matrix, Vector
from tabserve.model.compiled import LEAF, NODE, Forest
from tabserve.training.preprocessing import PreparedColumns

CompiledTree = tuple[NDArray[np.void], Matrix]
"""The nodes of a tree, of dtype `NODE`, and the values of its leaves: shape (leaves, outputs)."""


def compile_trees(
    trees: list[CompiledTree], start: Vector, columns: PreparedColumns, *, rounds_to_float32: bool
) -> Forest:
    """All trees in one array of nodes and one of leaves. `start` has shape (outputs,)."""
    sizes = np.array([len(nodes) for nodes, _ in trees])
    roots = np.cumsum(sizes) - sizes
    leaf = 0
    for (nodes, leaves), root in zip(trees, roots, strict=True):
        nodes["child"] += np.where(nodes["feature"] == LEAF, leaf, root).astype(np.int32)
        leaf += len(leaves)
    nodes = np.concatenate([nodes for nodes, _ in trees])
    for column in columns.scaled:
        compares = nodes["feature"] == column
        thresholds, inverse = np.unique(nodes["cut"][compares], return_inverse=True)
        cuts = largest_going_left(
            thresholds, columns.mean[column], columns.scale[column], rounds_to_float32=rounds_to_float32
        )
        nodes["cut"][compares] = cuts[inverse]
    # many leaves have the same values, in fully grown trees nearly all: stored once, they stay in the processor's
    # caches
    leaves, inverse = np.unique(np.concatenate([leaves for _, leaves in trees]), axis=0, return_inverse=True)
    is_leaf = nodes["feature"] == LEAF
    nodes["child"][is_leaf] = inverse.ravel()[nodes["child"][is_leaf]]
    return Forest(columns.inputs, start.astype(np.float64), nodes, roots.astype(np.int32), leaves)


def nodes_in_order(
    left: NDArray[np.intp],
    right: NDArray[np.intp],
    feature: NDArray[np.intp],
    threshold: Vector,
    rows: NDArray[np.integer[Any]],
) -> tuple[NDArray[np.intp], NDArray[np.void]]:
    """The nodes of a tree in the order of a compiled forest: their old numbers, and the nodes with thresholds as cuts.

    All arrays have shape (nodes,); `left` of a leaf is negative. Siblings stand side by side. Behind them comes first
    what is below the sibling with more training `rows`, then what is below the other. A walk mostly continues nearby,
    so it misses the processor's caches a third less often than in the order of levels.
    """
    levels = [np.zeros(1, dtype=np.intp)]
    while len(inner := levels[-1][left[levels[-1]] >= 0]):
        levels.append(np.concatenate([left[inner], right[inner]]))
    below = np.zeros(len(left), dtype=np.int32)  # the number of nodes below each node
    for level in reversed(levels):
        inner = level[left[level] >= 0]
        below[inner] = 2 + below[left[inner]] + below[right[inner]]
    place, start = np.zeros_like(below), np.ones_like(below)
    for level in levels:
        inner = level[left[level] >= 0]
        place[left[inner]], place[right[inner]] = start[inner], start[inner] + 1
        more_go_left = rows[left[inner]] >= rows[right[inner]]
        more, fewer = np.where(more_go_left, (left[inner], right[inner]), (right[inner], left[inner]))
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


def largest_going_left(thresholds: Vector, mean: float, scale: float, *, rounds_to_float32: bool) -> Vector:
    """For each threshold the largest float64 whose scaled value, rounded to float32 or not, is at most the threshold.

    By bisection over all doubles: their bit patterns, read as integers, have the same order.
    """
    largest = np.full(thresholds.shape, np.finfo(np.float64).max)
    low, high = _ordered_bits((-largest).view(np.int64)), _ordered_bits(largest.view(np.int64))
    for _ in range(64):
        middle = (low & high) + ((low ^ high) >> 1)  # the mean of both, without overflow
        with np.errstate(over="ignore"):
            scaled = (_ordered_bits(middle).view(np.float64) - mean) / scale
            compared = scaled.astype(np.float32).astype(np.float64) if rounds_to_float32 else scaled
            goes_left = compared <= thresholds
        low, high = np.where(goes_left, middle, low), np.where(goes_left, high, middle)
    cuts: Vector = _ordered_bits(low).view(np.float64)
    return cuts


def _ordered_bits(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bits of doubles as integers of the same order, and back. Those of negative doubles run the other way."""
    return np.where(bits >= 0, bits, np.iinfo(np.int64).min - bits)


def split_points(trees: list[tuple[NDArray[np.integer[Any]], Vector]]) -> dict[int, Vector]:
    """The different thresholds of each column. `trees`: the column and the threshold of each node; a leaf's column is
    negative."""
    columns, thresholds = (np.concatenate(parts) for parts in zip(*trees, strict=True))
    return {int(column): np.unique(thresholds[columns == column]) for column in np.unique(columns[columns >= 0])}
