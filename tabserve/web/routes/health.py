"""`/health`, `/livez` and `/readyz`. Their 503 isn't logged: the service has logged the missing model once already."""

from fastapi import APIRouter, Request, Response

from tabserve.monitoring import Metrics
from tabserve.serving import Service
from tabserve.web import schemas
from tabserve.web.middleware import CONTEXT
from tabserve.web.responses import RETRY, json_response, now


def health_routes(service: Service, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/health", summary="How the service is", response_model=schemas.HealthReply,
                responses={503: {"model": schemas.HealthReply, "description": "It can't predict."}})  # fmt: skip
    async def health(request: Request) -> Response:
        """200 if the service can predict, else 503. `reason` says why it is not healthy and what to do."""
        request.scope["state"][CONTEXT].quiet = True
        state = service.state()
        champion = state.champion
        content = {
            "status": state.status,
            "model_loaded": champion is not None,
            "model_version": champion and champion.predictor.model_version,
            "timestamp": now(),
            "uptime_seconds": round(metrics.uptime(), 3),
            "reason": state.reason,
        }
        return json_response(content, 200 if champion else 503, None if champion else RETRY)

    @router.get("/livez", summary="Is the process alive", response_model=schemas.ProbeReply)
    async def livez() -> Response:
        """200 as long as the process answers at all. If it doesn't, restart it."""
        return json_response({"status": "alive", "reason": None})

    @router.get("/readyz", summary="Can it predict", response_model=schemas.ProbeReply,
                responses={503: {"model": schemas.ProbeReply, "description": "It can't predict."}})  # fmt: skip
    async def readyz(request: Request) -> Response:
        """200 if the service can predict, else 503: whether to send it traffic."""
        request.scope["state"][CONTEXT].quiet = True
        state = service.state()
        if state.champion is None:
            return json_response({"status": "not ready", "reason": state.reason}, 503, RETRY)
        return json_response({"status": "ready", "reason": None})

    return router
