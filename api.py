"""Serves the live model over HTTP.

    python api.py                 on the address that the settings name, http://localhost:8000 by default
    uvicorn api:app --port 8000   the same application under uvicorn's own options

Importing this module reads no setting and opens nothing: `app` is made when it is first asked for.
"""

import argparse
import signal
import sys
from typing import TYPE_CHECKING

try:
    import uvicorn

    from tabserve import log as logs
    from tabserve.cli import addresses
    from tabserve.errors import SettingsError
    from tabserve.registry.registry import Store
    from tabserve.settings import Settings
    from tabserve.web.app import create_app
    from tabserve.web.fast_path import protocol_around
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
        return Settings.load()
    except SettingsError as error:
        sys.exit(f"api.py: {error}")


def main() -> None:
    settings = load_settings()
    parser = argparse.ArgumentParser(description="Serve the live model over HTTP.", epilog="Every setting: README.md.")
    parser.add_argument("--host", default=settings.host, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", default=settings.port, type=int, help="port to listen on (default: %(default)s)")
    options = parser.parse_args()
    if reason := addresses.why_not(options.host, options.port):
        sys.exit(f"api.py: {reason}")
    logs.configure(settings.log_level, settings.log_format)
    app = create_app(settings, Store(settings))
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        loop="uvloop",
        http=protocol_around(app.state.fast),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    # uvicorn raises the signal that stopped it once more after a clean stop; a clean stop is status 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
