"""The routes: HTTP in, a call to the service, HTTP out."""

import re
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from tabserve.inference.predict import predict
from tabserve.model.schema import Category, Feature, Schema
from tabserve.model.versions import Deployment
from tabserve.monitoring.history import SIZE, History
from tabserve.monitoring.metrics import Metrics
from tabserve.serving.service import Service, State
from tabserve.settings import Settings
from tabserve.web import schemas
from tabserve.web.batches import Batches
from tabserve.web.body import is_json, read_body
from tabserve.web.codecs import arrow_codec, json_codec
from tabserve.web.middleware import CALLER

PROVENANCE = {
    "model_type", "trained_at", "parameters", "metrics", "dataset", "by_class", "left_out", "limits", "libraries",
    "git_commit",
}  # fmt: skip
"""What `/model/info` shows of the release's provenance as it stands."""

MOVES = 20
"""How much of the journal `/model/info` shows."""

RETRY_SECONDS = 5
RETRY = {"Retry-After": str(RETRY_SECONDS)}

UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {
        "model": schemas.ErrorReply,
        "description": "There is no model to serve; `detail` says what to do.",
        "headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}},
    }
}

BODY_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": schemas.ErrorReply, "description": "The connection broke inside the body."},
    413: {"model": schemas.ErrorReply, "description": "The body, or the batch, is larger than allowed."},
    415: {"model": schemas.ErrorReply, "description": "The body isn't announced as what the route takes."},
    422: {
        "model": schemas.ValidationReply,
        "description": "The body isn't JSON, or breaks the schema; each field is named.",
    },
    **UNAVAILABLE,
}


def _whole(text: object) -> object:
    if isinstance(text, str) and not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise PydanticCustomError("int_parsing", "Input should be a whole number, in digits")
    return text


def _shown(move: Deployment) -> dict[str, object]:
    return {"from" if name == "origin" else name: value for name, value in asdict(move).items()}


def _challenger(state: State) -> dict[str, object] | None:
    challenger = state.challenger
    if challenger is None:
        return None
    version = challenger.version
    return {
        "model_version": version and version.model_version,
        "registry_version": version and version.registry_version,
        "run_id": version and version.run_id,
        "since": challenger.live and challenger.live.since,
        "share": state.share,
        "reason": challenger.reason,
        "compared": challenger.tally and challenger.tally.summary(),
    }


def _seen(feature: Feature) -> dict[str, object]:
    if isinstance(feature, Category):
        return {"categories": dict(zip(feature.categories, feature.counts, strict=True))}
    return {"minimum": feature.minimum, "maximum": feature.maximum, "mean": feature.mean}


WHOLE = BeforeValidator(_whole)
"""Python's own idea of a whole number takes `1_000` and ` 5.0 ` too."""


def json_response(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json_codec.encode(content), status, headers, json_codec.JSON)


CallerKey = Annotated[
    str | None,
    Header(
        alias=CALLER.decode(),
        description="who asks, in any words: where a challenger answers a share of callers, the same one always gets "
        "the same model",
    ),
]

ARROW: dict[str, Any] = {arrow_codec.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}


def body_of(name: str, limit: int, others: dict[str, Any] | None = None) -> dict[str, Any]:
    """Documents the body: its schema is that of the model being served, which `web.app` fills in under this name."""
    content = {json_codec.JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}}} | (others or {})
    return {"requestBody": {"required": True, "content": content}, "x-max-body-bytes": limit}


def prediction_routes(
    settings: Settings,
    service: Service,
    history: History,
    requests: Callable[[Schema], json_codec.Requests],
    batches: Batches,
) -> APIRouter:
    """Predicting, and what was predicted."""
    router = APIRouter(tags=["predictions"])

    @router.post("/predict", summary="Predict one row", response_model=schemas.PredictReply,
                 responses=BODY_ERRORS, openapi_extra=body_of("PredictRequest", settings.max_body_bytes))  # fmt: skip
    async def predict_one(request: Request, caller_key: CallerKey = None) -> Response:
        """Numbers are finite JSON numbers, categories texts. What was missing in training may be null or left out, all
        else is required. The reply names the model that answered.
        """
        body = await read_body(request, settings.max_body_bytes)
        started = time.perf_counter()
        state = service.state()
        live, answering = state.serving(), state.answering((caller_key or "").encode("latin-1"))
        values = requests(live.predictor.schema).parse(body)
        try:
            prediction = predict(answering.predictor, values, started)
        except Exception as error:
            if answering is live:
                raise
            service.give_up_on(answering, error)
            prediction = predict(live.predictor, values, started)
        reply = json_codec.encode_prediction(prediction)
        service.record(prediction)  # only now: what can't be encoded must not be remembered
        return Response(reply, media_type=json_codec.JSON)

    @router.post("/predict/batch", summary="Predict many rows", response_model=schemas.BatchReply,
                 responses=BODY_ERRORS | {200: {"content": ARROW}},
                 openapi_extra=body_of("BatchRequest", settings.max_batch_bytes, ARROW))  # fmt: skip
    async def predict_many(request: Request) -> Response:
        """Rows as columns or as records; one bad row refuses them all and is named by its number, from 0.

        An Arrow IPC stream, uncompressed, with a column of numbers or texts a feature, is answered by one: the columns
        of the reply, and the rest of it as JSON in the schema's metadata, under `batch`.
        """
        body = await read_body(request, settings.max_batch_bytes, arrow_codec.MEDIA_TYPE)
        media_type = json_codec.JSON if is_json(request.headers["content-type"]) else arrow_codec.MEDIA_TYPE
        return Response(await batches.answer(body, media_type), media_type=media_type)

    @router.get("/predictions/history", summary="The last predictions",
                response_model=schemas.HistoryReply, responses={422: {"model": schemas.ValidationReply}})  # fmt: skip
    async def predictions_history(
        limit: Annotated[int, WHOLE, Query(ge=1, le=SIZE, description="how many")] = 100,
        offset: Annotated[int, WHOLE, Query(ge=0, le=SIZE, description="how many of the newest to leave out")] = 0,
    ) -> Response:
        """The newest first, at most the last 1000, since this server started."""
        page = [prediction._asdict() for prediction in history.page(limit, offset)]
        return json_response({"total": len(history), "limit": limit, "offset": offset, "predictions": page})

    return router


def health_routes(service: Service, metrics: Metrics) -> APIRouter:
    """How it is, for people and orchestrators. A probe's 503 isn't logged: that there is no model was, once."""
    router = APIRouter(tags=["operations"])

    @router.get("/health", summary="How it is", response_model=schemas.HealthReply,
                responses={503: {"model": schemas.HealthReply, "description": "It can't predict."}})  # fmt: skip
    async def health(request: Request) -> Response:
        """200 while it can predict, 503 while it can't; `reason` says why it is not healthy and what to do."""
        request.state.quiet = True
        state = service.state()
        content = {
            "status": state.status,
            "model_loaded": state.live is not None,
            "model_version": state.live and state.live.predictor.model_version,
            "timestamp": now(),
            "uptime_seconds": round(metrics.uptime(), 3),
            "reason": state.reason,
        }
        return json_response(content, 200 if state.live else 503, None if state.live else RETRY)

    @router.get("/livez", summary="Is the process alive", response_model=schemas.ProbeReply)
    async def livez() -> Response:
        """200 as long as the process answers at all: whoever gets none should restart it."""
        return json_response({"status": "alive", "reason": None})

    @router.get("/readyz", summary="Can it predict", response_model=schemas.ProbeReply,
                responses={503: {"model": schemas.ProbeReply, "description": "It can't predict."}})  # fmt: skip
    async def readyz(request: Request) -> Response:
        """200 while it can predict, 503 while it can't: send it traffic, or don't."""
        request.state.quiet = True
        state = service.state()
        if state.live is None:
            return json_response({"status": "not ready", "reason": state.reason}, 503, RETRY)
        return json_response({"status": "ready", "reason": None})

    return router


def insight_routes(settings: Settings, service: Service, metrics: Metrics) -> APIRouter:
    """What was counted, and what is served."""
    router = APIRouter(tags=["operations"])

    @router.get("/metrics", summary="Counters, for people or for Prometheus",
                response_model=schemas.MetricsReply,
                responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})  # fmt: skip
    async def show_metrics(request: Request) -> Response:
        """JSON, unless the Accept header names Prometheus' or OpenMetrics' text and doesn't name JSON."""
        accept = request.headers.get("accept", "")
        if json_codec.JSON not in accept and ("application/openmetrics-text" in accept or "text/plain" in accept):
            return prometheus_text(accept)
        state = service.state()
        version = state.live and state.live.predictor.model_version
        challenger = _challenger(state)
        return json_response(
            {"timestamp": now(), "model_version": version, **metrics.snapshot(), "challenger": challenger}
        )

    @router.get("/metrics/prometheus", summary="Counters as Prometheus text",
                response_class=Response,
                responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})  # fmt: skip
    async def show_prometheus(request: Request) -> Response:
        return prometheus_text(request.headers.get("accept", ""))

    def prometheus_text(accept: str) -> Response:
        content, content_type = metrics.text(accept)
        return Response(content, media_type=content_type)

    @router.get("/model/info", summary="The model that is served",
                response_model=schemas.ModelReply, responses=UNAVAILABLE)  # fmt: skip
    async def model_info() -> Response:
        """What it is, how good it was in training, on what it was trained, and where it came from."""
        state = service.state()
        live = state.serving()
        manifest = live.predictor.release.manifest
        schema, metadata = manifest.data_schema, manifest.metadata
        return json_response(
            {
                "model_version": manifest.model_version,
                "model_name": settings.model_name,
                "alias": settings.model_alias,
                "registry_version": live.registry_version,
                "run_id": live.run_id,
                "live_since": live.since,
                "challenger": _challenger(state),
                "journal": [_shown(move) for move in reversed(service.deployments()[-MOVES:])],
                "target": schema.target,
                "classes": schema.task.classes,
                "features": [
                    {
                        "name": feature.name,
                        "kind": feature.kind,
                        "missing": feature.missing,
                        **_seen(feature),
                        "importance": metadata.feature_importances[feature.name],
                    }
                    for feature in schema.features
                ],
                "checksum": live.predictor.release.checksum,
                **metadata.model_dump(include=PROVENANCE),
            }
        )

    return router


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
