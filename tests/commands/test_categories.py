"""Models of tables with categories and missing values, over HTTP: penguins."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tabserve.errors import InvalidInputError
from tabserve.model.release import Release
from tabserve.training import ColumnOptions
from tabserve.training.ingest import load_table
from tabserve.web.app import create_app
from tabserve.web.codecs import JsonRequests, TooManyRowsError, decode_arrow_batch
from tests.support.arrow import post, stream
from tests.support.bodies import SPLICES
from tests.support.models import GENTOO, ROW, SETTINGS, Trained
from tests.support.project import PENGUINS
from tests.support.sources import FakeSource
from tests.support.waiting import until

STREAM = stream(pa.Table.from_pylist([{"island": "Dream", "sex": None, "year": 2007.0}, GENTOO]))
ODD = ['Bis"coe', "a, b", "x]", "{y}", "},{", "\\", "z: [1, 2]", "länge \U0001f427", "\n", "9" * 100, ""]
"""Texts whose end is hard to find."""
ODD_BYTES = [
    b"null",
    b"true",
    b"NaN",
    b"\xc3\xa4",
    b"\xff",
    b"\\ud800",
    b"\\ud83d\\ude00",
    b'"sex":"male",',
    b"0" * 70,
    b"x" * 201,
]


@pytest.fixture(scope="module")
def penguins(tmp_path_factory: pytest.TempPathFactory) -> Release:
    trained = Trained(table=load_table(PENGUINS, ColumnOptions("species"), rows_needed=7))
    return trained.release(tmp_path_factory.mktemp("penguins") / "release", "20260202_020202")


@pytest.fixture
def source(penguins: Release) -> FakeSource:
    return FakeSource(penguins)


@pytest.fixture
def client(source: FakeSource, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    changed = SETTINGS.model_copy(update=getattr(request, "param", {}))
    with TestClient(create_app(changed, source), raise_server_exceptions=False) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield client


def drawn(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Records with known and unknown categories, and with missing values: null, or left out."""
    rng = np.random.default_rng(seed)
    islands = ["Biscoe", "Dream", "Torgersen", *ODD]
    records = []
    for _ in range(count):
        record = {name: value for name, value in GENTOO.items() if name == "island" or rng.random() > 0.1}
        record |= {"island": islands[rng.integers(len(islands))], "bill_length_mm": round(rng.uniform(30, 60), 1)}
        record |= {"year": 2008, "sex": [None, "male", "female"][rng.integers(3)]}
        records.append(record)
    return records


def refused(response: Any) -> str:
    assert response.status_code == 422
    return str(response.json()["detail"][0]["loc"][-1])


def test_row_with_categories_and_missing_values_is_answered(client: TestClient) -> None:
    """Categories are texts. A feature that was missing in training may be left out or null; no other may."""
    assert client.post("/predict", json=GENTOO).json()["label"] == "Gentoo"
    for name in GENTOO:
        without = client.post("/predict", json={key: value for key, value in GENTOO.items() if key != name})
        null = client.post("/predict", json=GENTOO | {name: None})
        if name in ("island", "year"):
            assert refused(without) == refused(null) == name
        else:
            assert without.json()["prediction_proba"] == null.json()["prediction_proba"]
    bad_values: list[Any] = [1, 1.5, True, [], {}, "x" * 201]
    for bad in bad_values:
        assert refused(client.post("/predict", json=GENTOO | {"island": bad})) == "island"
    assert refused(client.post("/predict", json=GENTOO | {"year": "2007"})) == "year"


@pytest.mark.parametrize("text", ODD)
def test_unknown_category_is_answered_with_a_warning(client: TestClient, text: str) -> None:
    """A category that training didn't see is answered with a warning that names the feature, and is in the history as
    it was sent."""
    reply = client.post("/predict", json=GENTOO | {"island": text}).json()
    (warning,) = reply["warnings"]
    assert warning == {"feature": "island", "message": "not one of the 3 categories seen in training"}
    (entry, *_) = client.get("/predictions/history?limit=1").json()["predictions"]
    assert entry["inputs"] == GENTOO | {"island": text}


@pytest.mark.parametrize("client", [{"unknown_categories": "refuse"}], indirect=True)
def test_unknown_category_is_refused_if_the_setting_says_so(client: TestClient) -> None:
    """With the setting it is refused: by its feature, in a batch with the number of the row, in JSON and in Arrow."""
    bad = GENTOO | {"island": "Mars"}
    assert refused(client.post("/predict", json=bad)) == "island"
    batch = client.post("/predict/batch", json={"records": [GENTOO, bad]})
    assert refused(batch) == "island"
    assert 1 in batch.json()["detail"][0]["loc"]
    response = post(client, stream(pa.Table.from_pylist([GENTOO, bad])))
    assert response.json()["detail"][0]["loc"] == ["body", 1, "island"]
    assert client.post("/predict", json=GENTOO).status_code == 200


def as_columns(records: list[dict[str, Any]]) -> bytes:
    return json.dumps({"columns": {name: [record.get(name) for record in records] for name in GENTOO}}).encode()


def as_records(records: list[dict[str, Any]]) -> bytes:
    return json.dumps({"records": records}).encode()


@pytest.mark.parametrize("count", [1, 40, 900])
def test_batch_in_any_form_gets_what_its_rows_get_alone(client: TestClient, count: int) -> None:
    """Rows with any texts and missing values get as a batch, in every form, what each gets alone, and are in the
    history as they were sent."""
    records = drawn(count)
    alone = [client.post("/predict", json=record).json() for record in records]
    warned = [(row, one["feature"]) for row, answer in enumerate(alone) for one in answer["warnings"]]
    full = [{name: record.get(name) for name in GENTOO} for record in records]
    texts = ("island", "sex")
    types = pa.schema({name: pa.string() if name in texts else pa.float64() for name in GENTOO})
    table = pa.Table.from_pylist(full, schema=types)
    large = table.set_column(0, "island", table["island"].cast(pa.large_string()))
    for body in (as_columns(records), as_records(records), as_records(full)):
        reply = client.post("/predict/batch", content=body, headers={"Content-Type": "application/json"}).json()
        assert reply["prediction_proba"] == [answer["prediction_proba"] for answer in alone]
        assert [(one["row"], one["feature"]) for one in reply["warnings"]] == warned
        page = client.get(f"/predictions/history?limit={count}").json()["predictions"]
        assert [entry["inputs"] for entry in page[::-1]] == full
    for rows in (table, large):
        answers = pa.ipc.open_stream(post(client, stream(rows)).content).read_all()
        assert answers["prediction_proba"].to_pylist() == [answer["prediction_proba"] for answer in alone]
        said = json.loads(answers.schema.metadata[b"batch"])
        assert [(one["row"], one["feature"]) for one in said["warnings"]] == warned


def test_batch_may_lack_a_column_that_was_missing_in_training(client: TestClient) -> None:
    """A batch by columns, or a stream, may lack a column of which some values were missing in training; no other."""
    reply = client.post("/predict", json={name: GENTOO[name] for name in ("island", "year")}).json()
    columns = {name: [GENTOO[name]] * 3 for name in ("year", "island")}
    batch = client.post("/predict/batch", json={"columns": columns}).json()
    assert batch["prediction_proba"] == [reply["prediction_proba"]] * 3
    answers = pa.ipc.open_stream(post(client, stream(pa.table(columns))).content).read_all()
    assert answers["prediction_proba"].to_pylist() == [reply["prediction_proba"]] * 3
    del columns["island"]
    assert refused(client.post("/predict/batch", json={"columns": columns})) == "island"
    assert refused(post(client, stream(pa.table(columns)))) == "island"
    assert refused(client.post("/predict/batch", json={"columns": {}})) in ("island", "year")


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([1, 2]), "string_type"),
        (pa.array([b"a", b"b"]), "string_type"),
        (pa.array([1, 2]).dictionary_encode(), "string_type"),
        (pa.array(["a", None]), "missing"),
        (pa.array(["a", "x" * 801]), "string_too_long"),
    ],
)
def test_column_that_is_not_of_short_texts_is_refused(client: TestClient, column: pa.Array, kind: str) -> None:
    """Numbers, bytes, dictionaries of numbers, missing values that mustn't be missing, and long texts are refused by
    the column."""
    response = post(client, stream(pa.table({"island": column, "year": [2007, 2008]})))
    assert response.status_code == 422
    assert response.json()["detail"][0]["type"] == kind
    assert "island" in response.json()["detail"][0]["loc"]


def serves(client: TestClient, version: str) -> bool:
    return bool(client.get("/health").json()["model_version"] == version)


def test_openapi_and_validation_change_together_with_the_model(
    source: FakeSource, client: TestClient, release: Release
) -> None:
    """After a swap to a model of another schema, /openapi.json and the validation are those of that model."""
    for live, good, bad in ((release, ROW, GENTOO), (source.live, GENTOO, ROW)):
        assert live
        source.live = live
        until(partial(serves, client, live.model_version))
        fields = client.get("/openapi.json").json()["components"]["schemas"]["PredictRequest"]["properties"]
        assert list(fields) == list(live.schema.feature_names)
        assert client.post("/predict", json=good).status_code == 200
        assert client.post("/predict", json=bad).status_code == 422


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_parsing_in_pieces_accepts_nothing_more_than_parsing_at_once(penguins: Release, data: st.DataObject) -> None:
    """Any bytes are put into a good body with texts: if parsing in pieces accepts it, parsing at once does too, with
    the same rows."""
    bodies = JsonRequests(penguins.schema, 5000)
    form: Callable[[list[dict[str, Any]]], bytes] = data.draw(st.sampled_from([as_columns, as_records]))
    body = bytearray(form(drawn(data.draw(st.sampled_from([1, 2, 300])), data.draw(st.integers(0, 99)))))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body)))
        cut, put = (
            data.draw(st.integers(0, 3)),
            data.draw(st.sampled_from([b'"', b"\\", b",", b"]", b"}", b":", b"null"])),
        )
        body[at : at + cut] = put
    found = bodies._decode_in_chunks(bytes(body))
    if found is not None:
        whole = bodies._decode_whole(bytes(body))
        assert np.array_equal(found.values, whole.values, equal_nan=True)
        assert found.texts == whole.texts


@settings(max_examples=500, deadline=None)
@given(
    number=st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.integers(0, 10**28).map(lambda drawn: f"{drawn // 10**25}.{drawn % 10**25:025}"),
    edits=st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 4), st.sampled_from([*SPLICES, *ODD_BYTES])), max_size=3
    ),
    text=st.sampled_from(["female", "", "Mars", "x" * 200, "x" * 201, "\U0001f427" * 200, "\U0001f427" * 201]),
    known_only=st.booleans(),
)
def test_fast_validation_accepts_nothing_more_than_pydantic(
    penguins: Release, number: str, edits: list[tuple[int, int, bytes]], text: str, known_only: bool
) -> None:
    """Any bytes are put into a good row: what msgspec accepts, pydantic accepts too, with the same values. Both read
    the same double, in every notation."""
    bodies = JsonRequests(penguins.schema, 10, refuse_unknown=known_only)
    body = bytearray(
        json.dumps(GENTOO | {"sex": text, "body_mass_g": "*"}, ensure_ascii=False).replace('"*"', number).encode()
    )
    for at, cut, put in edits:
        body[at : at + cut] = put
    try:
        values = bodies.decode_row(bytes(body))
    except InvalidInputError:
        return
    assert values == bodies._types.row.validate_json(bytes(body))
    assert all(type(value) is not int for value in values.values())


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_stream_is_refused_or_gives_rows_of_the_right_shape(penguins: Release, data: st.DataObject) -> None:
    """Any bytes of a stream of texts are changed: it is refused, or gives rows of the right shape."""
    body = bytearray(STREAM)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        rows = decode_arrow_batch(bytes(body), JsonRequests(penguins.schema, 100))
    except (InvalidInputError, TooManyRowsError):
        return
    assert rows.values.shape[1] == len(GENTOO)
    assert all(len(texts) == len(rows) for texts in rows.texts.values())
