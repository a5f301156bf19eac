"""Batches as Arrow streams: the same predictions as JSON gives, and refusals that are as precise."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tabserve.errors import InvalidInputError
from tabserve.model import Release
from tabserve.training import classification
from tabserve.training.dataset import load_iris
from tabserve.web import create_app
from tabserve.web.codecs import ARROW, JsonRequests, TooManyRowsError, decode_arrow_batch
from tabserve.web.codecs.arrow_requests import MAX_RECORD_BATCHES
from tests.support.arrow import post, stream
from tests.support.models import SETTINGS, Trained
from tests.support.sources import FakeSource
from tests.support.waiting import until

NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@pytest.fixture(scope="module")
def client(release: Release) -> Iterator[TestClient]:
    with TestClient(create_app(SETTINGS, FakeSource(release)), raise_server_exceptions=False) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield client


def table(count: int = 3, **columns: Any) -> pa.Table:
    """Random rows of Iris. `columns` are added, or replace those of the same name."""
    values = np.random.default_rng(0).uniform(0.1, 8, (count, 4))
    return pa.table({name: values[:, i] for i, name in enumerate(NAMES)} | columns)


@pytest.mark.parametrize("count", [1, 2500])
def test_arrow_stream_gets_the_predictions_of_json(client: TestClient, count: int) -> None:
    """Rows in an Arrow stream, with the columns in another order and of other number types, get the same predictions
    and warnings as in JSON, and enter the history."""
    rows = table(count).select(NAMES[::-1])
    rows = rows.set_column(0, NAMES[3], rows[NAMES[3]].cast(pa.int32(), safe=False))
    rows = rows.set_column(1, NAMES[2], rows[NAMES[2]].cast(pa.float32()))
    response = post(client, stream(rows))
    assert (response.status_code, response.headers["content-type"]) == (200, ARROW)
    reply = pa.ipc.open_stream(response.content).read_all()
    reply.validate(full=True)
    history = client.get("/predictions/history?limit=1000").json()["predictions"]
    json_reply = client.post("/predict/batch", json={"columns": rows.to_pydict()}).json()
    for column in ("prediction", "label", "confidence", "prediction_proba"):
        assert reply[column].to_pylist() == json_reply[column]
    head = json.loads(reply.schema.metadata[b"batch"])
    assert head["warnings"] == json_reply["warnings"]
    assert f"{head['batch_id']}-{count - 1}" in [entry["prediction_id"] for entry in history]


@pytest.mark.parametrize(("kinds", "label_type"), [((False, True), pa.bool_()), ((2, 10), pa.int64())])
def test_labels_have_the_type_of_the_table(
    tmp_path: Path, kinds: tuple[bool | int, bool | int], label_type: pa.DataType
) -> None:
    """Labels that are booleans or numbers in the table are such in a reply, in a batch of JSON and in an Arrow stream;
    metrics count them by their texts."""
    iris = load_iris()
    target = (iris.target == "setosa").map({False: kinds[0], True: kinds[1]})
    trained = Trained(table=replace(iris, target=target, task=classification.model_task(target)))
    source = FakeSource(trained.release(tmp_path / "release"))
    rows = pa.table({name: iris.features[name].iloc[48:53] for name in NAMES})
    expected = [kinds[1]] * 2 + [kinds[0]] * 3
    with TestClient(create_app(SETTINGS, source)) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        assert [client.post("/predict", json=row).json()["label"] for row in rows.to_pylist()] == expected
        assert client.post("/predict/batch", json={"columns": rows.to_pydict()}).json()["label"] == expected
        labels = pa.ipc.open_stream(post(client, stream(rows)).content).read_all()["label"]
        assert (labels.type, labels.to_pylist()) == (label_type, expected)
        by_class = client.get("/metrics").json()["predictions_by_class"]
        assert by_class == {str(kinds[1]): 6, str(kinds[0]): 9}


@pytest.mark.parametrize(
    ("rows", "location"),
    [
        (table(petal_width=[1.0, None, 2.0]), ["body", 1, "petal_width"]),
        (table(petal_width=[1.0, 1.0, float("nan")]), ["body", 2, "petal_width"]),
        (table(petal_width=[float("inf"), 1.0, 1.0]), ["body", 0, "petal_width"]),
        (table(petal_width=[1.0, -1e39, 1.0]), ["body", 1, "petal_width"]),
        (table(petal_width=["1", "2", "3"]), ["body", "petal_width"]),
        (table(petal_width=[True, False, True]), ["body", "petal_width"]),
        (table(petal_width=[[1.0], [1.0], [1.0]]), ["body", "petal_width"]),
        (table(petal_width=pa.array(["a", "b", "a"]).dictionary_encode()), ["body", "petal_width"]),
        (table(extra=[1.0, 1.0, 1.0]), ["body", "extra"]),
        (table().drop_columns(["petal_width"]), ["body", "petal_width"]),
        (pa.concat_tables([table(), table()]).slice(0, 0), ["body"]),
        (table().append_column("petal_width", pa.array([1.0, 1.0, 1.0])), ["body", "petal_width"]),
    ],
)
def test_table_that_breaks_the_schema_is_refused(client: TestClient, rows: pa.Table, location: list[Any]) -> None:
    """A missing, unknown, duplicate or mistyped column, and a missing, infinite or too large value, are refused with
    the number of the row and the name of the field, and no prediction is counted."""
    before = client.get("/metrics").json()["predictions_total"]
    response = post(client, stream(rows))
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == location
    assert client.get("/metrics").json()["predictions_total"] == before


def test_row_number_counts_through_all_record_batches(client: TestClient) -> None:
    """A bad row in a later record batch is named by its number in the whole stream."""
    values = np.ones(2500)
    values[2345] = np.nan
    response = post(client, stream(table(2500, petal_width=values)))
    assert response.json()["detail"][0]["loc"] == ["body", 2345, "petal_width"]


def test_stream_over_the_row_limit_is_refused(release: Release) -> None:
    """One row more than the limit is refused, and the error names the limit; a stream at the limit is decoded."""
    assert len(decode_arrow_batch(stream(table(2500)), JsonRequests(release.schema, 2500))) == 2500
    with pytest.raises(TooManyRowsError, match="2499"):
        decode_arrow_batch(stream(table(2500)), JsonRequests(release.schema, 2499))


def test_row_limit_is_checked_before_memory_is_allocated(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record batch with more rows than the limit is refused before a matrix is allocated for it. Its columns may
    share the same bytes, so the size of the body doesn't bound the size of the matrix."""
    body = stream(table(500))
    monkeypatch.setattr("tabserve.web.codecs.arrow_requests.np.full", lambda *_: pytest.fail("memory was allocated"))
    with pytest.raises(TooManyRowsError):
        decode_arrow_batch(body, JsonRequests(release.schema, 499))


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_stream_is_refused(client: TestClient, compression: str) -> None:
    """A compressed stream is refused, because a few bytes can expand to any number of rows, and the reply says so."""
    response = post(client, stream(table(1000), compression=compression))
    assert response.status_code == 422
    assert "compressed" in response.json()["detail"][0]["msg"]


def test_flood_of_record_batches_is_refused(release: Release) -> None:
    """A stream of more than `MAX_RECORD_BATCHES` record batches is refused, and the error says to send larger ones."""
    head = stream(table().schema.empty_table())[:-8]
    record_batch = stream(table(1))[len(head) : -8]
    with pytest.raises(InvalidInputError) as caught:
        decode_arrow_batch(head + record_batch * (MAX_RECORD_BATCHES + 1), JsonRequests(release.schema, 10**6))
    assert "send larger ones" in str(caught.value.problems)


def test_body_that_is_not_a_stream_is_refused(client: TestClient) -> None:
    """Other bytes than a stream, and the beginning of a stream, are refused with 422."""
    whole = stream(table())
    for body in (b"", b"x", b"{}", b"\xff" * 1000, *(whole[:length] for length in range(0, len(whole) - 8, 8))):
        response = post(client, body)
        assert response.status_code == 422, body
        assert response.json()["detail"][0]["loc"] == ["body"]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_stream_is_refused_or_gives_finite_rows(trained: Trained, data: st.DataObject) -> None:
    """A stream in which some bytes are changed is refused, or decoded to finite rows of the right width."""
    body = bytearray(stream(table()))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        rows = decode_arrow_batch(bytes(body), JsonRequests(trained.schema, 100))
    except (InvalidInputError, TooManyRowsError):
        return
    assert rows.values.shape[1] == 4
    assert np.isfinite(rows.values).all()
