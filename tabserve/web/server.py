"""Runs an application under uvicorn, with the fast path; and what other commands need to run it as well as that."""

import importlib
import signal
import socket
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI

from tabserve.web.fast_path import FastProtocol

OPTIONS: dict[str, Any] = {
    "loop": "uvloop",
    "http": FastProtocol,
    "ws": "none",
    "proxy_headers": False,  # uvicorn would believe every program on this machine; see `tabserve.web.proxies`
    "server_header": False,
    "access_log": False,
}
"""The options of uvicorn with which it keeps what the documentation promises."""


def serve(app: FastAPI, listeners: list[socket.socket], shutdown_seconds: int) -> None:
    """Serves until SIGINT or SIGTERM on sockets that listen already. A stop waits `shutdown_seconds` for requests in
    flight.

    The protocol gets what it needs from the state of the application's lifespan, so several processes can serve on the
    same sockets.
    """
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=shutdown_seconds, **OPTIONS)
    # these handle a signal before uvicorn's own handlers are set, and after a clean stop, when uvicorn raises the
    # signal that stopped it again. Both have status 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    uvicorn.Server(config).run(sockets=listeners)


def gunicorn_worker(shutdown_seconds: int) -> type[Any]:
    """The class of gunicorn's workers that serve like `serve`. It derives from the one of the package uvicorn-worker.

    Raises:
        ModuleNotFoundError: the package isn't installed.
    """
    uvicorn_worker = importlib.import_module("uvicorn_worker").UvicornWorker
    options = OPTIONS | {"timeout_graceful_shutdown": shutdown_seconds}
    return type("Worker", (uvicorn_worker,), {"CONFIG_KWARGS": options})
