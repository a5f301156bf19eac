"""How long a request takes, as the metrics show it: from its first byte to the reply that the socket was given."""

from collections.abc import Callable
from contextlib import closing
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tabserve.web.fast_path import FastPath
from tests.support.client import get
from tests.support.raw_http import BODY, Connection, post
from tests.support.records import Clock
from tests.support.servers import Server

ON_ROUTE = post(BODY).replace(b"application/json", b"application/json; charset=utf-8")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of requests, which only the test moves."""
    clock = Clock()
    for module in ("fast_path", "pipeline", "context"):
        monkeypatch.setattr(f"tabserve.web.{module}.time", SimpleNamespace(perf_counter=clock))
    return clock


def durations(server: Server) -> tuple[float, float]:
    """How many requests to /predict were counted, and how many seconds they took together."""
    families = text_string_to_metric_families(get(f"{server.url}/metrics/prometheus").text)
    shown = {sample.name: sample.value for family in families for sample in family.samples
             if sample.labels.get("route") == "/predict"}  # fmt: skip
    return shown["http_request_duration_seconds_count"], shown["http_request_duration_seconds_sum"]


@pytest.mark.parametrize("request_bytes", [post(BODY), ON_ROUTE], ids=["fast path", "route"])
@pytest.mark.parametrize("cut", [1, 30, -5], ids=["in the request line", "in the head", "in the body"])
def test_time_starts_with_the_first_byte(server: Server, clock: Clock, request_bytes: bytes, cut: int) -> None:
    """A caller that sends slowly is measured, too."""
    with closing(Connection(server)) as connection:
        connection.send(request_bytes[:cut])
        clock.now += 5
        connection.send(request_bytes[cut:])
        assert connection.reply()[0] == 200
    assert durations(server) == (1, 5)


def test_time_of_each_request_on_a_connection_is_its_own(server: Server, clock: Clock) -> None:
    """The pause between two requests counts for none, whether the head of the second one is known or not."""
    with closing(Connection(server)) as connection:
        for request in (post(BODY), post(BODY), post(BODY), ON_ROUTE, post(BODY)):
            connection.send(request)
            clock.now += 5
            assert connection.reply()[0] == 200
    assert durations(server) == (5, 0)


def test_time_ends_when_the_socket_has_the_reply(server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replies to requests that arrived together are sent together, so each waits for the others."""
    flush: Callable[[FastPath], None] = FastPath._flush

    def late(fast_path: FastPath) -> None:
        clock.now += 2
        flush(fast_path)

    monkeypatch.setattr(FastPath, "_flush", late)
    with closing(Connection(server)) as connection:
        connection.send(post(BODY))
        assert connection.reply()[0] == 200
    assert durations(server) == (1, 2)
