"""The fast path gives the same replies as the routes, and unusual requests take the route."""

import gzip
import json
import socket
import time
from contextlib import closing
from typing import Any

import pytest
import requests

from tabserve.inference import Prediction
from tabserve.model import Release
from tests.support.models import ROW, SETTINGS
from tests.support.raw_http import BODY, common, post
from tests.support.servers import Server
from tests.support.sources import FakeSource
from tests.support.waiting import LIMIT, patient

ODD: list[Any] = [
    {}, [], None, 1, "x", ROW | {"extra": 1}, ROW | {"petal_width": "1"}, ROW | {"petal_width": True},
    ROW | {"petal_width": None}, ROW | {"petal_width": 1e39}, {"petal_width": 1.0},
]  # fmt: skip
RAW = [
    b"", b"{", b"\xff", b"nan", BODY[:-1], BODY + b"x", BODY[:-1] + b',"petal_width":1}', BODY[:-1] + b",}",
    BODY.replace(b"0.2", b"NaN"), BODY.replace(b"0.2", b"1e400"), BODY.replace(b"0.2", b"0." + b"2" * 70),
    BODY.replace(b"0.2", b"9" * 5000), BODY.replace(b"0.2", b"01"), b"[" * 100_000,
]  # fmt: skip


def test_fast_path_and_route_give_the_same_reply(server: Server) -> None:
    """Good, unusual and bad bodies get the same status, headers and content by both ways."""
    valid = [
        BODY, json.dumps(ROW | {"petal_width": 99.0}).encode(), json.dumps(dict(reversed(ROW.items()))).encode(),
        json.dumps(dict.fromkeys(ROW, 3)).encode(), json.dumps(ROW, indent=20).encode(),
        BODY.replace(b"0.2", b"0.2" + b"0" * 50), BODY.replace(b"petal_w", b"petal\\u005fw"),
    ]  # fmt: skip
    bodies = [*valid, *(json.dumps(content).encode() for content in ODD), *RAW]
    headers = {"Content-Type": "application/json"}
    for body in bodies:
        fast = requests.post(f"{server.url}/predict", data=body, headers=headers, timeout=LIMIT)
        route = requests.post(f"{server.url}/predict?by=route", data=body, headers=headers, timeout=LIMIT)
        assert fast.status_code == route.status_code == (200 if body in valid else 422), body
        assert common(fast.json()) == common(route.json()), body
        assert set(fast.headers) == set(route.headers), body
    assert server.fast_bodies == bodies


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(BODY, b"Connection: close"), 200),
        (post(BODY, version=b"1.0"), 200),
        (post(BODY, b"Connection: close", b"Expect: 100-continue"), 100),
        (post(BODY, b"Connection: close").replace(b"/predict", b"/predict?x=1"), 200),
        (post(BODY, b"Connection: close").replace(b"/predict", b"/predict/"), 404),
        (post(BODY, b"Connection: close").replace(b"POST", b"PUT"), 405),
        (post(BODY, b"Connection: close").replace(b"application/json", b"text/plain"), 415),
        (post(BODY, b"Transfer-Encoding: chunked"), 400),
    ],
)
def test_unusual_requests_take_the_route(server: Server, request_bytes: bytes, status: int) -> None:
    """Requests with another HTTP version, method, path or content type, with `Connection: close` or with two lengths
    for one body are answered by the route."""
    assert server.send(request_bytes).startswith(b"HTTP/1.1 %d " % status)
    assert server.fast_bodies == []


@pytest.mark.parametrize("cut", [1, 50, -len(BODY), -1])
def test_a_request_in_two_packets_is_answered(server: Server, cut: int) -> None:
    """A request that is cut in its head or in its body is answered."""
    whole = post(BODY)
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(whole[:cut])
        assert requests.get(f"{server.url}/livez", timeout=LIMIT).status_code == 200  # the first packet has been read
        connection.sendall(whole[cut:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_body_in_tiny_chunks_is_answered(server: Server) -> None:
    """A body of one-byte chunks is answered on the fast path. Too many trailers after it are refused."""
    head = post(BODY).partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    chunked = head + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n"
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT)) as connection:
        connection.sendall(chunked + b"X-Request-ID: of-a-trailer\r\n\r\n")
        reply = connection.recv(65536)
        assert reply.startswith(b"HTTP/1.1 200 ")
        assert b"of-a-trailer" not in reply
        connection.sendall(chunked + b"".join(b"x: %b\r\n" % (b"y" * 1000) for _ in range(100)))
        refused = connection.recv(65536)
        assert refused.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))  # by whether they come with the head
    assert server.fast_bodies == [BODY]


def test_first_of_two_content_types_counts(server: Server) -> None:
    """Of two Content-Type headers both ways take the first."""
    twice = post(BODY).replace(b"Content-Type", b"Content-Type: text/plain\r\nContent-Type")
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT)) as connection:
        connection.sendall(twice)
        assert connection.recv(65536).startswith(b"HTTP/1.1 415 ")


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """Requests for both ways, sent in one packet on one connection, are answered in their order."""
    names = [f"id-{number}" for number in range(9)]
    parts = []
    for number, name in enumerate(names):
        own = b"X-Request-ID: %b" % name.encode()
        close = [b"Connection: close"] if name == names[-1] else []
        odd = b"GET /livez HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % own
        parts.append(odd if number % 4 == 3 else post(BODY, own, *close))
    replies = server.send(b"".join(parts))
    positions = [replies.find(b"x-request-id: %b\r\n" % name.encode()) for name in names]
    assert -1 not in positions
    assert positions == sorted(positions)
    assert len(server.fast_bodies) == 3  # a request behind one that is in flight waits, and takes the route


def test_idle_connection_is_closed_but_slow_request_is_not(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is closed when no request begins for a while after a reply, but not while a request has begun."""
    keep_alive = patient(2)
    with (
        Server(FakeSource(release), monkeypatch, timeout_keep_alive=keep_alive).running() as server,
        closing(socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT)) as slow,
        closing(socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT)) as idle,
    ):
        for connection in (slow, idle):
            connection.sendall(post(BODY))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        slow.sendall(post(BODY)[:20])
        idle.settimeout(keep_alive / 4)
        with pytest.raises(TimeoutError):
            idle.recv(1)  # still open
        idle.settimeout(LIMIT)
        idle.sendall(post(BODY))
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        answered = time.monotonic()
        assert idle.recv(65536) == b""
        assert time.monotonic() - answered > 0.9 * keep_alive
        slow.sendall(post(BODY)[20:])
        assert slow.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert slow.recv(65536) == b""
        assert len(server.fast_bodies) == 4


def test_a_body_over_the_limit_is_refused(server: Server) -> None:
    """A body over the limit is refused, with an announced length or in chunks."""
    body = b" " * SETTINGS.max_body_bytes + BODY
    for data in (body, iter([body])):
        reply = requests.post(
            f"{server.url}/predict", data, headers={"Content-Type": "application/json"}, timeout=LIMIT
        )
        assert reply.status_code == 413
    assert server.fast_bodies == []


def test_fast_path_predictions_are_recorded_and_counted(server: Server) -> None:
    """History, counters and request id are the same as on the route."""
    reply = requests.post(f"{server.url}/predict", json=ROW, headers={"X-Request-ID": "mine"}, timeout=LIMIT)
    assert reply.headers["x-request-id"] == "mine"
    assert len(server.fast_bodies) == 1
    (entry,) = requests.get(f"{server.url}/predictions/history", timeout=LIMIT).json()["predictions"]
    assert entry == reply.json() | {"inputs": ROW, "latency_ms": entry["latency_ms"]}
    metrics = requests.get(f"{server.url}/metrics", timeout=LIMIT).json()
    assert metrics["predictions_total"] == metrics["requests"]["/predict"]["200"] == 1
    assert 0 < metrics["latency_ms"]["p50"] < 10_000


def test_internal_error_on_the_fast_path_is_a_500(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the fast path fails, the caller gets a 500 with the request id that the log has, and nothing is counted as
    predicted."""
    monkeypatch.setattr(Prediction, "reply", lambda _: 1 // 0)
    reply = requests.post(f"{server.url}/predict", json=ROW, timeout=LIMIT)
    assert (reply.status_code, reply.headers["content-type"]) == (500, "application/json")
    (logged,) = [record for record in caplog.records if record.exc_info]
    assert vars(logged)["request_id"] == reply.json()["request_id"] == reply.headers["x-request-id"]
    metrics = requests.get(f"{server.url}/metrics", timeout=LIMIT).json()
    assert (metrics["predictions_total"], metrics["requests"]["/predict"]) == (0, {"500": 1})


def test_refusals_on_the_fast_path_say_when_to_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a model the fast path gives a 503 with `Retry-After` and the reason, as the route does."""
    source = FakeSource()
    with Server(source, monkeypatch).running(ready=503) as server:
        fast = requests.post(f"{server.url}/predict", json=ROW, timeout=LIMIT)
        route = requests.post(f"{server.url}/predict?by=route", json=ROW, timeout=LIMIT)
        assert fast.status_code == route.status_code == 503
        assert fast.headers["retry-after"] == route.headers["retry-after"]
        assert common(fast.json()) == common(route.json())
        assert len(server.fast_bodies) == 1


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "identity, gzip"])
def test_compressed_body_is_refused_by_name(server: Server, path: str, encoding: str) -> None:
    """With what to do, on the fast path and on the route. It isn't unpacked: a small body may become any size."""
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    for _ in range(3):
        reply = requests.post(f"{server.url}{path}", data=gzip.compress(BODY), headers=headers, timeout=LIMIT)
        assert (reply.status_code, reply.headers["accept-encoding"]) == (415, "identity")
        assert reply.json()["detail"].startswith(f"The body is compressed ({encoding}): send it as it is")


def test_body_that_says_it_is_not_compressed_is_predicted(server: Server) -> None:
    """`Content-Encoding: identity` changes nothing."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "identity"}
    assert requests.post(f"{server.url}/predict", data=BODY, headers=headers, timeout=LIMIT).status_code == 200
