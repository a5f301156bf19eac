"""The compiled format of a model: arrays, their bytes, and the check that every index in them is valid.

The bytes are safetensors, a header and numbers, so reading them runs no code. This module computes nothing;
`tabserve.model.predictor` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tabserve.errors import ReleaseError
from tabserve.model.arrays import Matrix, Vector
from tabserve.model.features import Category, ModelFeature

Arrays = Mapping[str, NDArray[Any]]

INPUT = np.dtype([("fill", "<f8"), ("source", "<i4"), ("column", "<i4"), ("codes", "<i4"), ("count", "<i4")])

NODE = np.dtype([("cut", "<f8"), ("feature", "<i4"), ("child", "<i4")])

NUMBERS, PLACES, TABLE = ("<f8", 1), ("<i4", 1), ("<f8", 2)
INPUTS = {
    "fill": NUMBERS, "source": PLACES, "column": PLACES, "codes": PLACES, "count": PLACES, "places": PLACES,
    "values": NUMBERS,
}  # fmt: skip
COMMON = INPUTS | {"start": NUMBERS}
FOREST = {"cut": NUMBERS, "feature": PLACES, "child": PLACES, "roots": PLACES, "leaves": TABLE}
LINEAR = {"mean": NUMBERS, "scale": NUMBERS, "weights": TABLE}
"""The stored arrays: name → type and number of dimensions."""

LEAF = -1
"""Stands in `feature` of a node that is a leaf."""

NOWHERE = -1
"""Stands in `places` for a category that sets no column, and in `column` of an input whose column is in `places`."""

NUMBER = -1
"""Stands in `count` of an input that is a number."""

MAX_COLUMNS = 100_000
"""One row of columns is kept on the stack."""

Link = Literal["mean", "softmax", "identity", "exp"]
"""How sums become outputs: divided by the number of trees, by the softmax, as they are, or by the exponential."""


@dataclass(frozen=True)
class Inputs:
    """How the features of a row become the columns that the model computes with. Columns that no input sets are 0.

    Each input reads the feature `source`. One with the count `NUMBER` sets its `column` to the number, or to its `fill`
    if that is missing. Any other has `count` categories and takes the entry `codes` of a table if the value is missing,
    `codes + 1` if it is unknown, `codes + 2 + n` if it is the n-th. The table is `values`, and the entry goes to its
    `column`; or, if that is `NOWHERE`, the table is `places`, and the column of that number becomes 1 (none, where it
    is `NOWHERE`). With 0 categories it is an indicator: it tells a missing number from all others.

    Attributes:
        features: shape (inputs,), of `INPUT`.
        places: shape (places,), int32.
        values: shape (values,), float64.
    """

    features: NDArray[np.void]
    places: NDArray[np.int32]
    values: Vector

    @property
    def width(self) -> int:
        """How many columns there are."""
        return int(max(self.features["column"].max(initial=NOWHERE), self.places.max(initial=NOWHERE))) + 1

    def are_plain(self, features: int) -> bool:
        """Whether the columns are all features, unchanged."""
        numbers, every = self.features["count"] == NUMBER, np.arange(features)
        only_numbers = bool(numbers.all() and np.isnan(self.features["fill"]).all())
        return only_numbers and all(np.array_equal(self.features[name], every) for name in ("source", "column"))

    @classmethod
    def plain(cls, count: int) -> "Inputs":
        """The inputs for `count` numbers that are never missing."""
        features = np.zeros(count, INPUT)
        features["fill"], features["count"] = np.nan, NUMBER
        features["source"] = features["column"] = np.arange(count)
        return cls(features, np.empty(0, np.int32), np.empty(0))

    def check(self, schema: tuple[ModelFeature, ...]) -> None:
        """Raises ReleaseError unless these are valid inputs for the features of the schema."""
        source, column = self.features["source"], self.features["column"]
        count, codes = self.features["count"], self.features["codes"]
        _require((len(source) > 0, "makes no columns"), (_within(source, 0, len(schema)), "reads a feature outside"))
        categories = np.array([len(one.categories) if isinstance(one, Category) else 0 for one in schema])[source]
        numbers, set_places = count == NUMBER, (count != NUMBER) & (column == NOWHERE)
        tables = np.where(set_places, len(self.places), len(self.values))
        ends = codes.astype(np.int64) + 2 + count
        expected = np.where(numbers & (categories == 0), NUMBER, categories)
        _require(
            (np.array_equal(count, expected), "has other features than the schema"),
            (_within(column[~set_places], 0, MAX_COLUMNS), "has a column outside"),
            (((codes >= 0) & (ends <= tables))[~numbers].all(), "has categories outside"),
            (_within(self.places, NOWHERE, MAX_COLUMNS), "has a column outside"),
            (np.isfinite(self.values).all(), "has a value that is not finite"),
            (self.width > 0, "makes no columns"),  # a walk that rests in a leaf reads the first one
        )


@dataclass(frozen=True)
class Forest:
    """A model of decision trees.

    A row continues at node `child` if its value in column `feature` is at most `cut`, else at `child` + 1. In a leaf
    `feature` is `LEAF`, and `child` is the row of `leaves` with its values. The sums of a row are `start` plus the
    values of its leaf in each tree.

    Attributes:
        inputs: how features become columns.
        start: shape (outputs,), float64.
        nodes: shape (nodes,), of `NODE`; the nodes of all trees, children after their parents.
        roots: shape (trees,), int32: the first node of each tree.
        leaves: shape (leaves, outputs), float64.
    """

    inputs: Inputs
    start: Vector
    nodes: NDArray[np.void]
    roots: NDArray[np.int32]
    leaves: Matrix

    def to_bytes(self) -> bytes:
        columns = {name: np.ascontiguousarray(self.nodes[name]) for name in NODE.names or ()}
        return _to_bytes(self.inputs, columns | {"start": self.start, "roots": self.roots, "leaves": self.leaves})

    def check(self, outputs: int) -> None:
        """Raises ReleaseError unless every walk through the trees stays inside the arrays and ends."""
        feature, child = self.nodes["feature"], self.nodes["child"]
        inner = feature != LEAF
        own = np.arange(len(self.nodes))[inner]
        columns = self.inputs.width
        _require(
            (len(self.roots) > 0, "has no trees"),
            (self.leaves.shape[1] == outputs, f"has {self.leaves.shape[1]} outputs, not {outputs}"),
            (_within(self.roots, 0, len(self.nodes)), "has a root outside"),
            (_within(feature[inner], 0, columns), f"uses a column beyond the {columns}"),
            ((child[inner] > own).all(), "has a child before its parent"),
            (_within(child[inner], 0, len(self.nodes) - 1), "has a child outside"),
            (_within(child[~inner], 0, len(self.leaves)), "has a leaf without values"),
            (np.isfinite(self.nodes["cut"]).all(), "has a cut that is not finite"),
            (np.isfinite(self.leaves).all(), "has a leaf value that is not finite"),
        )


@dataclass(frozen=True)
class Linear:
    """A linear model. The sums of a row are `start` plus, for each column, (value - `mean`) / `scale` * `weights`.

    Attributes:
        inputs: how features become columns.
        start: shape (outputs,), float64.
        mean, scale: shape (columns,), float64.
        weights: shape (columns, outputs), float64.
    """

    inputs: Inputs
    start: Vector
    mean: Vector
    scale: Vector
    weights: Matrix

    def to_bytes(self) -> bytes:
        arrays = {"start": self.start, "mean": self.mean, "scale": self.scale, "weights": self.weights}
        return _to_bytes(self.inputs, arrays)

    def check(self, outputs: int) -> None:
        """Raises ReleaseError unless the arrays have the right shapes and finite values."""
        columns = self.inputs.width
        _require(
            (self.weights.shape == (columns, outputs), f"has no weights for {columns} columns and {outputs} outputs"),
            (len(self.mean) == len(self.scale) == columns, f"has no scale for each of {columns} columns"),
            (bool(np.isfinite(self.mean).all() and np.isfinite(self.weights).all()), "has a weight that is not finite"),
            (bool((np.isfinite(self.scale) & (self.scale > 0)).all()), "has a scale that is not positive"),
            (not np.isinf(self.inputs.features["fill"]).any(), "has a fill value that is not finite"),
        )


Compiled = Forest | Linear


def read(content: bytes, features: tuple[ModelFeature, ...], outputs: int) -> Compiled:
    """Reads a model from bytes that may be anything.

    Raises:
        ReleaseError: it is not a valid model of these features with so many outputs.
    """
    try:
        arrays = load(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ReleaseError(f"the model can't be read: {error}") from None
    found = {name: (array.dtype.str, array.ndim) for name, array in arrays.items()}
    own = FOREST if "roots" in arrays else LINEAR
    forms = COMMON | own
    if found != forms:
        raise ReleaseError(f"the model must hold {', '.join(forms)}, each in its type, and nothing else")
    inputs = Inputs(_struct_array(INPUT, arrays), arrays["places"], arrays["values"])
    inputs.check(features)
    model: Compiled
    if own is FOREST:
        model = Forest(inputs, arrays["start"], _struct_array(NODE, arrays), arrays["roots"], arrays["leaves"])
    else:
        model = Linear(inputs, *(arrays[name] for name in ("start", "mean", "scale", "weights")))
    _require(
        (len(model.start) == outputs and np.isfinite(model.start).all(), f"doesn't start with {outputs} finite numbers")
    )
    model.check(outputs)
    return model


def _to_bytes(inputs: Inputs, arrays: Arrays) -> bytes:
    features = {name: np.ascontiguousarray(inputs.features[name]) for name in INPUT.names or ()}
    return save({**features, "places": inputs.places, "values": inputs.values, **arrays})


def _struct_array(kind: np.dtype[Any], arrays: Arrays) -> NDArray[np.void]:
    """Columns of equal length as one array of structs."""
    names = kind.names or ()
    if len({len(arrays[name]) for name in names}) != 1:
        raise ReleaseError(f"the model is incomplete: {', '.join(names)} differ in length")
    joined = np.zeros(len(arrays[names[0]]), dtype=kind)
    for name in names:
        joined[name] = arrays[name]
    return joined


def _require(*conditions: tuple[Any, str]) -> None:
    for holds, problem in conditions:
        if not holds:
            raise ReleaseError(f"the model {problem}")


def _within(indices: NDArray[np.int32], least: int, beyond: int) -> bool:
    return bool(((indices >= least) & (indices < beyond)).all())
