"""The fast paths give the same replies as the routes, and unusual requests take the route."""

import itertools
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pyarrow as pa
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from tabserve.inference import Prediction
from tabserve.model import ClassOutcomes, Release
from tabserve.web.batch_transport import BatchTransport
from tabserve.web.codecs import ARROW
from tabserve.web.context import RequestContext
from tabserve.web.fast_path import MAX_KNOWN_HEAD_BYTES, MAX_KNOWN_HEADS, FastPath, KnownHead
from tabserve.web.pipeline import Operation
from tabserve.web.protocol import BoundedProtocol
from tabserve.web.refusals import Reply
from tests.support.arrow import stream
from tests.support.models import ROW, SETTINGS
from tests.support.servers import Server
from tests.support.sources import FakeSource
from tests.support.waiting import LIMIT, patient, until

OWN = {"prediction_id", "timestamp", "request_id"}
"""The keys that differ between two replies to the same body."""


@pytest.fixture
def server(release: Release, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(FakeSource(release), monkeypatch).running() as server:
        yield server


def post(body: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    head = [b"POST /predict HTTP/%b" % version, b"Host: x", b"Content-Type: application/json", *headers]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body])


def common(content: Any) -> Any:
    return {key: value for key, value in content.items() if key not in OWN}


BODY = json.dumps(ROW).encode()
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


CHUNKED = post(b"").partition(b"Content-Length")[0] + (
    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
)
CONNECTION_KEPT = [
    post(BODY), post(BODY.replace(b"0.2", b"0.9")), post(BODY.replace(b"0.2", b"xxx")), post(b""), CHUNKED,
    post(BODY, b"Upgrade: h2c", b"Connection: upgrade"), post(BODY).replace(b"application/json", b"text/plain"),
    b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
]  # fmt: skip
"""Requests after which the connection stays open."""


class Connection:
    """One connection to a server, which knows when a packet has been read."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb")

    def close(self) -> None:
        self._replies.close()
        self._socket.close()

    def send(self, packet: bytes) -> None:
        """Sends a packet, and returns when the server has read it."""
        self._socket.sendall(packet)
        assert requests.get(f"{self._server.url}/livez", timeout=LIMIT).status_code == 200

    def reply(self) -> tuple[int, Any]:
        """Status and content of the next reply, without what differs between two replies to the same body."""
        status = int(self._replies.readline().split()[1])
        headers = dict(iter(lambda: self._replies.readline().strip().lower().partition(b": ")[::2], (b"", b"")))
        return status, common(json.loads(self._replies.read(int(headers[b"content-length"]))))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sent=st.lists(st.sampled_from(CONNECTION_KEPT), min_size=2, max_size=5),
    cuts=st.lists(st.floats(0, 1), max_size=3),
)
def test_known_heads_change_no_reply(server: Server, sent: list[bytes], cuts: list[float]) -> None:
    """Requests on one connection, cut into any packets, get the replies that each gets on a connection of its own."""
    expected = []
    for request in sent:
        with closing(Connection(server)) as alone:
            alone.send(request)
            expected.append(alone.reply())
    whole = b"".join(sent)
    places = [0, *sorted(int(cut * len(whole)) for cut in cuts), len(whole)]
    with closing(Connection(server)) as together:
        for request in sent:  # whole packets first, so that their heads are known
            together.send(request)
            together.reply()
        for start, end in itertools.pairwise(places):
            together.send(whole[start:end])
        assert [together.reply() for _ in sent] == expected


def test_a_known_head_needs_no_parser(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the third request with the same head on, the parser isn't asked; the replies are those to their bodies."""
    parsed: list[bytes] = []
    parse = BoundedProtocol.data_received

    def counted(protocol: BoundedProtocol, data: bytes) -> None:
        parsed.append(data)
        parse(protocol, data)

    with closing(Connection(server)) as connection:
        monkeypatch.setattr(BoundedProtocol, "data_received", counted)
        sent = [post(BODY.replace(b"0.2", b"0.%d" % number)) for number in range(1, 6)]
        for packet in sent:
            connection.send(packet)
        assert [packet for packet in parsed if packet in sent] == sent[:2]
        replies = [connection.reply() for _ in sent]
        assert [status for status, _ in replies] == [200] * 5
        history = requests.get(f"{server.url}/predictions/history", timeout=LIMIT).json()["predictions"]
        assert [row["inputs"]["petal_width"] for row in history] == [0.5, 0.4, 0.3, 0.2, 0.1]


def test_the_end_of_a_head_is_no_known_head(server: Server) -> None:
    """What completed a head in a second packet is refused when it comes alone."""
    cut = len(post(BODY)) - len(BODY) - 6
    with closing(Connection(server)) as connection:
        for packet in (post(BODY), post(BODY)[:cut], post(BODY)[cut:]):
            connection.send(packet)
        assert [connection.reply()[0] for _ in range(2)] == [200, 200]
        connection.send(post(BODY)[cut:])
        assert connection._replies.readline().startswith(b"HTTP/1.1 400 ")


def test_known_heads_are_bounded() -> None:
    """Heads that are all different take no memory without end, and a long one is never known."""
    path = FastPath(pipeline=cast("Any", None), max_body_bytes=1)
    for number in range(10 * MAX_KNOWN_HEADS):
        path.remember(b"%d" % number, KnownHead([], 0))
        assert 0 < len(path.known_heads) <= MAX_KNOWN_HEADS
    path.remember(b"x" * (MAX_KNOWN_HEAD_BYTES + 1), KnownHead([], 0))
    assert all(len(head) <= MAX_KNOWN_HEAD_BYTES for head in path.known_heads)


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


COLUMNS = {"columns": {name: [value, 99.0] for name, value in ROW.items()}}
RECORDS = {"records": [ROW, dict.fromkeys(ROW, 3)]}


STREAM = stream(pa.table(COLUMNS["columns"]))
GOOD_BATCHES = [json.dumps(COLUMNS).encode(), json.dumps(RECORDS, indent=3).encode(), STREAM]
BAD_BATCHES = [
    b"", b"{", b"[]", b'{"columns": {}}', STREAM[:-50], BODY, GOOD_BATCHES[0].replace(b"99.0", b"true", 1),
    GOOD_BATCHES[1].replace(b"petal_width", b"x", 1), stream(pa.table({"sepal_length": [1.0]})),
]  # fmt: skip
UNUSUAL_BATCHES = [GOOD_BATCHES[0].replace(b"petal_w", b"petal\\u005fw"), GOOD_BATCHES[1].replace(b"rec", b"\\u0072ec")]


def content_of(reply: requests.Response) -> Any:
    if reply.headers["content-type"] == ARROW:
        answers = pa.ipc.open_stream(reply.content).read_all()
        metadata = json.loads(answers.schema.metadata[b"batch"])
        return answers.to_pydict() | {name: metadata[name] for name in ("model_version", "warnings")}
    return {key: value for key, value in common(reply.json()).items() if key != "batch_id"}


def test_batch_transport_and_route_give_the_same_reply(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good, unusual and bad batches of every form get the same status, headers and content by both ways."""
    fast: list[bytes] = []
    reply_to = BatchTransport._reply

    async def observed(
        transport: BatchTransport, operation: Operation, context: RequestContext, request: Request
    ) -> Reply:
        fast.append(operation.media_type.encode())
        return await reply_to(transport, operation, context, request)

    monkeypatch.setattr(BatchTransport, "_reply", observed)
    batches = [*GOOD_BATCHES, *UNUSUAL_BATCHES, *BAD_BATCHES]
    for body in batches:
        is_stream = body[:4] == b"\xff\xff\xff\xff"
        # the route takes a type that is written in other words; an Arrow stream has one way to be written
        types = [ARROW, ARROW] if is_stream else ["application/json", "application/json; charset=utf-8"]
        url = f"{server.url}/predict/batch"
        replies = [
            requests.post(url, body, headers={"Content-Type": media_type, "X-Request-ID": "mine"}, timeout=LIMIT)
            for media_type in types
        ]
        for reply in replies:
            assert reply.status_code == (422 if body in BAD_BATCHES else 200), body
            assert reply.headers["x-request-id"] == "mine"
        assert content_of(replies[0]) == content_of(replies[1])
        assert set(replies[0].headers) == set(replies[1].headers)
    streams = sum(body[:4] == b"\xff\xff\xff\xff" for body in batches)
    assert len(fast) == len(batches) + streams
    counted = requests.get(f"{server.url}/metrics", timeout=LIMIT).json()
    good = 2 * (len(GOOD_BATCHES) + len(UNUSUAL_BATCHES))
    assert counted["requests"]["/predict/batch"] == {"200": good, "422": 2 * len(BAD_BATCHES)}
    assert counted["predictions_total"] == 2 * good


def test_batch_in_chunks_is_answered(server: Server) -> None:
    """A batch without an announced length is answered, and one that grows over the limit is refused."""
    url, headers = f"{server.url}/predict/batch", {"Content-Type": "application/json"}
    assert requests.post(url, iter([GOOD_BATCHES[0]]), headers=headers, timeout=LIMIT).status_code == 200
    large = iter([b" " * SETTINGS.max_batch_bytes, GOOD_BATCHES[0]])
    assert requests.post(url, large, headers=headers, timeout=LIMIT).status_code == 413


def test_batch_whose_connection_breaks_counts_as_a_400(server: Server) -> None:
    """A connection that breaks inside a batch counts as a 400, and nothing is predicted."""
    head = b"POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT)) as connection:
        connection.sendall(head + b'{"columns"')
    until(lambda: "/predict/batch" in requests.get(f"{server.url}/metrics", timeout=LIMIT).json()["requests"])
    counted = requests.get(f"{server.url}/metrics", timeout=LIMIT).json()
    assert counted["requests"]["/predict/batch"] == {"400": 1}
    assert counted["predictions_total"] == 0


def test_internal_error_in_a_batch_is_a_500(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a batch fails, the caller gets a 500, and nothing is counted as predicted."""
    monkeypatch.setattr(ClassOutcomes, "columns", lambda _: 1 // 0)
    reply = requests.post(f"{server.url}/predict/batch", json=COLUMNS, timeout=LIMIT)
    assert (reply.status_code, set(reply.json())) == (500, {"detail", "request_id"})
    assert requests.get(f"{server.url}/metrics", timeout=LIMIT).json()["predictions_total"] == 0
