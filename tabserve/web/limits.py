"""How many requests one client may send: a token bucket for each address, as the generic cell rate algorithm keeps it.

A bucket is one number, the time at which it will be full again (ITU-T I.371, "virtual scheduling").
"""

import ipaddress
import math
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException

MAX_CLIENTS = 10_000
"""How many clients are remembered. If there are more, the one that has been silent for the longest begins anew."""

UNLIMITED = frozenset({"/health", "/livez", "/readyz", "/metrics", "/metrics/prometheus"})
"""The paths of probes and collectors, which all come from one address and must always get in."""


class RateLimit:
    """A limit for each client: on the average `rate` requests per second, and `burst` of them at once.

    Not thread-safe: the event loop asks it.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._burst, self._clock = 1 / rate, burst, clock
        self._full_at: dict[str, float] = {}  # the client that was silent for the longest comes first
        self._policy = f'"client";q={burst};w={max(1, math.ceil(burst / rate))}'

    def check(self, client: str, path: str) -> None:
        """Counts a request of the client with this address.

        Raises:
            HTTPException: 429, with `Retry-After` and the fields of draft-ietf-httpapi-ratelimit-headers-10.
        """
        if path in UNLIMITED:
            return
        if ":" in client:
            client = _network(client)
        now = self._clock()
        full_at = max(self._full_at.pop(client, now), now) + self._interval
        excess = full_at - now - self._burst * self._interval
        if excess > 1e-9:  # the rounding of the additions
            self._full_at[client] = full_at - self._interval  # a refused request costs nothing
            seconds = math.ceil(excess)
            fields = {"RateLimit": f'"client";r=0;t={seconds}', "RateLimit-Policy": self._policy}
            raise HTTPException(
                429, f"Too many requests. Try again in {seconds} s", {"Retry-After": str(seconds), **fields}
            )
        if len(self._full_at) >= MAX_CLIENTS:
            del self._full_at[next(iter(self._full_at))]
        self._full_at[client] = full_at


def _network(address: str) -> str:
    """The network of 64 bits that an IPv6 address belongs to: one subscriber has as many addresses as it likes."""
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
