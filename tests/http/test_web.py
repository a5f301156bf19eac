"""The application around the service: states, errors of our own making, documentation that tells the truth."""

import json
import logging
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from starlette.testclient import TestClient

from tabserve.errors import InvalidInputError, TrackingError
from tabserve.model.release import Release
from tabserve.model.schema import Schema
from tabserve.model.task import Classification
from tabserve.monitoring.history import History
from tabserve.web.app import create_app
from tabserve.web.codecs import json_codec
from tabserve.web.codecs.json_codec import TooManyRowsError
from tests.support.models import ROW, SETTINGS, Trained
from tests.support.sources import FakeSource
from tests.support.waiting import until

BATCH_CAP = 50


@pytest.fixture
def source(release: Release) -> FakeSource:
    return FakeSource(release)


@pytest.fixture
def client(source: FakeSource) -> Iterator[TestClient]:
    capped = SETTINGS.model_copy(update={"max_batch_rows": BATCH_CAP})
    with TestClient(create_app(capped, source), raise_server_exceptions=False) as client:
        if source.live:
            until(lambda: client.get("/readyz").status_code == 200)
        else:
            until(lambda: "No model has been trained" in client.get("/readyz").text)
        yield client


@pytest.mark.parametrize("source", [FakeSource()])
def test_without_a_model_every_route_says_so(client: TestClient, source: FakeSource, release: Release) -> None:
    """With no model /health, /readyz, /predict and /model/info give 503 with the same words, the rest works, and the
    first model makes all of them work."""
    bodies = {
        "/health": client.get("/health"),
        "/readyz": client.get("/readyz"),
        "/predict": client.post("/predict", json=ROW),
        "/predict/batch": client.post("/predict/batch", json={"records": [ROW]}),
        "/model/info": client.get("/model/info"),
    }
    for path, response in bodies.items():
        assert response.status_code == 503, path
        assert response.headers["retry-after"].isdecimal(), path
        content = response.json()
        assert (content.get("reason") or content["detail"]) == "No model has been trained yet. Train one.", path
    health = bodies["/health"].json()
    assert (health["status"], health["model_loaded"], health["model_version"]) == ("unhealthy", False, None)
    for path in ("/livez", "/metrics", "/metrics/prometheus", "/predictions/history", "/openapi.json", "/docs"):
        assert client.get(path).status_code == 200, path

    source.live = release
    until(lambda: client.get("/health").json()["status"] == "healthy")
    assert client.post("/predict", json=ROW).status_code == 200


def test_a_store_that_is_away_degrades_and_goes_on(client: TestClient, source: FakeSource) -> None:
    """While the registry can't be asked, /health is degraded with 200 and the reason, and predictions go on."""
    source.fail_champion = TrackingError("the store is away")
    until(lambda: client.get("/health").json()["status"] == "degraded")
    health = client.get("/health")
    reason = f"the store is away. {health.json()['model_version']} is served meanwhile"
    assert (health.status_code, health.json()["reason"]) == (200, reason)
    assert client.post("/predict", json=ROW).status_code == 200


def test_our_own_mistakes_are_answered_and_logged(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake of the server's own gives a JSON 500 with the id that its log has, and no traceback to the caller."""

    def fail(_: object) -> bytes:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(json_codec, "encode_prediction", fail)
    response = client.post("/predict", json=ROW, headers={"X-Request-ID": "find-me"})
    assert response.status_code == 500
    assert response.json()["request_id"] == response.headers["x-request-id"] == "find-me"
    assert "secret" not in response.text
    (record,) = [record for record in caplog.records if record.exc_info]
    assert vars(record)["request_id"] == "find-me"


def test_what_cannot_be_encoded_is_not_remembered(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction enters history and counters only once its reply has been encoded."""
    monkeypatch.setattr(json_codec, "encode_prediction", lambda _: 1 // 0)
    client.post("/predict", json=ROW)
    assert client.get("/predictions/history").json()["total"] == 0
    assert client.get("/metrics").json()["predictions_total"] == 0


def test_a_history_that_fails_does_not_fail_the_caller(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the history fails, the caller still gets the prediction and the metrics still count it."""
    monkeypatch.setattr(History, "observe", lambda *_: 1 // 0)
    assert client.post("/predict", json=ROW).status_code == 200
    assert client.get("/metrics").json()["predictions_total"] == 1


def test_bad_input_is_one_line_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """A refused body is logged in one line without traceback or body; a success and a probe are not logged at info."""
    with caplog.at_level(logging.INFO, "tabserve.web"):
        client.post("/predict", content=b'{"secret":', headers={"Content-Type": "application/json"})
        client.post("/predict", json=ROW)
        client.get("/readyz")
    (record,) = [record for record in caplog.records if record.name == "tabserve.web"]
    assert (vars(record)["status"], vars(record)["path"], record.exc_info) == (422, "/predict", None)
    assert "secret" not in str(vars(record))


def test_a_batch_over_the_cap_is_refused_with_the_cap(client: TestClient) -> None:
    """A batch of one row more than the cap is refused with 413 and the cap's number; one at the cap is answered."""
    assert client.post("/predict/batch", json={"records": [ROW] * BATCH_CAP}).status_code == 200
    response = client.post("/predict/batch", json={"records": [ROW] * (BATCH_CAP + 1)})
    assert response.status_code == 413
    assert str(BATCH_CAP) in response.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        '{"records":[{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":1,"petal_width":2}]}',
        '{"records":[],"records":[{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":1}]}',
        '{"columns":{"sepal_length":[1],"sepal_width":[1],"petal_length":[1],"petal_width":[1.%s]}}' % ("1" * 64),
        '{"columns":{"sepal_length":[1],"sepal_width":[1],"petal_length":[1],"petal_width":[NaN]}}',
        '{"columns":{"sepal_length":[1],"sepal_width":[1],"petal_length":[1]}}',
        '{"columns":{},"records":[]}',
        '{"x":1,"records":[{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":1}]}',
        '{"records":[{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":1,"x":{"y":[1]}}]}',
        '{"records":[{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":-1.%se-10}]}' % ("1" * 58),
    ],
)
def test_batches_are_as_strict_as_single_rows(client: TestClient, body: str) -> None:
    """What /predict refuses, /predict/batch refuses: duplicate keys, long numbers, NaN, missing columns, both forms."""
    response = client.post("/predict/batch", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text


@pytest.mark.parametrize(
    "row",
    [
        b'{"' + b'":1,"'.join(b"k%d" % number for number in range(700_000)) + b'":1}',
        b"{" + b'"":1,' * 1_500_000 + b'"":1}',
        b"[]," * 4_000_000 + b"[]",
        b'{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":1},' * 200_000 + b"{}",
    ],
)
def test_a_flood_is_refused_before_it_is_read(release: Release, row: bytes) -> None:
    """Bodies of many megabytes that would make a problem of each of their fields are refused for their size alone."""
    requests = json_codec.Requests(release.schema, 100_000)
    tracemalloc.start()
    try:
        for body in (b'{"records":[' + row + b"]}", b'{"columns":' + row + b"}", b" " * 20 + row):
            for parse in (requests.parse, requests.parse_batch):
                with pytest.raises((InvalidInputError, TooManyRowsError)):
                    parse(body)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(row) + 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("digits", "accepted"), [("1." + "1" * 62, True), ("1." + "1" * 63, False)])
def test_a_number_has_at_most_64_characters(client: TestClient, digits: str, accepted: bool) -> None:
    """A number of 64 characters is taken, one of 65 refused by name; a sign and an exponent count too."""
    for text in (digits, "-" + digits[:-1], digits[:-4] + "e-10"):
        body = json.dumps(ROW | {"petal_width": 0.5}).replace("0.5", text)
        response = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == (200 if accepted else 422), text
        assert accepted or response.json()["detail"][0]["loc"] == ["body", "petal_width"]


def test_odd_accept_headers_get_the_counters(client: TestClient) -> None:
    """Whatever stands in the Accept header, both metrics routes answer, and repeat nothing of it."""
    for accept in (
        "application/openmetrics-text; version=latest",
        "text/plain;version=..",
        "text/plain;version=x;escaping=dots",
    ):
        for path in ("/metrics", "/metrics/prometheus"):
            response = client.get(path, headers={"Accept": accept})
            assert response.status_code == 200
            assert "latest" not in response.headers["content-type"]
            assert "http_requests_total" in response.text


def test_the_openapi_document_is_valid(client: TestClient) -> None:
    """The document is valid OpenAPI, and every operation documents its success and has a summary."""
    document = client.get("/openapi.json").json()
    validate(document)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert "200" in operation["responses"], path
            assert operation["summary"], path


def schema_of(document: dict[str, Any], reference: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resource("urn:api", Resource.opaque(document))
    return Draft202012Validator({"$ref": f"urn:api{reference}"}, registry=registry)


def test_every_reply_is_as_documented(client: TestClient) -> None:
    """Each reply, errors too, is what the document says of its route and status: no key more, no key less."""
    client.post("/predict", json=ROW | {"petal_width": 99})
    document = client.get("/openapi.json").json()
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("post", "/predict", {"json": ROW | {"petal_width": 99}}),
        ("post", "/predict", {"json": {}}),
        ("post", "/predict", {"content": b"x"}),
        (
            "post",
            "/predict",
            {"content": b" " * (SETTINGS.max_body_bytes + 1), "headers": {"Content-Type": json_codec.JSON}},
        ),
        ("post", "/predict/batch", {"json": {"records": [ROW, ROW | {"petal_width": 99}]}}),
        ("post", "/predict/batch", {"json": {"records": [ROW] * 99}}),
        ("get", "/predictions/history", {}),
        ("get", "/predictions/history", {"params": {"limit": 0}}),
        ("get", "/health", {}),
        ("get", "/livez", {}),
        ("get", "/readyz", {}),
        ("get", "/metrics", {}),
        ("get", "/model/info", {}),
    ]
    for method, path, options in requests:
        response = client.request(method, path, **options)
        way = f"#/paths/{path.replace('/', '~1')}/{method}/responses/{response.status_code}/content/application~1json"
        problems = list(schema_of(document, f"{way}/schema").iter_errors(response.json()))
        assert not problems, (path, response.status_code, problems)


def test_the_documented_body_is_the_one_that_is_validated(client: TestClient) -> None:
    """A body passes the documented schema exactly when it is accepted, as far as a JSON schema can say it."""
    document = client.get("/openapi.json").json()
    single, batch = (schema_of(document, f"#/components/schemas/{name}") for name in ("PredictRequest", "BatchRequest"))
    bad_values: list[Any] = ["1", True, None, [], {}, 1e39, -1e39]
    bodies: list[Any] = [ROW, {}, [], None, ROW | {"extra": 1}, *(ROW | {"petal_width": value} for value in bad_values)]
    bodies += [{name: value for name, value in ROW.items() if name != left_out} for left_out in ROW]
    for body in bodies:
        accepted = client.post("/predict", json=body).status_code == 200
        assert accepted == single.is_valid(body), body
        in_batch = {"records": [body]}
        assert (client.post("/predict/batch", json=in_batch).status_code == 200) == batch.is_valid(in_batch), body


def test_features_may_have_any_name(trained: Trained) -> None:
    """Names that are no Python names, look like methods, or contain colons and quotes are served as they are."""
    names = ["length (cm)", "copy", 'a:b"c', "_x"]
    features = [
        feature.model_copy(update={"name": name}) for feature, name in zip(trained.schema.features, names, strict=True)
    ]
    requests = json_codec.Requests(
        Schema(target="kind", features=tuple(features), task=Classification(classes=trained.schema.task.classes)), 10
    )
    row = dict.fromkeys(names, 1.0)
    assert requests.parse(json.dumps(row).encode()) == row
    assert requests.parse_batch(json.dumps({"records": [row, row]}).encode()).values.shape == (2, 4)
    assert set(requests.json_schemas("{model}")["PredictRequest"]["required"]) == set(names)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from([*ROW, "x"]), children, max_size=5)
    ),
    max_leaves=10,
)
BODIES = (
    st.binary(max_size=200)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    | st.fixed_dictionaries(dict.fromkeys(ROW, JSON_VALUES)).map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({"records": st.lists(JSON_VALUES, max_size=3)}).map(
        lambda value: json.dumps(value).encode()
    )
    | st.fixed_dictionaries({"columns": JSON_VALUES}).map(lambda value: json.dumps(value).encode())
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/predict", "/predict/batch"]), body=BODIES)
def test_no_body_whatever_is_a_server_error(client: TestClient, path: str, body: bytes) -> None:
    """Whatever bytes come, the reply is 200 or a 4xx, strict JSON, and an error has at most 16 KiB."""
    response = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (200, 422), response.text
    json.loads(response.content, parse_constant=pytest.fail)
    assert response.status_code == 200 or len(response.content) <= 16 * 1024
