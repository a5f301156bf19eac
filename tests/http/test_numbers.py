"""A model of a number over HTTP: one row, batches in every form, history, metrics, documentation, and a challenger."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from openapi_spec_validator import validate
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from tabserve.model import Predictor, Release
from tabserve.web import schemas
from tabserve.web.app import create_app
from tabserve.web.model_schemas import ModelReply
from tests.support import number_tables
from tests.support.arrow import post, stream
from tests.support.models import SETTINGS, Trained
from tests.support.sources import FakeSource
from tests.support.waiting import until

INTERVALS = {"coverage": 0.8, "interval_bounds": (3000.0,), "interval_radii": (250.0, 1500.0)}
COLUMNS = number_tables.diamonds(40, seed=1).drop(columns="price").astype({"table": float})
ROWS = [{str(name): value for name, value in row.items()} for row in COLUMNS.to_dict("records")]


def diamonds(trees: int, folder: Path, version: str) -> Release:
    table = number_tables.as_dataset(number_tables.diamonds(300), "price")
    task = table.task.model_copy(update=INTERVALS)
    return Trained(trees, table=replace(table, task=task)).release(folder, version)


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return diamonds(5, tmp_path_factory.mktemp("diamonds") / "release", "20260101_000000")


@pytest.fixture
def client(priced: Release) -> Iterator[TestClient]:
    with TestClient(create_app(SETTINGS, FakeSource(priced))) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield client


def expected(release: Release, rows: list[dict[str, Any]]) -> list[float]:
    predictor = Predictor(release)
    values = np.array([predictor.schema.row(row) for row in rows])
    numbers: list[float] = predictor.outputs(values)[:, 0].tolist()
    return numbers


def test_reply_has_the_number_and_its_interval(client: TestClient, priced: Release) -> None:
    """The reply has the model's number, the interval around it, the coverage, and no key of classes."""
    reply = client.post("/predict", json=ROWS[0]).json()
    (number,) = expected(priced, ROWS[:1])
    radius = 250.0 if number <= 3000 else 1500.0
    assert reply["prediction"] == number
    assert reply["interval"] == [number - radius, number + radius]
    assert reply["coverage"] == 0.8
    assert set(reply) == set(schemas.PredictedNumber.model_fields)


def test_every_form_of_a_batch_gets_the_same_numbers(client: TestClient, priced: Release) -> None:
    """Records, columns and an Arrow stream get the numbers that their rows get alone, and the coverage once."""
    alone = [client.post("/predict", json=row).json() for row in ROWS]
    assert [reply["prediction"] for reply in alone] == expected(priced, ROWS)
    for body in ({"records": ROWS}, {"columns": COLUMNS.to_dict("list")}):
        reply = client.post("/predict/batch", json=body).json()
        assert reply["prediction"] == [row["prediction"] for row in alone]
        assert reply["interval"] == [row["interval"] for row in alone]
        assert set(reply) == set(schemas.PredictedNumbers.model_fields)
    table = pa.ipc.open_stream(post(client, stream(pa.Table.from_pandas(COLUMNS))).content).read_all()
    assert table.column("prediction").to_pylist() == [row["prediction"] for row in alone]
    assert table.column("interval").to_pylist() == [row["interval"] for row in alone]
    assert json.loads(table.schema.metadata[b"batch"])["coverage"] == 0.8


def test_history_and_metrics_have_the_numbers(client: TestClient) -> None:
    """The history has single rows and rows of batches as they were answered; the metrics count them in deciles."""
    single = client.post("/predict", json=ROWS[0]).json()
    batch = client.post("/predict/batch", json={"records": ROWS}).json()
    history = client.get("/predictions/history").json()
    TypeAdapter(schemas.HistoryReply).validate_python(history)
    newest, *_, oldest = history["predictions"]
    assert {key: oldest[key] for key in single} == single
    assert (newest["prediction"], newest["interval"]) == (batch["prediction"][-1], batch["interval"][-1])
    metrics = client.get("/metrics").json()
    schemas.MetricsReply.model_validate(metrics)
    (ranges,) = metrics["predictions_by_range"].values()
    assert sum(ranges.values()) == metrics["predictions_total"] == 41
    assert metrics["mean_prediction"] == pytest.approx((sum(batch["prediction"]) + single["prediction"]) / 41)
    assert (metrics["predictions_by_class"], metrics["mean_confidence"]) == ({}, None)


def test_documentation_is_that_of_a_number(client: TestClient) -> None:
    """/openapi.json is valid and shows the reply of a number; /model/info has the range of the target and the
    intervals."""
    document = client.get("/openapi.json").json()
    validate(document)
    shown = document["components"]["schemas"]
    assert shown["PredictReply"] == {"$ref": "#/components/schemas/PredictedNumber"}
    assert shown["BatchReply"] == {"$ref": "#/components/schemas/PredictedNumbers"}
    info = client.get("/model/info").json()
    ModelReply.model_validate(info)
    assert info["task"] == "regression"
    assert info["target_minimum"] < info["target_deciles"][0] < info["target_deciles"][-1] < info["target_maximum"]
    assert (info["coverage"], info["interval_radii"]) == (0.8, [250.0, 1500.0])
    assert "classes" not in info


def test_challenger_of_a_number_is_compared(priced: Release, tmp_path: Path) -> None:
    """A challenger predicts the rows of callers again, and /model/info says how far its numbers are; one of classes is
    not compared."""
    source = FakeSource(priced)
    source.candidate = diamonds(2, tmp_path / "release", "20260102_000000")
    with TestClient(create_app(SETTINGS, source)) as client:

        def challenger() -> Any:
            return client.get("/model/info").json()["challenger"] or {}

        until(lambda: challenger().get("compared") is not None)
        client.post("/predict", json=ROWS[0])
        client.post("/predict/batch", json={"records": ROWS})
        until(lambda: sum(challenger()["compared"]["rows"].values()) == 41)
        compared = challenger()["compared"]
        schemas.ComparedReply.model_validate(compared)
        spread = priced.schema.task.output_scale
        pairs = zip(expected(priced, [ROWS[0], *ROWS]), expected(source.candidate, [ROWS[0], *ROWS]), strict=True)
        distances = [abs(one - other) / spread for one, other in pairs]
        assert compared["prediction_distance"]["largest"] == pytest.approx(max(distances), abs=1e-6)
        assert compared["rows"]["differed"] == sum(distance > 0.01 for distance in distances)
        source.candidate = Trained(2).release(tmp_path / "iris", "20260103_000000")
        until(lambda: challenger()["reason"] is not None)
        assert "other features" in challenger()["reason"]
