"""A forest as three arrays, ready to be walked: its form, its bytes, and that no index in it leads astray.

The bytes are safetensors: a header and numbers, so reading them runs no code. Computes nothing; `classifier.predictor`
walks it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from classifier.errors import ReleaseError

NODE = np.dtype([("cut", "<f8"), ("feature", "<i4"), ("child", "<i4")])

FORMS = {"cut": ("<f8", 1), "feature": ("<i4", 1), "child": ("<i4", 1), "roots": ("<i4", 1), "leaves": ("<f8", 2)}
"""The stored arrays: type and number of dimensions."""

LEAF = -1
"""The `feature` of a leaf."""


@dataclass(frozen=True)
class Forest:
    """Trees of nodes.

    A row goes on at node `child` if its value of `feature` is at most `cut`, else at `child` + 1. In a leaf `feature`
    is `LEAF` and `child` the row of `leaves` that is its own. A row's probabilities are the mean of its leaves', one a
    tree.

    Attributes:
        nodes: shape (nodes,), of `NODE`; those of all trees, children behind their parents.
        roots: shape (trees,), int32: the first node of each tree.
        leaves: shape (leaves, classes), float64: the shares of the classes.
    """

    nodes: NDArray[np.void]
    roots: NDArray[np.int32]
    leaves: NDArray[np.float64]

    def to_bytes(self) -> bytes:
        columns = {name: np.ascontiguousarray(self.nodes[name]) for name in NODE.names or ()}
        return save(columns | {"roots": self.roots, "leaves": self.leaves})

    @classmethod
    def from_bytes(cls, content: bytes, features: int, classes: int) -> "Forest":
        """Reads a forest that may be anything.

        Raises:
            ReleaseError: it isn't one for rows of so many features and so many classes, every walk in which ends.
        """
        try:
            arrays = load(content)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ReleaseError(f"the forest can't be read: {error}") from None
        if {name: (array.dtype.str, array.ndim) for name, array in arrays.items()} != FORMS:
            raise ReleaseError(f"the forest must hold {', '.join(FORMS)}, each in its type, and nothing else")
        if not len(arrays["cut"]) == len(arrays["feature"]) == len(arrays["child"]):
            raise ReleaseError("the forest's nodes are incomplete")
        nodes = np.empty(len(arrays["cut"]), dtype=NODE)
        for name in NODE.names or ():
            nodes[name] = arrays[name]
        forest = cls(nodes, arrays["roots"], arrays["leaves"])
        forest._check(features, classes)
        return forest

    def _check(self, features: int, classes: int) -> None:
        feature, child = self.nodes["feature"], self.nodes["child"]
        inner = feature != LEAF
        own = np.arange(len(self.nodes))[inner]
        for holds, what in (
            (len(self.roots) > 0, "has no trees"),
            (self.leaves.shape[1] == classes, f"has {self.leaves.shape[1]} classes, not {classes}"),
            (_within(self.roots, 0, len(self.nodes)), "has a root outside"),
            (_within(feature[inner], 0, features), f"asks for a feature beyond the {features}"),
            ((child[inner] > own).all(), "has a child before its parent"),
            (_within(child[inner], 0, len(self.nodes) - 1), "has a child outside"),
            (_within(child[~inner], 0, len(self.leaves)), "has a leaf without values"),
            (np.isfinite(self.nodes["cut"]).all(), "has a cut that is no number"),
            (np.isfinite(self.leaves).all(), "has a leaf that is no number"),
        ):
            if not holds:
                raise ReleaseError(f"the forest {what}")


def _within(indices: NDArray[np.int32], least: int, beyond: int) -> bool:
    return bool(((indices >= least) & (indices < beyond)).all())
