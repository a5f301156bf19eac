"""Runs an application under uvicorn, with the fast path."""

import signal
import socket

import uvicorn
from fastapi import FastAPI

from tabserve.web.fast_path import FastProtocol


def serve(app: FastAPI, listeners: list[socket.socket], shutdown_seconds: int) -> None:
    """Serves until SIGINT or SIGTERM on sockets that listen already. A stop waits `shutdown_seconds` for requests in
    flight.

    The protocol gets what it needs from the state of the application's lifespan, so several processes can serve on the
    same sockets.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=FastProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # uvicorn would believe every program on this machine; see `tabserve.web.proxies`
        timeout_graceful_shutdown=shutdown_seconds,
    )
    # uvicorn raises the signal that stopped it again after a clean stop, but a clean stop has status 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=listeners)
