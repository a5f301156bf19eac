"""`/openapi.json` of the model that is served now, and `/docs`, which needs no internet."""

from functools import lru_cache
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles

from tabserve.model import Schema
from tabserve.serving import Service
from tabserve.web import schemas
from tabserve.web.pipeline import Pipeline
from tabserve.web.responses import json_response

NO_MODEL = {"type": "object", "description": "No model is loaded, so its features are unknown."}


def add_documentation(app: FastAPI, service: Service, pipeline: Pipeline) -> None:
    """Adds the pages. FastAPI's own would load their scripts from the internet."""

    @lru_cache(maxsize=4)
    def document(schema: Schema | None) -> dict[str, Any]:
        openapi = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = openapi["components"]["schemas"]
        if schema is None:
            components |= {"PredictRequest": NO_MODEL, "BatchRequest": NO_MODEL}
        else:
            components |= pipeline.requests_for(schema).json_schemas("#/components/schemas/{model}")
            for name, reply in schemas.REPLIES[schema.task.kind].items():
                components[name] = {"$ref": f"#/components/schemas/{reply.__name__}"}
        return openapi

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        champion = service.state().champion
        content = document(champion and champion.predictor.schema)
        prefix = request.scope.get("root_path")
        return json_response({**content, "servers": [{"url": prefix}]} if prefix else content)

    @app.get("/", include_in_schema=False)
    async def home(request: Request) -> Response:
        prefix = request.scope.get("root_path")
        return RedirectResponse(f"{prefix}/docs" if prefix else "docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        # relative to this page, so that they are right under any path prefix, also under one that isn't known here
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=app.title,
            swagger_js_url="docs/assets/swagger-ui-bundle.js",
            swagger_css_url="docs/assets/swagger-ui.css",
            swagger_favicon_url="docs/assets/favicon-32x32.png",
            swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
        )

    assets = files("fastapi_swagger") / "resources"
    app.mount("/docs/assets", StaticFiles(directory=str(assets)), name="docs-assets")
