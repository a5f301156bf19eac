"""The batch transport gives the same replies as the route."""

import json
import socket
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest
import requests
from starlette.requests import Request

from tabserve.model import ClassOutcomes
from tabserve.web.batches import Batches
from tabserve.web.codecs import ARROW
from tabserve.web.context import RequestContext
from tabserve.web.refusals import Reply
from tests.support.arrow import stream
from tests.support.models import ROW, SETTINGS
from tests.support.raw_http import BODY, common
from tests.support.servers import Server
from tests.support.waiting import LIMIT, until

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
    fast: list[bool] = []
    reply_to = Batches.reply

    async def observed(batches: Batches, context: RequestContext, request: Request) -> Reply:
        fast.append("endpoint" not in request.scope)  # FastAPI's routing names it
        return await reply_to(batches, context, request)

    monkeypatch.setattr(Batches, "reply", observed)
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
    assert sum(fast) == len(batches) + streams
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


def test_batch_whose_connection_breaks_counts_as_a_499(server: Server) -> None:
    """A connection that breaks inside a batch counts as a 499, and nothing is predicted."""
    head = b"POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT)) as connection:
        connection.sendall(head + b'{"columns"')
    until(lambda: "/predict/batch" in requests.get(f"{server.url}/metrics", timeout=LIMIT).json()["requests"])
    counted = requests.get(f"{server.url}/metrics", timeout=LIMIT).json()
    assert counted["requests"]["/predict/batch"] == {"499": 1}
    assert counted["predictions_total"] == 0


def test_internal_error_in_a_batch_is_a_500(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a batch fails, the caller gets a 500, and nothing is counted as predicted."""
    monkeypatch.setattr(ClassOutcomes, "columns", lambda _: 1 // 0)
    reply = requests.post(f"{server.url}/predict/batch", json=COLUMNS, timeout=LIMIT)
    assert (reply.status_code, set(reply.json())) == (500, {"detail", "request_id"})
    assert requests.get(f"{server.url}/metrics", timeout=LIMIT).json()["predictions_total"] == 0
