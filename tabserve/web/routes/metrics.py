"""`/metrics` and `/metrics/prometheus`."""

from fastapi import APIRouter, Request, Response

from tabserve.monitoring import Metrics
from tabserve.serving import Service
from tabserve.web import schemas
from tabserve.web.codecs import JSON
from tabserve.web.responses import json_response, now
from tabserve.web.routes.model import described_challenger

TEXT = {"content": {"text/plain": {"schema": {"type": "string"}}}}


def metrics_routes(service: Service, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["operations"])

    def prometheus_text(accept: str) -> Response:
        content, content_type = metrics.text(accept)
        return Response(content, media_type=content_type)

    @router.get("/metrics", summary="Counters, for people or for Prometheus", response_model=schemas.MetricsReply,
                responses={200: TEXT})  # fmt: skip
    async def show_metrics(request: Request) -> Response:
        """JSON, unless the Accept header names the text of Prometheus or OpenMetrics and doesn't name JSON."""
        accept = request.headers.get("accept", "")
        if JSON not in accept and ("application/openmetrics-text" in accept or "text/plain" in accept):
            return prometheus_text(accept)
        state = service.state()
        return json_response(
            {
                "timestamp": now(),
                "model_version": state.champion and state.champion.predictor.model_version,
                **metrics.snapshot(),
                "challenger": described_challenger(state),
            }
        )

    @router.get("/metrics/prometheus", summary="Counters as Prometheus text", response_class=Response,
                responses={200: TEXT})  # fmt: skip
    async def show_prometheus(request: Request) -> Response:
        return prometheus_text(request.headers.get("accept", ""))

    return router
