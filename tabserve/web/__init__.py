"""HTTP: the only package that knows FastAPI and uvicorn. It translates requests and replies, and calls the service.

`app` puts the parts together, `pipeline` is what every prediction goes through, `server` runs the application.
"""

from fastapi import FastAPI as Application

from tabserve.web.app import create_app
from tabserve.web.fast_path import FastProtocol
from tabserve.web.server import gunicorn_worker, serve

__all__ = ["Application", "FastProtocol", "create_app", "gunicorn_worker", "serve"]
