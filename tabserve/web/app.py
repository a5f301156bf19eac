"""The application: puts the parts together, from a registry to routes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tabserve import __version__
from tabserve.errors import TabserveError
from tabserve.monitoring import History, Metrics
from tabserve.serving import BatchExecutor, Service, Source
from tabserve.settings import Settings
from tabserve.web.batch_transport import BatchTransport
from tabserve.web.batches import Batches
from tabserve.web.cors import Cors
from tabserve.web.documentation import add_documentation
from tabserve.web.fast_path import LIFESPAN_KEY, FastPath
from tabserve.web.methods import Methods, is_route
from tabserve.web.middleware import CONTEXT, RequestMiddleware
from tabserve.web.pipeline import Pipeline
from tabserve.web.refusals import refusal
from tabserve.web.responses import to_response
from tabserve.web.routes import health_routes, metrics_routes, model_routes, prediction_routes
from tabserve.web.timed_protocol import LIMITS_KEY, ConnectionLimits

DESCRIPTION = """
Predictions of the model that the registry names as the champion. Every reply names the version that predicted.

The bodies below are those of the model being served now. Errors are JSON: `detail`, and the `request_id` to look for in
the server's log.
"""

LARGEST_BATCHES = 8
"""The bodies of all batches in flight may take as much memory as so many of the largest."""


def create_app(
    settings: Settings, source: Source, metrics: Metrics | None = None, on_start: Callable[[], None] | None = None
) -> FastAPI:
    """An application that serves what `source` names as the champion, from the start of its lifespan to its end.

    `on_start` is called when the lifespan starts. The lifespan's state holds the `FastPath` and the `ConnectionLimits`
    that `FastProtocol` looks for.
    """
    metrics = metrics or Metrics()
    history = History()
    service = Service(source, metrics, [history, metrics], settings.follow_seconds, settings.challenger_share)
    pipeline = Pipeline(service, metrics, settings)
    executor = BatchExecutor(settings.batch_threads, settings.max_batches)
    metrics.service.queued = lambda: executor.waiting
    max_bytes = settings.max_batch_bytes
    batches = Batches(pipeline, executor, max_bytes, max_bytes_of_all=LARGEST_BATCHES * max_bytes)
    limits = ConnectionLimits(
        settings.max_connections, settings.head_seconds, settings.body_seconds, settings.body_bytes_per_second
    )
    cors = Cors(settings.cors_origins) if settings.cors_origins else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        service.start()
        if on_start:
            on_start()
        try:
            # whoever hands over to this server, or sends it requests, takes the end of the start for "it can predict"
            await asyncio.to_thread(service.wait_until_decided)
            fast_path = FastPath(pipeline, settings.max_body_bytes, cors, pipeline.proxies.prefix)
            yield {LIFESPAN_KEY: fast_path, LIMITS_KEY: limits}
        finally:
            service.stop()
            executor.close()

    app = FastAPI(
        title="tabserve",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads its scripts from the internet
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # the redirect would go wherever the Host header says
    )
    app.include_router(prediction_routes(settings, pipeline, batches, history))
    app.include_router(health_routes(service, metrics))
    app.include_router(metrics_routes(service, metrics))
    app.include_router(model_routes(settings, service))
    add_documentation(app, service, pipeline)
    for error in (HTTPException, RequestValidationError, TabserveError):
        app.add_exception_handler(error, _refuse)
    # the last one added is the outermost
    app.add_middleware(Methods, routes=app.routes)
    app.add_middleware(BatchTransport, batches=batches)
    app.add_middleware(
        RequestMiddleware,
        pipeline=pipeline,
        metrics=metrics,
        cors=cors,
        is_route=lambda path: is_route(path, app.routes),
    )
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    return to_response(refusal(error, request.scope["state"][CONTEXT]))
