"""`/predict`, `/predict/batch` and `/predictions/history`."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from tabserve.inference import Prediction
from tabserve.monitoring import HISTORY_SIZE, History
from tabserve.settings import Settings
from tabserve.web import schemas
from tabserve.web.batches import Batches
from tabserve.web.body import read_body
from tabserve.web.codecs import ARROW, JSON
from tabserve.web.context import CALLER, RequestContext
from tabserve.web.middleware import CONTEXT
from tabserve.web.pipeline import ONE_ROW, Pipeline
from tabserve.web.responses import UNAVAILABLE, json_response, to_response

BODY_ERRORS: dict[int | str, dict[str, Any]] = {
    413: {"model": schemas.ErrorReply, "description": "The body, or the batch, is larger than allowed."},
    415: {"model": schemas.ErrorReply, "description": "The route doesn't take this content type."},
    422: {
        "model": schemas.ValidationReply,
        "description": "The body isn't JSON, or breaks the schema; each field is named.",
    },
    **UNAVAILABLE,
}

ARROW_CONTENT: dict[str, Any] = {ARROW: {"schema": {"type": "string", "format": "binary"}}}

CALLER_PARAMETER = {
    "name": CALLER.decode(),
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "names the caller, in any words. Where a challenger answers a share of the callers, the same caller "
    "always gets the same model",
}


def _digits(text: object) -> object:
    """Only digits: Python's own idea of a whole number includes `1_000` and ` 5.0 `."""
    if isinstance(text, str) and not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise PydanticCustomError("int_parsing", "Input should be a whole number, in digits")
    return text


WholeNumber = Annotated[int, BeforeValidator(_digits)]


def prediction_routes(settings: Settings, pipeline: Pipeline, batches: Batches, history: History) -> APIRouter:
    router = APIRouter(tags=["predictions"])

    @router.post("/predict", summary="Predict one row", response_model=schemas.PredictReply, responses=BODY_ERRORS,
                 openapi_extra=_body("PredictRequest", settings.max_body_bytes)
                 | {"parameters": [CALLER_PARAMETER]})  # fmt: skip
    async def predict_one(request: Request) -> Response:
        """Numbers are finite JSON numbers, categories are texts. A feature that was missing in training may be null or
        left out; all others are required. The reply names the model that predicted.
        """
        body = await read_body(request, settings.max_body_bytes)
        return to_response(pipeline.respond(ONE_ROW, _context(request), body))

    @router.post("/predict/batch", summary="Predict many rows", response_model=schemas.BatchReply,
                 responses=BODY_ERRORS | {200: {"content": ARROW_CONTENT}},
                 openapi_extra=_body("BatchRequest", settings.max_batch_bytes, ARROW_CONTENT))  # fmt: skip
    async def predict_many(request: Request) -> Response:
        """Rows as columns or as records. One bad row refuses the whole batch and is named by its number, from 0.

        An Arrow IPC stream, uncompressed, with a column of numbers or texts per feature, is answered by an Arrow IPC
        stream: the columns of the reply, and the rest as JSON in the schema's metadata, under `batch`.
        """
        return to_response(await batches.reply(_context(request), request))

    @router.get("/predictions/history", summary="The last predictions", response_model=schemas.HistoryReply,
                responses={422: {"model": schemas.ValidationReply}})  # fmt: skip
    async def predictions_history(
        limit: Annotated[WholeNumber, Query(ge=1, le=HISTORY_SIZE, description="how many")] = 100,
        offset: Annotated[WholeNumber, Query(ge=0, le=HISTORY_SIZE, description="how many of the newest to skip")] = 0,
    ) -> Response:
        """The newest first, at most the last 1000, since this server started."""
        page = [_entry(prediction) for prediction in history.page(limit, offset)]
        return json_response({"total": len(history), "limit": limit, "offset": offset, "predictions": page})

    return router


def _context(request: Request) -> RequestContext:
    context: RequestContext = request.scope["state"][CONTEXT]
    return context


def _entry(prediction: Prediction) -> dict[str, object]:
    return {**prediction.reply(), "inputs": prediction.inputs, "latency_ms": prediction.latency_ms}


def _body(schema: str, limit: int, other_content: dict[str, Any] | None = None) -> dict[str, Any]:
    """Documents a body. Its schema is that of the model being served; `tabserve.web.documentation` fills it in."""
    content = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}} | (other_content or {})
    return {"requestBody": {"required": True, "content": content}, "x-max-body-bytes": limit}
