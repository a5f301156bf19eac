"""Requests to `/predict` as bytes, and connections that send them."""

import json
import socket
from typing import Any

import requests

from tests.support.models import ROW
from tests.support.servers import Server
from tests.support.waiting import LIMIT

OWN = {"prediction_id", "timestamp", "request_id"}
"""The keys that differ between two replies to the same body."""

BODY = json.dumps(ROW).encode()


def post(body: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    head = [b"POST /predict HTTP/%b" % version, b"Host: x", b"Content-Type: application/json", *headers]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body])


def common(content: Any) -> Any:
    return {key: value for key, value in content.items() if key not in OWN}


class Connection:
    """One connection to a server, which knows when a packet has been read.

    Attributes:
        replies: what the server sends.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self._socket.makefile("rb")

    def close(self) -> None:
        self.replies.close()
        self._socket.close()

    def send(self, packet: bytes) -> None:
        """Sends a packet, and returns when the server has read it."""
        self._socket.sendall(packet)
        assert requests.get(f"{self._server.url}/livez", timeout=LIMIT).status_code == 200

    def reply(self) -> tuple[int, Any]:
        """Status and content of the next reply, without what differs between two replies to the same body."""
        status = int(self.replies.readline().split()[1])
        headers = dict(iter(lambda: self.replies.readline().strip().lower().partition(b": ")[::2], (b"", b"")))
        return status, common(json.loads(self.replies.read(int(headers[b"content-length"]))))
