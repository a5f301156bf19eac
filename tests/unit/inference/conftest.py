"""A small model that is made by hand, so that its predictions can be worked out on paper."""

from pathlib import Path

import numpy as np
import pytest

from tabserve.model import Category, Classification, Number, Predictor, Schema, release
from tabserve.model.compiled import INPUT, LEAF, NODE, NOWHERE, NUMBER, Forest, Inputs
from tests.support.models import metadata

SCHEMA = Schema(
    target="ripe",
    features=(
        Number(name="size", minimum=0, maximum=10, mean=5, lowest=-1e9, highest=1e9, missing=1),
        Category(name="colour", categories=("red", "blue", "grey"), counts=(9, 7, 1), pooled=1),
    ),
    task=Classification(classes=("no", "yes")),
)


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """One tree. A size up to 5, and a missing one, gives (0.75, 0.25). A larger size gives (0.5, 0.5) if the colour is
    red, else (0.25, 0.75)."""
    features = np.array([(5, 0, 0, 0, NUMBER), (np.nan, 1, NOWHERE, 0, 3)], dtype=INPUT)
    inputs = Inputs(features, np.array([NOWHERE, NOWHERE, 1, 2, NOWHERE], dtype=np.int32), np.empty(0))
    nodes = np.array([(5, 0, 1), (0, LEAF, 0), (0.5, 1, 3), (0, LEAF, 1), (0, LEAF, 2)], dtype=NODE)
    leaves = np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])
    forest = Forest(inputs, np.zeros(2), nodes, np.zeros(1, dtype=np.int32), leaves)
    folder: Path = tmp_path_factory.mktemp("handmade") / "release"
    return Predictor(
        release.write(
            folder,
            schema=SCHEMA,
            golden_rows=np.array([[5.0, 0.0], [6.0, 1.0], [6.0, 0.0]]),
            golden_outputs=leaves,
            model=forest.to_bytes(),
            link="mean",
            metadata=metadata(SCHEMA),
        )
    )
