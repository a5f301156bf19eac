"""The request pipeline: authenticate, limit, decode, predict, encode, record, count. Every transport calls it.

The transports are the fast path in the protocol, the FastAPI routes and the batch transport. They differ in how they
get a body and send a reply, and in nothing else. A request that is refused gets its reply here, once.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException

from tabserve.errors import InvalidInputError, TabserveError
from tabserve.inference import predict, predict_batch
from tabserve.model import Predictor, Schema
from tabserve.monitoring import Metrics
from tabserve.serving import Service
from tabserve.settings import Settings
from tabserve.web.auth import authenticate
from tabserve.web.codecs import (
    ARROW,
    JSON,
    JsonRequests,
    decode_arrow_batch,
    encode_arrow_batch,
    encode_batch,
    encode_prediction,
    problem,
)
from tabserve.web.context import RequestContext
from tabserve.web.limits import RateLimit
from tabserve.web.proxies import Proxies
from tabserve.web.refusals import CallerGoneError, Reply, refusal
from tabserve.web.tracing import trace, trace_fields

log = logging.getLogger("tabserve.web")


class Operation(NamedTuple):
    """One kind of prediction request.

    Attributes:
        media_type: of the body and of the reply.
        decode: the body → valid rows.
        predict: a predictor, valid rows, and when the body was complete → a prediction record.
        encode: the record → the body of the reply.
        may_use_challenger: a share of the callers may get the challenger's prediction.
    """

    media_type: str
    decode: Callable[[JsonRequests, bytes], Any]
    predict: Callable[[Predictor, Any, float], Any]
    encode: Callable[[Any], bytes]
    may_use_challenger: bool = False


ONE_ROW = Operation(JSON, JsonRequests.decode_row, predict, encode_prediction, may_use_challenger=True)
JSON_BATCH = Operation(JSON, JsonRequests.decode_batch, predict_batch, encode_batch)
ARROW_BATCH = Operation(
    ARROW, lambda requests, body: decode_arrow_batch(body, requests), predict_batch, encode_arrow_batch
)


class Pipeline:
    """The pipeline of one application. Thread-safe."""

    def __init__(self, service: Service, metrics: Metrics, settings: Settings) -> None:
        self._service, self._metrics = service, metrics
        self._max_rows, self._refuse_unknown = settings.max_batch_rows, settings.unknown_categories == "refuse"
        self.proxies = Proxies(settings.trusted_proxies, settings.root_path)
        self._rate_limit = RateLimit(settings.rate_limit, settings.rate_burst) if settings.rate_limit else None
        self._cached: tuple[Schema | None, JsonRequests | None] = None, None

    def admit(self, context: RequestContext) -> Reply | None:
        """The refusal of a caller that may not call; None if it may. Called before the body is read where possible."""
        try:
            authenticate(context)
            if self._rate_limit:
                self._rate_limit.check(self.proxies.client_address(context), context.path)
        except (HTTPException, TabserveError) as error:
            return refusal(error, context)
        return None

    def respond(self, operation: Operation, context: RequestContext, body: bytes) -> Reply:
        """The reply to a complete body: the prediction, or the refusal."""
        try:
            return Reply(200, self._predict(operation, context, body), operation.media_type)
        except Exception as error:  # noqa: BLE001 every failure becomes a reply, and an unexpected one is logged
            return refusal(error, context)

    def finish(self, context: RequestContext, route: str, status: int) -> None:
        """Counts a request, traces it, and logs it: a failure as a warning, the rest at debug level. Called when its
        reply has been handed to the socket."""
        seconds = time.perf_counter() - context.began
        self._metrics.request(context.method, route, status, seconds)
        trace(context, route, status, seconds)
        level = logging.DEBUG if context.quiet or status < 400 else logging.WARNING
        if log.isEnabledFor(level):
            request = {
                "method": context.method[:16],
                "path": context.path[:200],
                "status": status,
                "ms": round(seconds * 1000, 2),
                "client": self.proxies.client_address(context),
                "request_id": context.request_id,
            }
            log.log(level, "request", extra=request | trace_fields(context))

    def requests_for(self, schema: Schema) -> JsonRequests:
        """What decodes and documents the bodies for a schema. It is cached until another schema is asked for: a model
        that was trained again on the same columns often has an equal one, and building it takes milliseconds."""
        cached_for, requests = self._cached
        if requests is None or cached_for is not schema:
            if requests is None or cached_for != schema:
                requests = JsonRequests(schema, self._max_rows, refuse_unknown=self._refuse_unknown)
            self._cached = schema, requests  # one assignment, so that no thread sees half of it
        return requests

    def _predict(self, operation: Operation, context: RequestContext, body: bytes) -> bytes:
        """Decode, predict, encode, record: the body of the reply."""
        started = time.perf_counter()
        state = self._service.state()
        champion = state.model()
        rows = _decoded(operation, self.requests_for(champion.predictor.schema), body)
        uses_challenger = operation.may_use_challenger and state.challenger_share
        model = state.model_for(context.caller) if uses_challenger else champion
        try:
            record = operation.predict(model.predictor, rows, started)
        except Exception as error:
            if model is champion:
                raise
            self._service.drop_challenger(model, error)
            record = operation.predict(champion.predictor, rows, started)
        reply = operation.encode(record)
        if context.is_gone:
            raise CallerGoneError
        self._service.record(record)  # last: what can't be encoded must not be recorded
        return reply


def _decoded(operation: Operation, requests: JsonRequests, body: bytes) -> Any:
    try:
        return operation.decode(requests, body)
    except TabserveError:
        raise
    except Exception as error:  # whatever a decoder raises, the body is at fault, not the server
        log.warning("a decoder failed unexpectedly", extra={"error": repr(error)[:200]})
        raise InvalidInputError([problem("unreadable", ["body"], "This can't be read")]) from error
