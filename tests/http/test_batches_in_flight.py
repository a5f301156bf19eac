"""Batches in flight: as many as there is room for, and none whose caller has gone."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest
import requests

from tabserve.model import Release
from tabserve.serving.executor import BatchExecutor
from tabserve.web.app import LARGEST_BATCHES
from tests.support.gate import Gate
from tests.support.models import ROW, SETTINGS
from tests.support.raw_http import BODY, post
from tests.support.servers import HOST, Server
from tests.support.sources import FakeSource
from tests.support.waiting import LIMIT, until

BATCH = json.dumps({"records": [ROW]}).encode()
HEAD = b"POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


@pytest.fixture
def server(release: Release, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    settings = SETTINGS.model_copy(update={"batch_threads": 1, "max_batches": 2, "max_batch_bytes": 1024})
    with Server(FakeSource(release), monkeypatch, settings).running() as running:
        try:
            yield running
        finally:
            gate.open.set()


@contextmanager
def sent(server: Server, packet: bytes) -> Iterator[socket.socket]:
    with closing(socket.create_connection((HOST, server.port), timeout=LIMIT)) as connection:
        connection.sendall(packet)
        yield connection


def batches_counted(server: Server) -> dict[str, int]:
    counted: dict[str, dict[str, int]] = requests.get(f"{server.url}/metrics", timeout=LIMIT).json()["requests"]
    return counted.get("/predict/batch", {})


def submitted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the executor is asked to do from now on."""
    calls: list[object] = []
    submit = BatchExecutor.submit

    def observed(executor: BatchExecutor, *arguments: Any) -> Any:
        future: Any = submit(executor, *arguments)
        calls.append(arguments)
        return future

    monkeypatch.setattr(BatchExecutor, "submit", observed)
    return calls


def test_batch_beyond_the_most_is_refused_before_its_body(
    server: Server, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While as many batches are in flight as may be, another one gets 503 with Retry-After as soon as its head has
    come. Probes and metrics still answer; once the batches are computed, the next one is."""
    calls = submitted(monkeypatch)
    batch = HEAD % len(BATCH) + BATCH
    with sent(server, batch) as first, sent(server, batch) as second:
        until(lambda: len(calls) == 2)
        with sent(server, HEAD % len(BATCH)) as third:
            refused = third.recv(10_000)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in refused
        assert b"busy with 2 batches" in refused
        for path in ("livez", "readyz", "metrics"):
            assert requests.get(f"{server.url}/{path}", timeout=LIMIT).status_code == 200
        gate.open.set()
        for connection in (first, second):
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    with sent(server, batch) as later:
        assert later.recv(100).startswith(b"HTTP/1.1 200 ")


def test_batch_whose_caller_has_gone_is_not_computed(
    server: Server, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that waits for its turn is dropped when its caller closes the connection. It counts as a 499, and makes
    room for another batch at once."""
    calls = submitted(monkeypatch)
    batch = HEAD % len(BATCH) + BATCH
    with sent(server, batch) as first:
        until(lambda: len(calls) == 1)
        for number in range(1, 6):
            with sent(server, batch):
                until(lambda: len(calls) == 1 + number)  # noqa: B023 -- called at once
            until(lambda: batches_counted(server) == {"499": number})  # noqa: B023
        gate.open.set()
        assert first.recv(100).startswith(b"HTTP/1.1 200 ")
    assert gate.computed == 1


def test_batch_that_is_computed_when_its_caller_goes_is_not_recorded(server: Server, gate: Gate) -> None:
    """Nobody got the predictions, so they are in no history and no count."""
    with sent(server, HEAD % len(BATCH) + BATCH):
        pass
    until(lambda: batches_counted(server) == {"499": 1})
    gate.open.set()
    until(lambda: gate.computed == 1)
    with sent(server, HEAD % len(BATCH) + BATCH) as later:
        assert later.recv(100).startswith(b"HTTP/1.1 200 ")
    assert requests.get(f"{server.url}/metrics", timeout=LIMIT).json()["predictions_total"] == 1


def test_bodies_of_batches_are_bounded_together(server: Server, gate: Gate) -> None:
    """When the bodies that have come so far take all the memory that there is for batches, the next one is refused;
    when one of them ends, there is room again. A caller that is slow takes no more than what it has sent."""
    gate.open.set()
    part = HEAD % 1000 + b" " * 900
    with ExitStack() as stack:
        slow = [stack.enter_context(sent(server, part)) for _ in range(LARGEST_BATCHES + 1)]
        until(lambda: bool(refused_part(server)))
        slow[0].close()
        until(lambda: not refused_part(server))
    with sent(server, post(BODY)) as row:
        assert row.recv(100).startswith(b"HTTP/1.1 200 ")


def refused_part(server: Server) -> bool:
    """Whether a batch of 900 bytes is refused for want of memory."""
    body = BATCH + b" " * (900 - len(BATCH))
    reply = requests.post(
        f"{server.url}/predict/batch", body, headers={"Content-Type": "application/json"}, timeout=LIMIT
    )
    assert reply.status_code in (200, 503)
    return reply.status_code == 503
