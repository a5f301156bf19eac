"""The application: its states, its refusals, its internal errors, and documentation that is true."""

import json
import logging
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from starlette.testclient import TestClient

from tabserve.errors import InvalidInputError, TrackingError
from tabserve.inference import Prediction
from tabserve.model import Classification, Release, Schema
from tabserve.monitoring import History
from tabserve.web import create_app
from tabserve.web.codecs import JSON, JsonRequests, TooManyRowsError
from tests.support.models import ROW, SETTINGS, Trained, classes_of
from tests.support.sources import FakeSource
from tests.support.waiting import until

MAX_ROWS = 50


@pytest.fixture
def source(release: Release) -> FakeSource:
    return FakeSource(release)


@pytest.fixture
def client(source: FakeSource) -> Iterator[TestClient]:
    limited = SETTINGS.model_copy(update={"max_batch_rows": MAX_ROWS})
    with TestClient(create_app(limited, source), raise_server_exceptions=False) as client:
        if source.live:
            until(lambda: client.get("/readyz").status_code == 200)
        else:
            until(lambda: "No model has been trained" in client.get("/readyz").text)
        yield client


@pytest.mark.parametrize("source", [FakeSource()])
def test_without_a_model_routes_say_so_and_recover(client: TestClient, source: FakeSource, release: Release) -> None:
    """Without a model /health, /readyz, /predict and /model/info give 503 with the same reason, the others work, and
    the first model makes all of them work."""
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


def test_unreachable_registry_degrades_health_only(client: TestClient, source: FakeSource) -> None:
    """While the registry can't be reached, /health is degraded with 200 and the reason, and predictions go on."""
    source.fail_champion = TrackingError("the store is away")
    until(lambda: client.get("/health").json()["status"] == "degraded")
    health = client.get("/health")
    reason = f"the store is away. {health.json()['model_version']} is served meanwhile"
    assert (health.status_code, health.json()["reason"]) == (200, reason)
    assert client.post("/predict", json=ROW).status_code == 200


def test_internal_error_is_answered_and_logged(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An internal error gives a JSON 500 with the request id that the log has, and no traceback to the caller."""

    def fail(_: object) -> dict[str, object]:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(Prediction, "reply", fail)
    response = client.post("/predict", json=ROW, headers={"X-Request-ID": "find-me"})
    assert response.status_code == 500
    assert response.json()["request_id"] == response.headers["x-request-id"] == "find-me"
    assert "secret" not in response.text
    (record,) = [record for record in caplog.records if record.exc_info]
    assert vars(record)["request_id"] == "find-me"


def test_prediction_that_cannot_be_encoded_is_not_recorded(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction enters history and counters only after its reply has been encoded."""
    monkeypatch.setattr(Prediction, "reply", lambda _: {"prediction": object()})
    client.post("/predict", json=ROW)
    assert client.get("/predictions/history").json()["total"] == 0
    assert client.get("/metrics").json()["predictions_total"] == 0


def test_failing_history_does_not_fail_the_caller(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the history fails, the caller still gets the prediction and the metrics still count it."""
    monkeypatch.setattr(History, "observe", lambda *_: 1 // 0)
    assert client.post("/predict", json=ROW).status_code == 200
    assert client.get("/metrics").json()["predictions_total"] == 1


def test_refused_body_is_one_line_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """A refused body is one log line without traceback or content. A success and a probe are not logged at info."""
    with caplog.at_level(logging.INFO, "tabserve.web"):
        client.post("/predict", content=b'{"secret":', headers={"Content-Type": "application/json"})
        client.post("/predict", json=ROW)
        client.get("/readyz")
    (record,) = [record for record in caplog.records if record.name == "tabserve.web"]
    assert (vars(record)["status"], vars(record)["path"], record.exc_info) == (422, "/predict", None)
    assert "secret" not in str(vars(record))


def test_batch_over_the_row_limit_is_refused(client: TestClient) -> None:
    """A batch of one row too many is refused with 413 and the limit; one at the limit is answered."""
    assert client.post("/predict/batch", json={"records": [ROW] * MAX_ROWS}).status_code == 200
    response = client.post("/predict/batch", json={"records": [ROW] * (MAX_ROWS + 1)})
    assert response.status_code == 413
    assert str(MAX_ROWS) in response.json()["detail"]


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
    """/predict/batch refuses what /predict refuses, in both forms: duplicate keys, long numbers, NaN, missing
    columns."""
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
def test_flood_of_members_is_refused_before_validation(release: Release, row: bytes) -> None:
    """Bodies of many megabytes, each field of which would be a problem of its own, are refused without the memory."""
    requests = JsonRequests(release.schema, 100_000)
    tracemalloc.start()
    try:
        for body in (b'{"records":[' + row + b"]}", b'{"columns":' + row + b"}", b" " * 20 + row):
            for decode in (requests.decode_row, requests.decode_batch):
                with pytest.raises((InvalidInputError, TooManyRowsError)):
                    decode(body)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(row) + 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("digits", "accepted"), [("1." + "1" * 62, True), ("1." + "1" * 63, False)])
def test_number_has_at_most_64_characters(client: TestClient, digits: str, accepted: bool) -> None:
    """A number of 64 characters is accepted, one of 65 is refused by name; a sign and an exponent count too."""
    for text in (digits, "-" + digits[:-1], digits[:-4] + "e-10"):
        body = json.dumps(ROW | {"petal_width": 0.5}).replace("0.5", text)
        response = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == (200 if accepted else 422), text
        assert accepted or response.json()["detail"][0]["loc"] == ["body", "petal_width"]


def test_odd_accept_headers_get_the_metrics(client: TestClient) -> None:
    """Both metrics routes answer any Accept header, and repeat nothing of it."""
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


def test_every_reply_matches_its_documentation(client: TestClient) -> None:
    """Each reply, errors too, matches the document's schema of its route and status: no key more, no key less."""
    client.post("/predict", json=ROW | {"petal_width": 99})
    document = client.get("/openapi.json").json()
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("post", "/predict", {"json": ROW | {"petal_width": 99}}),
        ("post", "/predict", {"json": {}}),
        ("post", "/predict", {"content": b"x"}),
        (
            "post",
            "/predict",
            {"content": b" " * (SETTINGS.max_body_bytes + 1), "headers": {"Content-Type": JSON}},
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


def test_documented_body_is_the_validated_one(client: TestClient) -> None:
    """A body is accepted exactly when it passes the documented schema, as far as a JSON schema can say it."""
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
    """Names that are no Python names, look like methods, or contain colons and quotes are served unchanged."""
    names = ["length (cm)", "copy", 'a:b"c', "_x"]
    features = [
        feature.model_copy(update={"name": name}) for feature, name in zip(trained.schema.features, names, strict=True)
    ]
    requests = JsonRequests(
        Schema(target="kind", features=tuple(features), task=Classification(classes=classes_of(trained.schema.task))),
        10,
    )
    row = dict.fromkeys(names, 1.0)
    assert requests.decode_row(json.dumps(row).encode()) == row
    assert requests.decode_batch(json.dumps({"records": [row, row]}).encode()).values.shape == (2, 4)
    assert set(requests.json_schemas("{model}")["PredictRequest"]["required"]) == set(names)
