"""`/openapi.json` of the model that is served now, and `/docs`, which needs no internet."""

from functools import lru_cache
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles

from tabserve.model import Schema
from tabserve.serving import Service
from tabserve.web import schemas
from tabserve.web.codecs import JSON, encode
from tabserve.web.pipeline import Pipeline

NO_MODEL = {"type": "object", "description": "No model is loaded, so its features are unknown."}


def add_documentation(app: FastAPI, service: Service, pipeline: Pipeline) -> None:
    """Adds the pages. FastAPI's own would load their scripts from the internet."""

    @lru_cache(maxsize=4)
    def document(schema: Schema | None) -> bytes:
        openapi = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = openapi["components"]["schemas"]
        if schema is None:
            components |= {"PredictRequest": NO_MODEL, "BatchRequest": NO_MODEL}
        else:
            components |= pipeline.requests_for(schema).json_schemas("#/components/schemas/{model}")
            for name, reply in schemas.REPLIES[schema.task.kind].items():
                components[name] = {"$ref": f"#/components/schemas/{reply.__name__}"}
        return encode(openapi)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        champion = service.state().champion
        return Response(document(champion and champion.predictor.schema), media_type=JSON)

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
