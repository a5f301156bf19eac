"""The request pipeline: what every transport gets from it, with no application around it."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException

from tabserve.errors import TabserveError
from tabserve.inference import BatchPrediction, Prediction, Record, predict
from tabserve.model import Predictor, Release
from tabserve.monitoring import Metrics
from tabserve.serving import Service
from tabserve.web import pipeline as pipeline_module
from tabserve.web.codecs import JsonRequests
from tabserve.web.context import RequestContext
from tabserve.web.fast_path import FastPath
from tabserve.web.pipeline import JSON_BATCH, ONE_ROW, Operation, Pipeline
from tabserve.web.refusals import RETRY_SECONDS, Reply
from tests.support.models import ROW, SETTINGS, Trained
from tests.support.sources import FakeSource, service_of
from tests.support.waiting import until

BODY = json.dumps(ROW).encode()
BATCH = json.dumps({"records": [ROW, ROW]}).encode()


class Recorder:
    """An observer that keeps every record."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def observe(self, prediction: Prediction) -> None:
        self.records.append(prediction)

    def observe_batch(self, batch: BatchPrediction) -> None:
        self.records.append(batch)


class FailingObserver:
    """An observer that fails at every record."""

    def observe(self, prediction: Prediction) -> NoReturn:
        raise ZeroDivisionError(prediction)

    def observe_batch(self, batch: BatchPrediction) -> NoReturn:
        raise ZeroDivisionError(batch)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def pipeline(release: Release, recorder: Recorder) -> Pipeline:
    """A pipeline that serves the release, and a recorder as its observer."""
    service, metrics = service_of(FakeSource(release), recorder)
    service.poll()
    return Pipeline(service, metrics, SETTINGS)


def context(*headers: tuple[bytes, bytes]) -> RequestContext:
    return RequestContext("POST", "/predict", headers)


def content(reply: Reply) -> Any:
    return json.loads(reply.body)


def fail(*_: object) -> NoReturn:
    raise ZeroDivisionError("a secret")


@pytest.mark.parametrize(("operation", "body"), [(ONE_ROW, BODY), (JSON_BATCH, BATCH)])
def test_good_body_is_predicted_and_recorded_once(
    pipeline: Pipeline, recorder: Recorder, operation: Operation, body: bytes
) -> None:
    """A good body gets a reply with status 200 and the operation's media type, and the observer gets one record, which
    is the one in the reply."""
    reply = pipeline.respond(operation, context(), body)
    assert (reply.status, reply.media_type, reply.headers) == (200, operation.media_type, ())
    (record,) = recorder.records
    if isinstance(record, Prediction):
        assert content(reply)["prediction_id"] == record.prediction_id
    else:
        assert content(reply)["batch_id"] == record.batch_id


# -- refusals


class Calls:
    """Counts how often a body is decoded, and how often pydantic validates the whole body."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, operation: Operation) -> None:
        self.decoded, self.validated = 0, 0
        decode, validate_json = operation.decode, TypeAdapter.validate_json

        def counting_decode(requests: JsonRequests, body: bytes) -> Any:
            self.decoded += 1
            self.body = body
            return decode(requests, body)

        def counting_validate(adapter: TypeAdapter[Any], data: bytes, **options: Any) -> Any:
            self.validated += data == self.body
            return validate_json(adapter, data, **options)

        self.operation = operation._replace(decode=counting_decode)
        monkeypatch.setattr(TypeAdapter, "validate_json", counting_validate)


BAD_ROWS = [
    b"{", b"[]", BODY.replace(b"5.1", b'"5.1"'), BODY.replace(b"sepal_width", b"width"), BODY[:-1] + b', "more": 1}',
    BODY.replace(b"5.1", b"1." + b"1" * 70),
]  # fmt: skip
DUPLICATE_KEY = BODY[:-1] + b', "petal_width": 0.3}'
"""A row that is valid until the keys are counted."""


def in_batch(row: bytes) -> bytes:
    return b'{"records": [%b]}' % row


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        *((ONE_ROW, row) for row in [*BAD_ROWS, DUPLICATE_KEY]),
        *((JSON_BATCH, in_batch(row)) for row in [*BAD_ROWS, DUPLICATE_KEY]),
        (JSON_BATCH, json.dumps({"columns": {name: [1.0, "x"] for name in ROW}}).encode()),
        (JSON_BATCH, b'{"columns": {}}'),
    ],
)
def test_refused_body_is_decoded_once(
    pipeline: Pipeline, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, operation: Operation, body: bytes
) -> None:
    """A body that is refused is decoded once, and pydantic validates it at most once. The reply is a 422 that names
    problems and the request id, and nothing is recorded."""
    calls = Calls(monkeypatch, operation)
    request = context()
    reply = pipeline.respond(calls.operation, request, body)
    assert (reply.status, content(reply)["request_id"]) == (422, request.request_id)
    assert content(reply)["detail"]
    assert (calls.decoded, recorder.records) == (1, [])
    assert calls.validated <= 1


@pytest.mark.parametrize("body", [*BAD_ROWS, DUPLICATE_KEY])
def test_fast_path_hands_a_refusal_on(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """The fast path sends the pipeline's refusal. It doesn't decode the body again, nor does it try the route."""
    calls = Calls(monkeypatch, ONE_ROW)
    monkeypatch.setattr("tabserve.web.fast_path.ONE_ROW", calls.operation)
    reply = FastPath(pipeline, SETTINGS.max_body_bytes).respond(context(), body)
    assert (reply.status, calls.decoded) == (422, 1)
    assert calls.validated <= 1


def test_good_row_is_decoded_without_pydantic(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good row is decoded once, and pydantic doesn't see it."""
    calls = Calls(monkeypatch, ONE_ROW)
    assert pipeline.respond(calls.operation, context(), BODY).status == 200
    assert (calls.decoded, calls.validated) == (1, 0)


@pytest.mark.parametrize("operation", [ONE_ROW, JSON_BATCH])
def test_without_a_model_the_refusal_says_when_to_retry(recorder: Recorder, operation: Operation) -> None:
    """Without a model the reply is a 503 that says what to do, and its `Retry-After` header says when to try again."""
    service, metrics = service_of(FakeSource(), recorder)
    service.poll()
    reply = Pipeline(service, metrics, SETTINGS).respond(operation, context(), BODY)
    assert (reply.status, reply.headers) == (503, ((b"retry-after", b"%d" % RETRY_SECONDS),))
    assert content(reply)["detail"] == "No model has been trained yet. Train one."


@pytest.mark.parametrize("operation", [ONE_ROW, JSON_BATCH])
@pytest.mark.parametrize(
    "broken", [lambda operation: operation._replace(predict=fail), lambda operation: operation._replace(encode=fail)]
)
def test_unexpected_exception_becomes_a_logged_500(
    pipeline: Pipeline,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
    operation: Operation,
    broken: Callable[[Operation], Operation],
) -> None:
    """An unexpected exception becomes a 500 with the request id, under which the log has the traceback. The caller
    doesn't see the message, and nothing is recorded: a prediction that can't be encoded doesn't count."""
    body = BODY if operation is ONE_ROW else BATCH
    reply = pipeline.respond(broken(operation), context((b"x-request-id", b"find-me")), body)
    assert (reply.status, content(reply)["request_id"]) == (500, "find-me")
    assert b"secret" not in reply.body
    (logged,) = [line for line in caplog.records if line.exc_info]
    assert (logged.levelno, vars(logged)["request_id"]) == (logging.ERROR, "find-me")
    assert "a secret" in caplog.text
    assert recorder.records == []


# -- admission


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (TabserveError("not you"), 503, ((b"retry-after", b"%d" % RETRY_SECONDS),)),
        (HTTPException(401, "not you", {"WWW-Authenticate": "Bearer"}), 401, ((b"www-authenticate", b"Bearer"),)),
        (HTTPException(429, "not you", {"Retry-After": "60"}), 429, ((b"retry-after", b"60"),)),
    ],
)
def test_refused_caller_gets_a_reply(
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    headers: tuple[tuple[bytes, bytes], ...],
) -> None:
    """An exception of the authentication becomes the reply to the caller, with its status and its headers."""

    def refuse(_: RequestContext) -> NoReturn:
        raise error

    assert pipeline.admit(context()) is None
    monkeypatch.setattr(pipeline_module, "authenticate", refuse)
    request = context()
    reply = pipeline.admit(request)
    assert reply is not None
    assert (reply.status, reply.headers) == (status, headers)
    assert content(reply) == {"detail": "not you", "request_id": request.request_id}


def test_refused_caller_is_not_predicted_on_the_fast_path(
    pipeline: Pipeline, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fast path asks for admission first: the body of a refused caller isn't decoded."""

    def refuse(_: RequestContext) -> NoReturn:
        raise HTTPException(401, "not you")

    monkeypatch.setattr(pipeline_module, "authenticate", refuse)
    calls = Calls(monkeypatch, ONE_ROW)
    monkeypatch.setattr("tabserve.web.fast_path.ONE_ROW", calls.operation)
    reply = FastPath(pipeline, SETTINGS.max_body_bytes).respond(context(), BODY)
    assert (reply.status, calls.decoded, recorder.records) == (401, 0, [])


# -- observers and the challenger


@pytest.mark.parametrize(("operation", "body"), [(ONE_ROW, BODY), (JSON_BATCH, BATCH)])
def test_failing_observer_does_not_fail_the_reply(
    release: Release, recorder: Recorder, operation: Operation, body: bytes
) -> None:
    """When an observer fails, the caller gets the prediction, the other observers get the record, and the failure is
    counted."""
    service, metrics = service_of(FakeSource(release), FailingObserver(), recorder)
    service.poll()
    reply = Pipeline(service, metrics, SETTINGS).respond(operation, context(), body)
    assert reply.status == 200
    assert len(recorder.records) == 1
    assert metrics.registry.get_sample_value("observer_errors_total") == 1


@pytest.fixture
def challenged(release: Release, challenger_release: Release) -> Iterator[Service]:
    """A service whose challenger answers every caller that gives a key."""
    source = FakeSource(release)
    source.candidate = challenger_release
    service = Service(source, Metrics(), (), 0.01, 1.0)
    service.start()
    until(lambda: service.state().challenger_share == 1)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def challenger_release(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return trained.release(tmp_path_factory.mktemp("challenger") / "release", "20260102_000000")


def failing_for(model_version: str, versions: list[str]) -> Callable[[Predictor, Any, float], Prediction]:
    """A `predict` that fails with this version. It adds the versions that it is called with to `versions`."""

    def predict_or_fail(predictor: Predictor, row: Any, started: float) -> Prediction:
        versions.append(predictor.model_version)
        if predictor.model_version == model_version:
            fail()
        return predict(predictor, row, started)

    return predict_or_fail


def test_challenger_that_fails_is_dropped(challenged: Service, release: Release, challenger_release: Release) -> None:
    """When the challenger fails, the champion predicts, so that the caller notices nothing. The challenger predicts for
    no caller after that."""
    champion, challenger = release.model_version, challenger_release.model_version
    pipeline = Pipeline(challenged, Metrics(), SETTINGS)
    caller = (b"x-caller-key", b"someone")
    assert content(pipeline.respond(ONE_ROW, context(caller), BODY))["model_version"] == challenger

    versions: list[str] = []
    operation = ONE_ROW._replace(predict=failing_for(challenger, versions))
    for _ in range(2):
        reply = pipeline.respond(operation, context(caller), BODY)
        assert (reply.status, content(reply)["model_version"]) == (200, champion)
    assert versions == [challenger, champion, champion]
    assert challenged.state().challenger_share == 0


def test_champion_that_fails_is_not_replaced(challenged: Service, release: Release) -> None:
    """When the champion fails, the reply is a 500. The challenger doesn't answer in its place and isn't dropped."""
    versions: list[str] = []
    operation = ONE_ROW._replace(predict=failing_for(release.model_version, versions))
    assert Pipeline(challenged, Metrics(), SETTINGS).respond(operation, context(), BODY).status == 500
    assert versions == [release.model_version]
    assert challenged.state().challenger_share == 1


def test_batches_are_predicted_by_the_champion(challenged: Service, release: Release) -> None:
    """A batch gets the champion's predictions, even for a caller whose single rows the challenger predicts."""
    pipeline = Pipeline(challenged, Metrics(), SETTINGS)
    reply = pipeline.respond(JSON_BATCH, context((b"x-caller-key", b"someone")), BATCH)
    assert content(reply)["model_version"] == release.model_version


# -- the decoder of a schema


def test_decoder_is_reused_for_an_equal_schema(pipeline: Pipeline, trained: Trained) -> None:
    """An equal schema, as a retraining often makes it, gets the same decoder, another schema a new one."""
    schema = trained.schema
    requests = pipeline.requests_for(schema)
    assert pipeline.requests_for(schema.model_copy(deep=True)) is requests
    assert pipeline.requests_for(schema.model_copy(update={"features": schema.features[:2]})) is not requests
