"""Loads registered versions. A release that was refused is tried again after pauses that grow."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tabserve.errors import ReleaseError, ReleaseFault
from tabserve.model import Deployment, RegisteredVersion, Release
from tabserve.serving.state import LoadedModel

MAX_PAUSE = 60.0
"""Longest pause, in seconds, between two tries of something that keeps failing."""


class Source(Protocol):
    """Where models come from. Every method may block for long and, except `remembered`, raise a `TabserveError`."""

    def champion(self) -> RegisteredVersion:
        """The version that should be served.

        Raises:
            NoModelError: there is none.
        """

    def challenger(self) -> RegisteredVersion | None:
        """The version that is marked as the challenger; None if none is."""

    def fetch(self, version: RegisteredVersion) -> Release:
        """The release of a version.

        Raises:
            ReleaseError: it is damaged, or isn't there.
        """

    def deployments(self) -> Sequence[Deployment]:
        """The journal, the oldest deployment first; last those by hand that nobody has recorded yet. Only reads."""

    def remember(self, version: RegisteredVersion) -> None:
        """Notes that this version is served now, for `remembered`."""

    def remembered(self) -> Sequence[RegisteredVersion]:
        """The versions that were served before, also by earlier processes, the last one first. Needs no registry, and
        raises nothing."""

    def cached(self, version: RegisteredVersion) -> Release:
        """The release of a version from local files. Needs no registry.

        Raises:
            ReleaseError: it is damaged, or isn't there.
        """


@dataclass(frozen=True)
class Refusal:
    """A release that was refused.

    Attributes:
        checksum: which release.
        times: how many times in a row.
        retry_at: when it is tried again, by the monotonic clock.
        reason: why it was refused the last time.
    """

    checksum: str
    times: int
    retry_at: float
    reason: str


class Loader:
    """Loads one release at a time. Only the release that was refused last has to wait; any other is loaded at once."""

    def __init__(
        self, source: Source, pause: float, on_refusal: Callable[[ReleaseFault], None] = lambda _: None
    ) -> None:
        """`pause`: seconds after the first refusal of a release. `on_refusal` is called at each refusal."""
        self._source, self._pause, self._on_refusal = source, pause, on_refusal
        self._refusal: Refusal | None = None

    def load(self, version: RegisteredVersion) -> LoadedModel:
        """
        Raises:
            ReleaseError: the release is refused now, or was refused before and its pause isn't over.
            TrackingError: the store can't be reached.
        """
        refusal = self._refusal if self._refusal and self._refusal.checksum == version.checksum else None
        if refusal and time.monotonic() < refusal.retry_at:
            raise ReleaseError(refusal.reason)
        try:
            return LoadedModel.load(version, self._source.fetch(version))
        except ReleaseError as error:
            times = refusal.times + 1 if refusal else 1
            retry_at = time.monotonic() + growing_pause(self._pause, times)
            self._refusal = Refusal(version.checksum, times, retry_at, f"refused: {error}")
            self._on_refusal(error.fault)
            raise ReleaseError(self._refusal.reason) from error


def growing_pause(pause: float, failures: int) -> float:
    """Seconds to wait after so many failures in a row: they double with each, up to `MAX_PAUSE`, and vary at random by
    a quarter, so that servers which failed together don't try again together."""
    doubled: float = pause * 2.0 ** min(failures - 1, 16)
    return min(doubled, max(MAX_PAUSE, pause)) * random.uniform(0.75, 1.25)
