"""The start of the application: it is over when the service can predict, or knows why it can't."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Message

from tabserve.model import Release
from tabserve.serving import Service, State
from tabserve.web import create_app
from tests.support.models import SETTINGS, Trained
from tests.support.sources import FakeSource, service_of
from tests.support.waiting import LIMIT

BOUND = "tabserve.serving.service.FIRST_ANSWER_SECONDS"


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """Set when the registry may answer, and at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


def state_when_started(source: FakeSource, monkeypatch: pytest.MonkeyPatch, go_on: threading.Event) -> State:
    """Starts and stops an application. Returns the service's state when the application said that it has started."""
    services: list[Service] = []
    states: list[State] = []
    start = Service.start

    def observed(service: Service) -> None:
        services.append(service)
        start(service)

    monkeypatch.setattr(Service, "start", observed)
    received = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Message:
        return next(received)

    async def send(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            states.append(services[0].state())
            go_on.set()

    app = create_app(SETTINGS, source)
    asyncio.run(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send))
    return states[0]


def test_start_is_over_when_the_champion_is_loaded(
    release: Release, monkeypatch: pytest.MonkeyPatch, go_on: threading.Event
) -> None:
    """However long that takes within the bound: the registry answers here only once the start waits for it."""
    monkeypatch.setattr(BOUND, 10 * LIMIT)
    source = FakeSource(release)
    wait = Service.wait_until_decided

    def answer_and_wait(service: Service) -> None:
        go_on.set()
        wait(service)

    monkeypatch.setattr(Service, "wait_until_decided", answer_and_wait)
    source.on_fetch = lambda: assert_set(go_on)
    assert state_when_started(source, monkeypatch, go_on).status == "healthy"


def test_start_without_a_model_is_over_when_that_is_known(
    monkeypatch: pytest.MonkeyPatch, go_on: threading.Event
) -> None:
    """The bound isn't waited for."""
    monkeypatch.setattr(BOUND, 10 * LIMIT)
    state = state_when_started(FakeSource(), monkeypatch, go_on)
    assert (state.status, state.reason) == ("unhealthy", "No model has been trained yet. Train one.")


@pytest.mark.parametrize("was_served", [True, False])
def test_stalled_registry_delays_no_start_beyond_the_bound(
    was_served: bool, release: Release, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    go_on: threading.Event,
) -> None:  # fmt: skip
    """Then the start is over, and the version that was served last is served, if there is one."""
    monkeypatch.setattr(BOUND, 0.01)
    source = FakeSource(release)
    if was_served:
        service_of(source)[0].poll()
    source.live = trained.release(tmp_path / "other", "20260102_000000")
    source.on_fetch = lambda: assert_set(go_on)
    state = state_when_started(source, monkeypatch, go_on)
    assert state.status == ("degraded" if was_served else "unhealthy")
    assert (state.champion is not None) == was_served


def assert_set(event: threading.Event) -> None:
    assert event.wait(LIMIT)
