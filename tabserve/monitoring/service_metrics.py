"""What is counted and measured of the service itself, and not of requests: how healthy it is, what it serves, how it
follows the registry, and how much waits.

Every label is bounded: states, results and reasons come from fixed lists, and there is one model at a time.
"""

from collections import Counter as Totals
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from tabserve.errors import ReleaseFault

Status = Literal["healthy", "degraded", "unhealthy"]

ReloadFailure = Literal["no_champion", "unavailable", "unexpected"] | ReleaseFault
"""Why a poll of the registry gave no model that can be served. `no_champion`: no version is live. `unavailable`: the
registry can't be asked. `unexpected`: a failure that nobody expected; the log has it. Or the fault of the release."""

REASONS: tuple[ReloadFailure, ...] = ("no_champion", "unavailable", "unexpected", *get_args(ReleaseFault))


class ServiceMetrics:
    """The state of one service, in the registry of its metrics. Thread-safe.

    Attributes:
        in_flight: how many requests are being answered, without those of the fast path, which don't wait for anything.
            Only the event loop's thread changes it.
        queued: gives the number of requests that wait for a free thread.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._last_read = clock()
        self._status: Status = "unhealthy"
        self._failed: Totals[str] = Totals()
        self.in_flight = 0
        self.queued: Callable[[], int] = lambda: 0
        self._model = Gauge(
            "model_info", "1 for the model that is served", ["model_version", "registry_version"], registry=registry
        )
        self._reloads = Counter(
            "model_reloads", "Models loaded, or refused and why they weren't", ["result"], registry=registry
        )
        for result in ("loaded", "refused", "unavailable"):
            self._reloads.labels(result)
        self._failures = Counter(
            "model_reload_failures",
            "Polls of the registry that gave no model to serve",
            ["reason"],
            registry=registry,
        )
        for reason in REASONS:
            self._failures.labels(reason)
        health = Gauge("service_health", "1 for the status that /health shows", ["status"], registry=registry)
        for status in get_args(Status):
            health.labels(status).set_function(partial(self._is, status))
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "model_loaded": ("1 if there is a model that predicts", lambda: self._status != "unhealthy"),
            "http_requests_in_flight": ("Requests being answered", lambda: self.in_flight),
            "http_requests_queued": ("Batches that wait for a free thread", lambda: float(self.queued())),
            "registry_read_age_seconds": ("Seconds since the registry answered, or the start", self.read_age),
        }
        for name, (description, value) in gauges.items():
            Gauge(name, description, registry=registry).set_function(value)
        ProcessCollector(registry=registry)  # on Linux; elsewhere it has nothing to show

    def _is(self, status: Status) -> bool:
        return self._status == status

    def read_age(self) -> float:
        """Seconds since the registry answered the last time; if it hasn't yet, since the start."""
        return self._clock() - self._last_read

    def status(self, status: Status) -> None:
        """From now on this is the status of the service."""
        self._status = status

    def serving(self, model_version: str, registry_version: str) -> None:
        """From now on this model is served."""
        self._model.clear()
        self._model.labels(model_version, registry_version).set(1)

    def registry_read(self) -> None:
        """The registry has just answered."""
        self._last_read = self._clock()

    def reloaded(self) -> None:
        """Counts a poll of the registry that loaded a model."""
        self._reloads.labels("loaded").inc()

    def reload_failed(self, reason: ReloadFailure) -> None:
        """Counts a poll of the registry that gave no model to serve."""
        self._failures.labels(reason).inc()
        self._failed[reason] += 1
        if reason != "no_champion":
            self._reloads.labels("unavailable" if reason in ("unavailable", "unexpected") else "refused").inc()

    def snapshot(self) -> dict[str, Any]:
        """The same for `/metrics`, by key."""
        return {
            "status": self._status,
            "requests_in_flight": self.in_flight,
            "requests_queued": self.queued(),
            "registry_read_age_seconds": round(self.read_age(), 3),
            "reload_failures": dict(self._failed),
        }
