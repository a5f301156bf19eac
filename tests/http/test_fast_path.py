"""The short ways: the same answers as by the route, and everything unusual is the route's."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest
import requests
from starlette.testclient import TestClient

from tabserve.model.release import Release
from tabserve.web.batches import Batches
from tabserve.web.codecs import arrow_codec
from tests.support.arrow import stream
from tests.support.models import ROW, SETTINGS
from tests.support.servers import Server
from tests.support.sources import FakeSource
from tests.support.waiting import until

OWN = {"prediction_id", "timestamp", "request_id"}
"""What differs between two answers to the same body."""


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


def test_both_ways_give_the_same_answer(server: Server) -> None:
    """Valid, unusual and bad bodies of every kind get the same status, headers and content from the server with the
    short way as from the application itself; the valid ones went it, and no other did."""
    valid = [
        BODY, json.dumps(ROW | {"petal_width": 99.0}).encode(), json.dumps(dict(reversed(ROW.items()))).encode(),
        json.dumps(dict.fromkeys(ROW, 3)).encode(), json.dumps(ROW, indent=20).encode(),
        BODY.replace(b"0.2", b"0.2" + b"0" * 50), BODY.replace(b"petal_w", b"petal\\u005fw"),
    ]  # fmt: skip
    client = TestClient(server.app)  # its lifespan is the server's
    headers = {"Content-Type": "application/json"}
    for body in [*valid, *(json.dumps(content).encode() for content in ODD), *RAW]:
        ours = requests.post(f"{server.url}/predict", data=body, headers=headers, timeout=10)
        route = client.post("/predict", content=body, headers=headers)
        assert ours.status_code == route.status_code == (200 if body in valid else 422), body
        assert common(ours.json()) == common(route.json()), body
        assert set(ours.headers) - {"date"} == set(route.headers), body
    assert server.short == valid


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
def test_what_is_unusual_takes_the_route(server: Server, request_bytes: bytes, status: int) -> None:
    """Another version, method, path or type, a connection that is to be closed, and two lengths for one body are
    answered as ever, and not the short way."""
    assert server.send(request_bytes).startswith(b"HTTP/1.1 %d " % status)
    assert server.short == []


@pytest.mark.parametrize("cut", [1, 50, -len(BODY), -1])
def test_a_body_in_pieces_is_answered(server: Server, cut: int) -> None:
    """A request that arrives in two packets, cut in its head or in its body, is answered."""
    whole = post(BODY)
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(whole[:cut])
        assert requests.get(f"{server.url}/livez", timeout=10).status_code == 200  # the first packet has been read
        connection.sendall(whole[cut:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_body_in_tiny_chunks_is_answered(server: Server) -> None:
    """A body that comes a byte a chunk is answered, on the short way, and too many trailers behind it are not."""
    head = post(BODY).partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    chunked = head + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n"
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as connection:
        connection.sendall(chunked + b"X-Request-ID: of-a-trailer\r\n\r\n")
        reply = connection.recv(65536)
        assert reply.startswith(b"HTTP/1.1 200 ")
        assert b"of-a-trailer" not in reply
        connection.sendall(chunked + b"".join(b"x: %b\r\n" % (b"y" * 1000) for _ in range(100)))
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert server.short == [BODY]


def test_of_two_content_types_the_first_counts(server: Server) -> None:
    """A body that is announced as two things is taken for the first of them, on both ways."""
    twice = post(BODY).replace(b"Content-Type", b"Content-Type: text/plain\r\nContent-Type")
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as connection:
        connection.sendall(twice)
        assert connection.recv(65536).startswith(b"HTTP/1.1 415 ")


def test_requests_one_after_the_other_keep_their_order(server: Server) -> None:
    """Requests of both ways, sent in one packet without waiting, are answered in their order on one connection."""
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
    assert len(server.short) == 3  # what comes behind a request that is under way waits for it


def test_an_idle_connection_is_closed_and_a_slow_request_is_not(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection is closed when nothing has come for a while after a reply, however many requests it has had, but not
    while a request on it has begun."""
    with (
        Server(FakeSource(release), monkeypatch, timeout_keep_alive=1).running() as server,
        closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as slow,
        closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as idle,
    ):
        for connection in (slow, idle):
            connection.sendall(post(BODY))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        slow.sendall(post(BODY)[:20])
        idle.settimeout(0.5)
        with pytest.raises(TimeoutError):
            idle.recv(1)  # still open
        idle.settimeout(10)
        idle.sendall(post(BODY))
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        answered = time.monotonic()
        assert idle.recv(65536) == b""
        assert time.monotonic() - answered > 0.9
        slow.sendall(post(BODY)[20:])
        assert slow.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert slow.recv(65536) == b""
        assert len(server.short) == 4


def test_a_body_over_the_limit_is_refused(server: Server) -> None:
    """A body over the limit is refused, however it is announced."""
    body = b" " * SETTINGS.max_body_bytes + BODY
    for data in (body, iter([body])):
        reply = requests.post(f"{server.url}/predict", data, headers={"Content-Type": "application/json"}, timeout=10)
        assert reply.status_code == 413
    assert server.short == []


def test_what_went_the_short_way_is_remembered_and_counted(server: Server) -> None:
    """History, counters and request id are those of any prediction."""
    reply = requests.post(f"{server.url}/predict", json=ROW, headers={"X-Request-ID": "mine"}, timeout=10)
    assert reply.headers["x-request-id"] == "mine"
    assert len(server.short) == 1
    (entry,) = requests.get(f"{server.url}/predictions/history", timeout=10).json()["predictions"]
    assert entry == reply.json() | {"inputs": ROW, "latency_ms": entry["latency_ms"]}
    metrics = requests.get(f"{server.url}/metrics", timeout=10).json()
    assert metrics["predictions_total"] == metrics["requests"]["/predict"]["200"] == 1
    assert 0 < metrics["latency_ms"]["p50"] < 10_000


def test_a_mistake_of_our_own_is_answered_by_the_route(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the short way fails, the route answers: with 500, if it fails over the same."""
    monkeypatch.setattr("tabserve.web.codecs.json_codec.encode_prediction", lambda _: 1 // 0)
    reply = requests.post(f"{server.url}/predict", json=ROW, timeout=10)
    assert (reply.status_code, reply.headers["content-type"]) == (500, "application/json")
    assert requests.get(f"{server.url}/metrics", timeout=10).json()["predictions_total"] == 0


COLUMNS = {"columns": {name: [value, 99.0] for name, value in ROW.items()}}
RECORDS = {"records": [ROW, dict.fromkeys(ROW, 3)]}


STREAM = stream(pa.table(COLUMNS["columns"]))
GOOD_BATCHES = [json.dumps(COLUMNS).encode(), json.dumps(RECORDS, indent=3).encode(), STREAM]
BAD_BATCHES = [
    b"", b"{", b"[]", b'{"columns": {}}', STREAM[:-50], BODY, GOOD_BATCHES[0].replace(b"99.0", b"true", 1),
    GOOD_BATCHES[1].replace(b"petal_width", b"x", 1), stream(pa.table({"sepal_length": [1.0]})),
]  # fmt: skip
UNUSUAL_BATCHES = [GOOD_BATCHES[0].replace(b"petal_w", b"petal\\u005fw"), GOOD_BATCHES[1].replace(b"rec", b"\\u0072ec")]


def whole(reply: requests.Response) -> Any:
    if reply.headers["content-type"] == arrow_codec.MEDIA_TYPE:
        answers = pa.ipc.open_stream(reply.content).read_all()
        said = json.loads(answers.schema.metadata[b"batch"])
        return answers.to_pydict() | {name: said[name] for name in ("model_version", "warnings")}
    return {key: value for key, value in common(reply.json()).items() if key != "batch_id"}


def test_batches_get_the_same_answer_on_both_ways(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good, unusual and bad batches of every form get the same status, headers and content whether they are announced
    with their length, and may go the short way, or come in chunks, and can't; good ones went it, and no others did."""
    short = []
    answer = Batches.answer

    async def listen(batches: Batches, body: bytes, media_type: str, *, explain: bool = True) -> bytes:
        reply = await answer(batches, body, media_type, explain=explain)
        if not explain:
            short.append(body)
        return reply

    monkeypatch.setattr(Batches, "answer", listen)
    for body in [*GOOD_BATCHES, *UNUSUAL_BATCHES, *BAD_BATCHES]:
        is_stream = body[:4] == b"\xff\xff\xff\xff"
        headers = {"Content-Type": arrow_codec.MEDIA_TYPE if is_stream else "application/json", "X-Request-ID": "mine"}
        url = f"{server.url}/predict/batch"
        known = requests.post(url, body, headers=headers, timeout=10)
        chunked = requests.post(url, iter([body]), headers=headers, timeout=10)
        assert known.status_code == chunked.status_code == (422 if body in BAD_BATCHES else 200), body
        assert whole(known) == whole(chunked)
        assert known.headers["x-request-id"] == "mine"
        assert set(known.headers) == set(chunked.headers)
    assert short == GOOD_BATCHES
    counted = requests.get(f"{server.url}/metrics", timeout=10).json()
    good = 2 * (len(GOOD_BATCHES) + len(UNUSUAL_BATCHES))
    assert counted["requests"]["/predict/batch"] == {"200": good, "422": 2 * len(BAD_BATCHES)}
    assert counted["predictions_total"] == 2 * good


def test_a_batch_that_breaks_off_is_nobodys_mistake(server: Server) -> None:
    """A connection that breaks inside a batch counts as the caller's mistake, and nothing is predicted."""
    head = b"POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as connection:
        connection.sendall(head + b'{"columns"')
    until(lambda: "/predict/batch" in requests.get(f"{server.url}/metrics", timeout=10).json()["requests"])
    counted = requests.get(f"{server.url}/metrics", timeout=10).json()
    assert counted["requests"]["/predict/batch"] == {"400": 1}
    assert counted["predictions_total"] == 0


def test_a_mistake_of_our_own_in_a_batch_is_answered_by_the_route(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the short way of a batch fails, the route answers: with 500, if it fails over the same."""
    monkeypatch.setattr("tabserve.web.codecs.json_codec.encode_batch", lambda _: 1 // 0)
    reply = requests.post(f"{server.url}/predict/batch", json=COLUMNS, timeout=10)
    assert (reply.status_code, set(reply.json())) == (500, {"detail", "request_id"})
    assert requests.get(f"{server.url}/metrics", timeout=10).json()["predictions_total"] == 0
