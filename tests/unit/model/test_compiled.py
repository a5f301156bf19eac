"""A compiled model's bytes: read back as written, and refused whatever else they are."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from tabserve.errors import ReleaseError
from tabserve.model import compiled
from tabserve.model.compiled import INPUT, LEAF, NODE, NOWHERE, Compiled, Forest, Inputs, Linear
from tabserve.model.schema import Category, Number, Schema
from tabserve.model.task import Classification
from tabserve.training import compiler
from tests.support.models import Trained

Arrays = dict[str, Any]


INPUTS = np.array([(np.nan, 0, 0, 0), (0.5, 1, 0, 0), (np.nan, 0, 0, 2)], dtype=INPUT)
"""A number, one that may be missing, and one of two categories, of which the second has no column."""

SCHEMA = Schema(
    target="kind",
    features=(
        Number(name="a", minimum=0, maximum=1, mean=0, lowest=-9, highest=9),
        Number(name="b", minimum=0, maximum=1, mean=0, lowest=-9, highest=9, missing=1),
        Category(name="c", categories=("x", "y"), counts=(2, 1)),
    ),
    task=Classification(classes=("no", "yes")),
)


def inputs() -> Inputs:
    return Inputs(INPUTS.copy(), np.array([NOWHERE, 3, 2, NOWHERE], dtype=np.int32))


def forest() -> Forest:
    """Two trees over the four columns that are made of three features, for two classes."""
    nodes = np.array([(1.5, 3, 1), (0, LEAF, 0), (0, LEAF, 1), (0.5, 0, 4), (0, LEAF, 2), (0, LEAF, 3)], dtype=NODE)
    leaves = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.2, 0.8]])
    return Forest(inputs(), np.zeros(2), nodes, np.array([0, 3], dtype=np.int32), leaves)


def linear() -> Linear:
    return Linear(inputs(), np.zeros(2), np.array([1.0, 2, 0, 0]), np.array([3.0, 2, 1, 1]), np.ones((4, 2)))


def arrays(model: Compiled) -> Arrays:
    return {name: array.copy() for name, array in load(model.to_bytes()).items()}


def read(content: bytes) -> Compiled:
    return compiled.read(content, SCHEMA.features, SCHEMA.task.outputs)


@pytest.mark.parametrize("model", [forest(), linear()])
def test_a_model_comes_back_as_it_was(model: Compiled, trained: Trained) -> None:
    """Every array comes back to the last bit."""
    assert read(model.to_bytes()).to_bytes() == model.to_bytes()
    real = compiler.compile_pipeline(trained.pipeline, trained.schema)
    assert compiled.read(real.to_bytes(), trained.schema.features, 3).to_bytes() == real.to_bytes()


def test_a_model_without_columns_is_refused() -> None:
    """Inputs that make no column are refused: a walk looks at the first one before it knows that it has ended."""
    only = Category(name="c", categories=("x",), counts=(2,))
    features = np.array([(np.nan, 0, 0, 1)], dtype=INPUT)
    leaf = np.array([(0, LEAF, 0)], dtype=NODE)
    nothing = Inputs(features, np.full(3, NOWHERE, dtype=np.int32))
    model = Forest(nothing, np.zeros(2), leaf, np.zeros(1, dtype=np.int32), np.array([[0.5, 0.5]]))
    with pytest.raises(ReleaseError, match="makes no columns"):
        compiled.read(model.to_bytes(), (only,), 2)


def put(name: str, at: int, value: float) -> Callable[[Arrays], None]:
    def change(given: Arrays) -> None:
        given[name][at] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("child", 0, 0), "before its parent"),
        (put("child", 3, 1), "before its parent"),
        (put("child", 0, 5), "child outside"),
        (put("child", 0, 2**31 - 1), "child outside"),
        (put("child", 1, 4), "leaf without values"),
        (put("child", 1, -1), "leaf without values"),
        (put("feature", 0, 4), "column beyond the 4"),
        (put("feature", 0, -2), "column beyond the 4"),
        (put("feature", 5, 0), "before its parent"),
        (put("roots", 1, 6), "root outside"),
        (put("roots", 1, -1), "root outside"),
        (put("cut", 0, np.nan), "cut that is not finite"),
        (put("leaves", 0, np.inf), "leaf value that is not finite"),
        (put("start", 0, np.nan), "doesn't start with 2 finite numbers"),
        (put("count", 2, 3), "other features than the schema"),
        (put("count", 0, 1), "other features than the schema"),
        (put("codes", 2, 1), "categories outside"),
        (put("codes", 2, -1), "categories outside"),
        (put("codes", 2, 2**31 - 1), "categories outside"),
        (put("places", 0, -2), "column outside"),
        (put("places", 0, 2**31 - 1), "column outside"),
        (put("column", 0, -1), "column outside"),
        (put("column", 1, 2**31 - 1), "column outside"),
        (put("fill", 1, np.inf), "fill value that is not finite"),
        (lambda given: given.update(start=given["start"][:1].copy()), "doesn't start with 2 finite numbers"),
        (lambda given: given.update(fill=given["fill"][:-1].copy()), "incomplete"),
        (lambda given: given.update(cut=given["cut"][:-1].copy()), "incomplete"),
        (lambda given: given.update(roots=given["roots"][:0]), "no trees"),
        (lambda given: given.update(leaves=given["leaves"][:, :1].copy()), "has 1 outputs, not 2"),
        (lambda given: given.update(leaves=given["leaves"].astype(np.float32)), "each in its type"),
        (lambda given: given.update(extra=given["roots"]), "nothing else"),
        (lambda given: given.pop("roots"), "must hold"),
    ],
)
def test_a_forest_that_leads_astray_is_refused(change: Callable[[Arrays], object], said: str) -> None:
    """Trees that loop or point outside, inputs that do, and arrays of other types and shapes, are refused, and it is
    said why."""
    given = arrays(forest())
    change(given)
    with pytest.raises(ReleaseError, match=said):
        read(save(given))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("scale", 1, 0.0), "scale that is not positive"),
        (put("scale", 1, np.inf), "scale that is not positive"),
        (put("mean", 1, np.nan), "weight that is not finite"),
        (lambda given: given.update(mean=given["mean"][:3].copy()), "no scale for each of 4"),
        (lambda given: given.update(weights=given["weights"][:3].copy()), "no weights for 4 columns"),
        (lambda given: given.update(weights=given["weights"][:, :1].copy()), "no weights for 4 columns and 2 outputs"),
        (put("places", 1, 4), "no weights for 5 columns"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Callable[[Arrays], object], said: str) -> None:
    """So are a linear model's arrays."""
    given = arrays(linear())
    change(given)
    with pytest.raises(ReleaseError, match=said):
        read(save(given))


@pytest.mark.parametrize("content", [b"", b"x" * 1000, pickle.dumps([1]), b"\xff" * 8 + b"{}", save({})])
def test_bytes_that_are_no_forest_are_refused(content: bytes) -> None:
    """Whatever else is in the file is refused in the domain's words."""
    with pytest.raises(ReleaseError, match="model"):
        read(content)


@pytest.mark.parametrize("model", [forest(), linear()])
def test_a_model_that_was_cut_short_is_refused(model: Compiled) -> None:
    """A model with its end missing is refused wherever it was cut."""
    content = model.to_bytes()
    for end in range(len(content)):
        with pytest.raises(ReleaseError):
            read(content[:end])
