"""Requests whose head came before: the parser isn't needed, and no reply changes."""

import itertools
from contextlib import closing
from typing import Any, cast

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tabserve.web.fast_path import MAX_KNOWN_HEAD_BYTES, MAX_KNOWN_HEADS, FastPath, KnownHead
from tabserve.web.protocol import BoundedProtocol
from tests.support.raw_http import BODY, Connection, post
from tests.support.servers import Server
from tests.support.waiting import LIMIT

CHUNKED = post(b"").partition(b"Content-Length")[0] + (
    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
)
CONNECTION_KEPT = [
    post(BODY), post(BODY.replace(b"0.2", b"0.9")), post(BODY.replace(b"0.2", b"xxx")), post(b""), CHUNKED,
    post(BODY, b"Upgrade: h2c", b"Connection: upgrade"), post(BODY).replace(b"application/json", b"text/plain"),
    b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
]  # fmt: skip
"""Requests after which the connection stays open."""


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
        assert connection.replies.readline().startswith(b"HTTP/1.1 400 ")


def test_known_heads_are_bounded() -> None:
    """Heads that are all different take no memory without end, and a long one is never known."""
    path = FastPath(pipeline=cast("Any", None), max_body_bytes=1)
    for number in range(10 * MAX_KNOWN_HEADS):
        path.remember(b"%d" % number, KnownHead([], 0))
        assert 0 < len(path.known_heads) <= MAX_KNOWN_HEADS
    path.remember(b"x" * (MAX_KNOWN_HEAD_BYTES + 1), KnownHead([], 0))
    assert all(len(head) <= MAX_KNOWN_HEAD_BYTES for head in path.known_heads)
