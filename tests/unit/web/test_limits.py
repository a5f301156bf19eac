"""The limit on the requests of one client."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from tabserve.web import limits
from tabserve.web.limits import RateLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def allows(limit: RateLimit, client: str = "10.0.0.1", path: str = "/predict") -> bool:
    try:
        limit.check(client, path)
    except HTTPException:
        return False
    return True


def test_burst_passes_and_then_the_rate_holds() -> None:
    """A client may send `burst` requests at once; then each second brings back `rate` of them, up to a whole burst."""
    clock = Clock()
    limit = RateLimit(2, 3, clock)
    assert [allows(limit) for _ in range(5)] == [True, True, True, False, False]
    clock.now += 1
    assert [allows(limit) for _ in range(3)] == [True, True, False]
    clock.now += 1000
    assert [allows(limit) for _ in range(4)] == [True, True, True, False]


def test_refusal_says_when_to_try_again() -> None:
    """Retry-After and the RateLimit fields agree, and a client that waits so long is served."""
    clock = Clock()
    limit = RateLimit(0.25, 2, clock)
    assert allows(limit)
    assert allows(limit)
    with pytest.raises(HTTPException) as refused:
        limit.check("10.0.0.1", "/predict")
    assert refused.value.headers == {
        "Retry-After": "4",
        "RateLimit": '"client";r=0;t=4',
        "RateLimit-Policy": '"client";q=2;w=8',
    }
    clock.now += 4
    assert allows(limit)


@given(
    st.floats(0.1, 1000), st.integers(1, 50), st.lists(st.floats(0, 3, allow_subnormal=False), min_size=1, max_size=200)
)
def test_no_window_holds_more_than_the_limit(rate: float, burst: int, pauses: list[float]) -> None:
    """However a client spreads its requests, those allowed within any time are at most the burst and the rate of it."""
    clock = Clock()
    limit = RateLimit(rate, burst, clock)
    allowed = []
    for pause in pauses:
        clock.now += pause
        if allows(limit):
            allowed.append(clock.now)
    for first, last in itertools.combinations(range(len(allowed)), 2):
        most = burst + rate * (allowed[last] - allowed[first])
        assert last - first + 1 <= math.floor(most + 1e-6)


def test_clients_are_counted_apart() -> None:
    """One client's requests don't count for another. The addresses of one IPv6 network of 64 bits are one client."""
    limit = RateLimit(1, 1, Clock())
    assert allows(limit, "10.0.0.1")
    assert allows(limit, "10.0.0.2")
    assert not allows(limit, "10.0.0.1")
    assert allows(limit, "2001:db8:1:1::1")
    assert not allows(limit, "2001:db8:1:1:ffff::2")
    assert allows(limit, "2001:db8:1:2::1")
    assert allows(limit, "unix")
    assert allows(limit, "fe80::1%eth0")


def test_probes_and_collectors_always_get_in() -> None:
    """They come from one address, and a refused probe would take a healthy server out of service."""
    limit = RateLimit(1, 1, Clock())
    assert all(allows(limit, path=path) for path in limits.UNLIMITED for _ in range(3))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many clients, those that were silent for the longest are forgotten."""
    monkeypatch.setattr(limits, "MAX_CLIENTS", 3)
    limit = RateLimit(1, 1, Clock())
    for number in range(4):
        assert allows(limit, f"10.0.0.{number}")
    assert [allows(limit, f"10.0.0.{number}") for number in (3, 2, 0)] == [False, False, True]
