"""The compiled format: a model is read back as it was written, and anything else is refused."""

import contextlib
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from tabserve.errors import ReleaseError
from tabserve.model import Category, Classification, Number, Predictor, Release, Schema, compiled, release
from tabserve.model.compiled import INPUT, LEAF, NODE, NOWHERE, NUMBER, Compiled, Forest, Inputs, Linear
from tabserve.training import compiler
from tests.support.models import Trained, metadata

Arrays = dict[str, Any]

INPUTS = np.array(
    [
        (np.nan, 0, 0, 0, NUMBER),
        (0.5, 1, 1, 0, NUMBER),
        (np.nan, 2, NOWHERE, 0, 2),
        (np.nan, 1, NOWHERE, 4, 0),
        (np.nan, 2, 5, 0, 2),
    ],
    dtype=INPUT,
)
"""A number; a number that may be missing; two categories, the second of which sets no column; whether the number is
missing; and the same categories as numbers."""

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
    places = np.array([NOWHERE, 3, 2, NOWHERE, 4, NOWHERE], dtype=np.int32)
    return Inputs(INPUTS.copy(), places, np.array([0.1, 0.2, 0.3, 0.4]))


def forest() -> Forest:
    """Two trees for two classes. The three features become six columns."""
    nodes = np.array([(1.5, 3, 1), (0, LEAF, 0), (0, LEAF, 1), (0.5, 0, 4), (0, LEAF, 2), (0, LEAF, 3)], dtype=NODE)
    leaves = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.2, 0.8]])
    return Forest(inputs(), np.zeros(2), nodes, np.array([0, 3], dtype=np.int32), leaves)


def linear() -> Linear:
    mean, scale = np.array([1.0, 2, 0, 0, 0, 0]), np.array([3.0, 2, 1, 1, 1, 1])
    return Linear(inputs(), np.zeros(2), mean, scale, np.ones((6, 2)))


def arrays_of(model: Compiled) -> Arrays:
    return {name: array.copy() for name, array in load(model.to_bytes()).items()}


def read(content: bytes) -> Compiled:
    return compiled.read(content, SCHEMA.model_features, SCHEMA.task.outputs)


@pytest.mark.parametrize("model", [forest(), linear()])
def test_model_is_read_back_as_written(model: Compiled, trained: Trained) -> None:
    """Every array is read back to the last bit, of hand-made models and of a trained one."""
    assert read(model.to_bytes()).to_bytes() == model.to_bytes()
    real_model = compiler.compile_pipeline(trained.pipeline, trained.schema)
    read_back = compiled.read(real_model.to_bytes(), trained.schema.model_features, 3)
    assert read_back.to_bytes() == real_model.to_bytes()


def test_model_without_columns_is_refused() -> None:
    """Inputs that make no column are refused: the kernel reads the first column even where a tree is a single leaf."""
    category = Category(name="c", categories=("x",), counts=(2,))
    features = np.array([(np.nan, 0, NOWHERE, 0, 1)], dtype=INPUT)
    leaf = np.array([(0, LEAF, 0)], dtype=NODE)
    for inputs, place in ((features, NOWHERE), (features[:0], 7)):
        no_columns = Inputs(inputs, np.full(3, place, dtype=np.int32), np.empty(0))
        model = Forest(no_columns, np.zeros(2), leaf, np.zeros(1, dtype=np.int32), np.array([[0.5, 0.5]]))
        with pytest.raises(ReleaseError, match="makes no columns"):
            compiled.read(model.to_bytes(), (category,), 2)


def put(name: str, index: int, value: float) -> Callable[[Arrays], None]:
    """A change that puts a value into one of the arrays."""

    def change(arrays: Arrays) -> None:
        arrays[name][index] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("child", 0, 0), "before its parent"),
        (put("child", 3, 1), "before its parent"),
        (put("child", 0, 5), "child outside"),
        (put("child", 0, 2**31 - 1), "child outside"),
        (put("child", 1, 4), "leaf without values"),
        (put("child", 1, -1), "leaf without values"),
        (put("feature", 0, 6), "column beyond the 6"),
        (put("feature", 0, -2), "column beyond the 6"),
        (put("feature", 5, 0), "before its parent"),
        (put("roots", 1, 6), "root outside"),
        (put("roots", 1, -1), "root outside"),
        (put("cut", 0, np.nan), "cut that is not finite"),
        (put("leaves", 0, np.inf), "leaf value that is not finite"),
        (put("start", 0, np.nan), "doesn't start with 2 finite numbers"),
        (put("count", 2, 3), "other features than the schema"),
        (put("count", 0, 1), "other features than the schema"),
        (put("count", 2, NUMBER), "other features than the schema"),
        (put("count", 3, 1), "other features than the schema"),
        (put("source", 0, 2), "other features than the schema"),
        (put("source", 4, 0), "other features than the schema"),
        (put("source", 0, 3), "feature outside"),
        (put("source", 0, -1), "feature outside"),
        (put("codes", 2, 3), "categories outside"),
        (put("codes", 2, -1), "categories outside"),
        (put("codes", 3, 5), "categories outside"),
        (put("codes", 4, 1), "categories outside"),
        (put("codes", 4, -1), "categories outside"),
        (put("codes", 4, 2**31 - 1), "categories outside"),
        (put("codes", 2, 2**31 - 1), "categories outside"),
        (put("places", 0, -2), "column outside"),
        (put("places", 0, 2**31 - 1), "column outside"),
        (put("column", 0, -1), "column outside"),
        (put("column", 1, 2**31 - 1), "column outside"),
        (put("column", 4, -2), "column outside"),
        (put("column", 4, 2**31 - 1), "column outside"),
        (put("values", 0, np.nan), "value that is not finite"),
        (lambda arrays: arrays.update(start=arrays["start"][:1].copy()), "doesn't start with 2 finite numbers"),
        (lambda arrays: arrays.update(fill=arrays["fill"][:-1].copy()), "incomplete"),
        (lambda arrays: arrays.update(cut=arrays["cut"][:-1].copy()), "incomplete"),
        (lambda arrays: arrays.update(roots=arrays["roots"][:0]), "no trees"),
        (lambda arrays: arrays.update(leaves=arrays["leaves"][:, :1].copy()), "has 1 outputs, not 2"),
        (lambda arrays: arrays.update(leaves=arrays["leaves"].astype(np.float32)), "each in its type"),
        (lambda arrays: arrays.update(extra=arrays["roots"]), "nothing else"),
        (lambda arrays: arrays.pop("roots"), "must hold"),
    ],
)
def test_invalid_forest_is_refused(change: Callable[[Arrays], object], message: str) -> None:
    """Trees that loop, indices that point outside an array, and arrays of another type or shape are refused, and the
    error says why."""
    arrays = arrays_of(forest())
    change(arrays)
    with pytest.raises(ReleaseError, match=message):
        read(save(arrays))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("scale", 1, 0.0), "scale that is not positive"),
        (put("scale", 1, np.inf), "scale that is not positive"),
        (put("mean", 1, np.nan), "weight that is not finite"),
        (put("fill", 1, np.inf), "fill value that is not finite"),
        (lambda arrays: arrays.update(mean=arrays["mean"][:5].copy()), "no scale for each of 6"),
        (lambda arrays: arrays.update(weights=arrays["weights"][:5].copy()), "no weights for 6 columns"),
        (
            lambda arrays: arrays.update(weights=arrays["weights"][:, :1].copy()),
            "no weights for 6 columns and 2 outputs",
        ),
        (put("places", 1, 6), "no weights for 7 columns"),
    ],
)
def test_invalid_linear_model_is_refused(change: Callable[[Arrays], object], message: str) -> None:
    """A linear model with arrays of another shape, or with a scale or a weight that can't be used, is refused, and the
    error says why."""
    arrays = arrays_of(linear())
    change(arrays)
    with pytest.raises(ReleaseError, match=message):
        read(save(arrays))


@pytest.mark.parametrize("content", [b"", b"x" * 1000, pickle.dumps([1]), b"\xff" * 8 + b"{}", save({})])
def test_bytes_that_are_not_a_model_are_refused(content: bytes) -> None:
    """Empty, random and pickled bytes, and safetensors of nothing, are refused with a ReleaseError."""
    with pytest.raises(ReleaseError, match="model"):
        read(content)


@pytest.mark.parametrize("model", [forest(), linear()])
def test_truncated_model_is_refused(model: Compiled) -> None:
    """A model without its last bytes is refused, however many are missing."""
    content = model.to_bytes()
    for length in range(len(content)):
        with pytest.raises(ReleaseError):
            read(content[:length])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release whose golden rows have every kind of value: known and unknown, missing and very large."""
    a, b, c = np.meshgrid([0.0, 1e300, -1e300], [0.5, np.nan], [0.0, 1.0, -1.0, 1e300, -1e300])
    rows = np.column_stack([a.ravel(), b.ravel(), c.ravel()])
    return release.write(
        tmp_path_factory.mktemp("written") / "release",
        schema=SCHEMA,
        golden_rows=rows,
        golden_outputs=np.full((len(rows), 2), 0.5),
        model=forest().to_bytes(),
        link="mean",
        metadata=metadata(SCHEMA),
    )


@settings(max_examples=300)
@given(
    model=st.sampled_from([forest(), linear()]),
    changes=st.lists(
        st.tuples(
            st.sampled_from(["source", "column", "codes", "count", "places", "feature", "child", "roots"]),
            st.integers(0, 9),
            st.integers(-2, 9) | st.sampled_from([-(2**31), 2**31 - 1, 99_999]),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_model_with_any_indices_is_refused_or_can_be_computed(
    written: Release, model: Compiled, changes: list[tuple[str, int, int]]
) -> None:
    """Whatever stands in the arrays of indices, a model is refused, or computes its golden rows without an access
    outside of its arrays that would end the process."""
    arrays = arrays_of(model)
    for name, index, value in changes:
        if name in arrays:
            arrays[name][index % len(arrays[name])] = value
    with contextlib.suppress(ReleaseError):
        Predictor(dataclasses.replace(written, model=save(arrays)))
