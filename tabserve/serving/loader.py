"""From a registered version to a model in memory. What was refused is tried again, after pauses that grow."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from tabserve.errors import ReleaseError
from tabserve.model.predictor import Predictor
from tabserve.model.release import Release
from tabserve.model.versions import Deployment, RegisteredVersion

MAX_PAUSE = 60.0
"""Longest pause, in seconds, between two tries at something that keeps failing."""


class Source(Protocol):
    """Where releases come from. Each may block for long and raise a `TabserveError`.

    `challenger` is None if no version is marked as one. `deployments` gives the journal and, at its end, the moves by
    hand that the journal lacks (`recorded` is False); it never writes.
    `remember` is told what is served, and `remembered` gives that back after a restart, the last one first;
    `cached` reads a release without the registry.
    """

    def champion(self) -> RegisteredVersion: ...
    def challenger(self) -> RegisteredVersion | None: ...
    def fetch(self, version: RegisteredVersion) -> Release: ...
    def deployments(self) -> Sequence[Deployment]: ...
    def remember(self, version: RegisteredVersion) -> None: ...
    def remembered(self) -> Sequence[RegisteredVersion]: ...
    def cached(self, version: RegisteredVersion) -> Release: ...


@dataclass(frozen=True)
class LoadedModel:
    """What answers: a predictor and the registered version that it came from, in one reference."""

    predictor: Predictor
    registry_version: str
    run_id: str
    since: str

    @classmethod
    def of(cls, version: RegisteredVersion, release: Release) -> "LoadedModel":
        """The release, ready to answer from now on.

        Raises:
            ReleaseError: it can't be served.
        """
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(Predictor(release), version.registry_version, version.run_id, since)


@dataclass(frozen=True)
class Refusal:
    """A release that was refused `times` times in a row, and when, by the monotonic clock, it is tried `again`."""

    checksum: str
    times: int
    again: float
    reason: str


class Loader:
    """Loads one release at a time, and remembers the last one that it refused; another one isn't held up by it.

    `refused` is called at each refusal.
    """

    def __init__(self, source: Source, pause: float, refused: Callable[[], None] = lambda: None) -> None:
        self._source, self._pause, self._count = source, pause, refused
        self._refused: Refusal | None = None

    def load(self, version: RegisteredVersion) -> LoadedModel:
        """
        Raises:
            ReleaseError: it was refused, now, or before and it isn't time to try again.
            TrackingError: the store can't be reached.
        """
        before = self._refused if self._refused and self._refused.checksum == version.checksum else None
        if before and time.monotonic() < before.again:
            raise ReleaseError(before.reason)
        try:
            return LoadedModel.of(version, self._source.fetch(version))
        except ReleaseError as error:
            times = before.times + 1 if before else 1
            reason = f"refused: {error}"
            self._refused = Refusal(version.checksum, times, time.monotonic() + grown(self._pause, times), reason)
            self._count()
            raise ReleaseError(reason) from error


def grown(pause: float, failures: int) -> float:
    """Twice as long with each failure in a row, up to `MAX_PAUSE`, with jitter of a quarter."""
    doubled: float = pause * 2.0 ** min(failures - 1, 16)
    return min(doubled, max(MAX_PAUSE, pause)) * random.uniform(0.75, 1.25)
