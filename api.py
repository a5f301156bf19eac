"""Serves the live model over HTTP.

    python api.py                 on the address that the settings name, http://localhost:8000 by default
    uvicorn api:app --port 8000   the same application under uvicorn's own options

Importing this module reads no setting and opens nothing: `app` is made when it is first asked for.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

try:
    from tabserve import log as logs
    from tabserve.cli import addresses
    from tabserve.errors import SettingsError
    from tabserve.registry.registry import Store
    from tabserve.settings import Settings
    from tabserve.web import create_app, serve
except ModuleNotFoundError as missing:
    sys.exit(f"api.py: {missing}. `. .venv/bin/activate` first, or `python run_pipeline.py`, which makes it")

if TYPE_CHECKING:
    from fastapi import FastAPI

    app: FastAPI


def __getattr__(name: str) -> "FastAPI":
    """Makes `app`, for `uvicorn api:app`."""
    if name != "app":
        raise AttributeError(f"module 'api' has no attribute {name!r}")
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    return create_app(settings, Store(settings))


def load_settings() -> Settings:
    try:
        return Settings.load(Path(__file__).resolve().parent)
    except SettingsError as error:
        sys.exit(f"api.py: {error}")


def main() -> None:
    settings = load_settings()
    parser = argparse.ArgumentParser(description="Serve the live model over HTTP.", epilog="Every setting: README.md.")
    parser.add_argument("--host", default=settings.host, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", default=settings.port, type=int, help="port to listen on (default: %(default)s)")
    options = parser.parse_args()
    if reason := addresses.listen_problem(options.host, options.port):
        sys.exit(f"api.py: {reason}")
    logs.configure(settings.log_level, settings.log_format)
    with addresses.listening_socket(options.host, options.port) as listener:
        serve(create_app(settings, Store(settings)), listener, settings.shutdown_seconds)


if __name__ == "__main__":
    main()
