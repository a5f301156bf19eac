"""A forest's bytes: read back as written, and refused whatever else they are."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from classifier import export
from classifier.errors import ReleaseError
from classifier.forest import LEAF, NODE, Forest
from tests.conftest import Trained

Arrays = dict[str, Any]


def small() -> Forest:
    """Two trees for two features and two classes."""
    nodes = np.array([(1.5, 1, 1), (0, LEAF, 0), (0, LEAF, 1), (0.5, 0, 4), (0, LEAF, 2), (0, LEAF, 3)], dtype=NODE)
    return Forest(nodes, np.array([0, 3], dtype=np.int32), np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.2, 0.8]]))


def arrays() -> Arrays:
    forest = small()
    columns = {name: forest.nodes[name].copy() for name in ("cut", "feature", "child")}
    return columns | {"roots": forest.roots.copy(), "leaves": forest.leaves.copy()}


def test_a_forest_comes_back_as_it_was(trained: Trained) -> None:
    """Nodes, roots and leaves come back to the last bit."""
    for forest, features, classes in ((small(), 2, 2), (export.compile_forest(trained.pipeline), 4, 3)):
        back = Forest.from_bytes(forest.to_bytes(), features, classes)
        assert back.nodes.tobytes() == forest.nodes.tobytes()
        assert back.roots.tobytes() == forest.roots.tobytes()
        assert back.leaves.tobytes() == forest.leaves.tobytes()


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
        (put("feature", 0, 2), "feature beyond the 2"),
        (put("feature", 0, -2), "feature beyond the 2"),
        (put("feature", 5, 0), "before its parent"),
        (put("roots", 1, 6), "root outside"),
        (put("roots", 1, -1), "root outside"),
        (put("cut", 0, np.nan), "cut that is no number"),
        (put("leaves", 0, np.inf), "leaf that is no number"),
        (lambda given: given.update(cut=given["cut"][:-1]), "incomplete"),
        (lambda given: given.update(roots=given["roots"][:0]), "no trees"),
        (lambda given: given.update(leaves=given["leaves"][:, :1].copy()), "has 1 classes, not 2"),
        (lambda given: given.update(leaves=given["leaves"].astype(np.float32)), "each in its type"),
        (lambda given: given.update(extra=given["roots"]), "nothing else"),
        (lambda given: given.pop("roots"), "must hold"),
    ],
)
def test_a_forest_that_leads_astray_is_refused(change: Callable[[Arrays], object], said: str) -> None:
    """Trees that loop or point outside, and arrays of other types and shapes, are refused, and it is said why."""
    given = arrays()
    change(given)
    with pytest.raises(ReleaseError, match=said):
        Forest.from_bytes(save(given), features=2, classes=2)


@pytest.mark.parametrize("content", [b"", b"x" * 1000, pickle.dumps([1]), b"\xff" * 8 + b"{}", save({})])
def test_bytes_that_are_no_forest_are_refused(content: bytes) -> None:
    """Whatever else is in the file is refused in the domain's words."""
    with pytest.raises(ReleaseError, match="forest"):
        Forest.from_bytes(content, features=2, classes=2)


def test_a_forest_that_was_cut_short_is_refused() -> None:
    """A forest with its end missing is refused wherever it was cut."""
    content = small().to_bytes()
    for end in range(len(content)):
        with pytest.raises(ReleaseError):
            Forest.from_bytes(content[:end], features=2, classes=2)
