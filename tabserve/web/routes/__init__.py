"""The routes. Each module makes the routes of one topic; they read a body or a query and answer with JSON or text."""

from tabserve.web.routes.health import health_routes
from tabserve.web.routes.metrics import metrics_routes
from tabserve.web.routes.model import model_routes
from tabserve.web.routes.predictions import prediction_routes

__all__ = ["health_routes", "metrics_routes", "model_routes", "prediction_routes"]
