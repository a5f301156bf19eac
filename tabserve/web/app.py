"""The application: puts the parts together, and is the one place where an exception becomes a status code."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from tabserve.errors import InvalidInputError, TabserveError
from tabserve.model.schema import Schema
from tabserve.monitoring.history import History
from tabserve.monitoring.metrics import Metrics
from tabserve.serving.loader import Source
from tabserve.serving.service import Service
from tabserve.settings import Settings
from tabserve.web.batches import Batches
from tabserve.web.codecs import json_codec
from tabserve.web.fast_path import FastBatch, FastPredict
from tabserve.web.middleware import RequestMiddleware
from tabserve.web.routes import RETRY, health_routes, insight_routes, json_response, prediction_routes

VERSION = "1.0.0"

DESCRIPTION = """
Predictions from the model that the registry says is live, with its version in every reply.

The bodies below are those of the model being served now. Errors are JSON: `detail`, and the `request_id` to look for in
the server's log.
"""


def create_app(settings: Settings, source: Source, metrics: Metrics | None = None) -> FastAPI:
    """An application that serves what `source` says is live, from its lifespan's start to its end.

    `app.state.fast` is what `protocol_around` wants.
    """
    metrics = metrics or Metrics()
    history = History()
    service = Service(source, metrics, [history, metrics], settings.follow_seconds, settings.challenger_share)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()
            batches.close()

    @lru_cache(maxsize=4)
    def requests(schema: Schema) -> json_codec.Requests:
        known_only = settings.unknown_categories == "refuse"
        return json_codec.Requests(schema, settings.max_batch_rows, known_only=known_only)

    batches = Batches(service, requests, settings.batch_threads)

    app = FastAPI(
        title="Classifier",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads its scripts from the internet
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # the redirect would go wherever the Host header says
    )
    app.state.fast = FastPredict(service, metrics, requests, settings.max_body_bytes)
    app.include_router(prediction_routes(settings, service, history, requests, batches))
    app.include_router(health_routes(service, metrics))
    app.include_router(insight_routes(settings, service, metrics))
    _document(app, service, requests)
    _translate_errors(app)
    app.add_middleware(RequestMiddleware, metrics=metrics, internal_error=_internal_error)
    app.add_middleware(FastBatch, metrics=metrics, batches=batches, limit=settings.max_batch_bytes)
    return app


# -- documentation


def _document(app: FastAPI, service: Service, requests: Callable[[Schema], json_codec.Requests]) -> None:
    """Serves `/openapi.json` of the model that is live, and `/docs` with its scripts from this server."""

    @lru_cache(maxsize=4)
    def schema_of(schema: Schema | None) -> bytes:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = document["components"]["schemas"]
        if schema is None:
            described = {"type": "object", "description": "There is no model yet, so nothing is known of its features."}
            components |= {"PredictRequest": described, "BatchRequest": described}
        else:
            components |= requests(schema).json_schemas("#/components/schemas/{model}")
        return json_codec.encode(document)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        live = service.state().live
        return Response(schema_of(live and live.predictor.schema), media_type="application/json")

    @app.get("/", include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse("docs")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=app.title,
            swagger_js_url=f"{root}/docs/assets/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/assets/swagger-ui.css",
            swagger_favicon_url=f"{root}/docs/assets/favicon-32x32.png",
            swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
        )

    assets = files("fastapi_swagger") / "resources"
    app.mount("/docs/assets", StaticFiles(directory=str(assets)), name="docs-assets")


# -- errors


def _request_id(request: Request) -> str:
    return str(request.scope["state"]["request_id"])


def _error(request: Request, status: int, detail: object, headers: dict[str, str] | None = None) -> Response:
    return json_response({"detail": detail, "request_id": _request_id(request)}, status, headers)


def _internal_error(request_id: str) -> bytes:
    detail = "Something failed here that should not have. The server's log has it under this request_id."
    return json_codec.encode({"detail": detail, "request_id": request_id})


def _translate_errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return _error(request, error.status_code, error.detail, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def query(request: Request, error: RequestValidationError) -> Response:
        return _error(request, 422, json_codec.problems(error.errors(), start=""))

    @app.exception_handler(InvalidInputError)
    async def body(request: Request, error: InvalidInputError) -> Response:
        return _error(request, 422, error.problems)

    @app.exception_handler(json_codec.TooManyRowsError)
    async def rows(request: Request, error: json_codec.TooManyRowsError) -> Response:
        return _error(request, 413, str(error))

    @app.exception_handler(TabserveError)
    async def unavailable(request: Request, error: TabserveError) -> Response:
        return _error(request, 503, str(error), RETRY)
