"""A model of features with many and with rare categories, over HTTP."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from tabserve.model import Release
from tabserve.training import task_training
from tabserve.training.dataset import Dataset
from tabserve.web import create_app
from tests.support.models import SETTINGS, Trained
from tests.support.sources import FakeSource
from tests.support.waiting import until

ROWS, CODES = 4800, 1200


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A model of a code with 1,200 values, and of a colour with two common and two rare ones."""
    codes = np.arange(ROWS) % CODES
    colours = np.where(np.arange(ROWS) % 2 == 0, "red", "blue").astype(object)
    colours[::1600] = "pink", "mauve", "mauve"
    features = pd.DataFrame({"code": pd.Series([f"c{code}" for code in codes], dtype="str")})
    features["colour"] = pd.Series(colours, dtype="str")
    kind = pd.Series(np.where(codes % 3 == 0, "yes", "no"), name="kind").astype(object)
    table = Dataset("codes", features, kind, task_training("classification").model_task(kind))
    return Trained(table=table).release(tmp_path_factory.mktemp("codes") / "release")


@pytest.fixture(scope="module")
def client(release: Release) -> Iterator[TestClient]:
    with TestClient(create_app(SETTINGS, FakeSource(release))) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield client


def feature(client: TestClient, name: str) -> dict[str, Any]:
    """As `/model/info` shows it."""
    features: list[dict[str, Any]] = client.get("/model/info").json()["features"]
    return next(one for one in features if one["name"] == name)


def code_counts(release: Release) -> tuple[int, ...]:
    code = release.schema.features[0]
    assert code.kind == "category"
    return code.counts


@pytest.mark.parametrize(
    ("colour", "message"),
    [
        ("red", None),
        ("mauve", "too rare in training: the model doesn't tell it from other rare categories"),
        ("green", "not one of the 4 categories seen in training"),
    ],
)
def test_pooled_category_is_warned_of_in_its_own_words(client: TestClient, colour: str, message: str | None) -> None:
    """A category that the model doesn't tell from others is answered with a warning, alone and in a batch, and isn't
    called unknown. It gets what every other pooled one gets."""
    row = {"code": "c7", "colour": colour}
    expected = [{"feature": "colour", "message": message}] if message else []
    reply = client.post("/predict", json=row).json()
    assert reply["warnings"] == expected
    batch = client.post("/predict/batch", json={"records": [row]}).json()
    assert batch["warnings"] == [{"row": 0, **warning} for warning in expected]
    if colour == "mauve":
        pink = client.post("/predict", json=row | {"colour": "pink"}).json()
        assert reply["prediction_proba"] == pink["prediction_proba"]


def test_model_info_counts_pooled_and_many_categories(client: TestClient, release: Release) -> None:
    """`/model/info` has the pooled categories with their rows, and of many categories the 1000 most frequent and how
    many there are."""
    colour, code = feature(client, "colour"), feature(client, "code")
    assert (list(colour["categories"]), list(colour["pooled"]), colour["category_count"]) == (
        ["blue", "red"], ["mauve", "pink"], 4,
    )  # fmt: skip
    assert sum(colour["pooled"].values()) <= 3
    counts = code_counts(release)
    assert (len(code["categories"]), code["pooled"], code["category_count"]) == (1000, {}, len(counts))
    assert sorted(code["categories"].values()) == sorted(counts)[-1000:]


def test_documentation_of_many_categories_stays_small(client: TestClient, release: Release) -> None:
    """/openapi.json names the categories of a small feature, and only examples of a large one."""
    response = client.get("/openapi.json")
    fields = response.json()["components"]["schemas"]["PredictRequest"]["properties"]
    assert fields["colour"]["enum"] == ["blue", "red", "mauve", "pink"]
    assert "enum" not in fields["code"]
    assert len(fields["code"]["examples"]) == 10
    assert fields["code"]["description"].startswith(f"one of {len(code_counts(release))} categories")
    assert len(response.content) < 100_000
