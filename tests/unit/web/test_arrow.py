"""Batches as Arrow streams: the answers of JSON, and refusals as clear."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tabserve.errors import InvalidInputError
from tabserve.model.release import Release
from tabserve.model.schema import Schema
from tabserve.web.app import create_app
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


def table(count: int = 3, **changed: Any) -> pa.Table:
    values = np.random.default_rng(0).uniform(0.1, 8, (count, 4))
    return pa.table({name: values[:, number] for number, name in enumerate(NAMES)} | changed)


@pytest.mark.parametrize("count", [1, 2500])
def test_an_arrow_stream_gets_the_answers_of_json(client: TestClient, count: int) -> None:
    """Rows as an Arrow stream, in another order of columns and other types of numbers, get the very answers that they
    get as JSON, and stand in the history."""
    rows = table(count).select(NAMES[::-1])
    rows = rows.set_column(0, NAMES[3], rows[NAMES[3]].cast(pa.int32(), safe=False))
    rows = rows.set_column(1, NAMES[2], rows[NAMES[2]].cast(pa.float32()))
    response = post(client, stream(rows))
    assert (response.status_code, response.headers["content-type"]) == (200, ARROW)
    answers = pa.ipc.open_stream(response.content).read_all()
    answers.validate(full=True)
    history = client.get("/predictions/history?limit=1000").json()["predictions"]
    as_json = client.post("/predict/batch", json={"columns": rows.to_pydict()}).json()
    for column in ("prediction", "label", "confidence", "prediction_proba"):
        assert answers[column].to_pylist() == as_json[column]
    once = json.loads(answers.schema.metadata[b"batch"])
    assert once["warnings"] == as_json["warnings"]
    assert f"{once['batch_id']}-{count - 1}" in [entry["prediction_id"] for entry in history]


@pytest.mark.parametrize(
    ("rows", "way"),
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
def test_a_table_that_breaks_the_schema_is_refused(client: TestClient, rows: pa.Table, way: list[Any]) -> None:
    """A missing, extra, doubled or mistyped column, and a value that is missing, infinite or too large, are refused
    with the row's number and the field's name, and nothing is counted."""
    before = client.get("/metrics").json()["predictions_total"]
    response = post(client, stream(rows))
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == way
    assert client.get("/metrics").json()["predictions_total"] == before


def test_a_row_in_a_later_piece_is_named_by_its_number(client: TestClient) -> None:
    """Rows are counted through all record batches of the stream."""
    values = np.ones(2500)
    values[2345] = np.nan
    response = post(client, stream(table(2500, petal_width=values)))
    assert response.json()["detail"][0]["loc"] == ["body", 2345, "petal_width"]


def test_too_many_rows_are_refused_before_they_are_read(release: Release) -> None:
    """A row more than the cap is refused with the cap's number."""
    assert len(decode_arrow_batch(stream(table(2500)), JsonRequests(release.schema, 2500))) == 2500
    with pytest.raises(TooManyRowsError, match="2499"):
        decode_arrow_batch(stream(table(2500)), JsonRequests(release.schema, 2499))


def test_rows_are_counted_before_memory_is_asked_for(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record batch that announces more rows than the cap is refused before its columns, which may share their bytes,
    are made a matrix."""
    body = stream(table(500))
    monkeypatch.setattr("tabserve.web.codecs.arrow_requests.np.full", lambda *_: pytest.fail("memory was asked for"))
    with pytest.raises(TooManyRowsError):
        decode_arrow_batch(body, JsonRequests(release.schema, 499))


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_stream_is_refused(client: TestClient, compression: str) -> None:
    """A compressed stream, a few bytes of which may stand for any number, is refused, and it is said what to send."""
    response = post(client, stream(table(1000), compression=compression))
    assert response.status_code == 422
    assert "compressed" in response.json()["detail"][0]["msg"]


def test_a_flood_of_empty_record_batches_is_refused(release: Release) -> None:
    """A stream of ever more record batches is refused after some thousands of them."""
    head = stream(table().schema.empty_table())[:-8]
    one = stream(table(1))[len(head) : -8]
    with pytest.raises(InvalidInputError) as caught:
        decode_arrow_batch(head + one * (MAX_RECORD_BATCHES + 1), JsonRequests(release.schema, 10**6))
    assert "send larger ones" in str(caught.value.problems)


def test_what_is_no_stream_is_refused(client: TestClient) -> None:
    """Bytes that are no stream, or only the beginning of one, are refused in words."""
    whole = stream(table())
    for body in (b"", b"x", b"{}", b"\xff" * 1000, *(whole[:end] for end in range(0, len(whole) - 8, 8))):
        response = post(client, body)
        assert response.status_code == 422, body
        assert response.json()["detail"][0]["loc"] == ["body"]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_streams_do_no_harm(trained: Trained, data: st.DataObject) -> None:
    """Whatever bytes of a stream are changed: it is refused, or gives finite rows of the right shape."""
    body = bytearray(stream(table()))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    schema: Schema = trained.schema
    try:
        rows = decode_arrow_batch(bytes(body), JsonRequests(schema, 100))
    except (InvalidInputError, TooManyRowsError):
        return
    assert rows.values.shape[1] == 4
    assert np.isfinite(rows.values).all()
