"""A registry in memory."""

from collections.abc import Callable

from tabserve.errors import NoModelError
from tabserve.inference.records import Observer
from tabserve.model.release import Release
from tabserve.model.versions import Deployment, RegisteredVersion
from tabserve.monitoring.metrics import Metrics
from tabserve.serving.service import Service


class FakeSource:
    """A registry in memory. `live` is what it says is champion; `fail` is raised instead, by the call it stands for."""

    def __init__(self, live: Release | None = None) -> None:
        self.live = live
        self.fail_champion: Exception | None = None
        self.fail_fetch: Exception | None = None
        self.candidate: Release | None = None
        self.fail_candidate: Exception | None = None
        self.cached_releases: dict[RegisteredVersion, Release] = {}
        self.fetched = 0
        self.on_fetch: Callable[[], None] = lambda: None

    def champion(self) -> RegisteredVersion:
        if self.fail_champion:
            raise self.fail_champion
        if self.live is None:
            raise NoModelError("No model has been trained yet. Train one.")
        return RegisteredVersion(self.live.model_version, "1", "run", self.live.checksum)

    def challenger(self) -> RegisteredVersion | None:
        if self.fail_candidate:
            raise self.fail_candidate
        if self.candidate is None:
            return None
        return RegisteredVersion(self.candidate.model_version, "2", "run", self.candidate.checksum)

    def deployments(self) -> list[Deployment]:
        return [Deployment(1, "2026-11-24T00:00:00+00:00", "me@here", "champion", None, "1", "first")]

    def remember(self, version: RegisteredVersion) -> None:
        assert self.live is not None
        self.cached_releases = {version: self.live} | self.cached_releases

    def remembered(self) -> list[RegisteredVersion]:
        return list(self.cached_releases)

    def cached(self, version: RegisteredVersion) -> Release:
        return self.cached_releases[version]

    def fetch(self, version: RegisteredVersion) -> Release:
        self.fetched += 1
        self.on_fetch()
        if self.fail_fetch:
            raise self.fail_fetch
        return next(one for one in (self.live, self.candidate) if one and one.checksum == version.checksum)


def make(source: FakeSource, *observers: Observer, pause: float = 0.01) -> tuple[Service, Metrics]:
    metrics = Metrics()
    return Service(source, metrics, observers, pause), metrics


def reloads(metrics: Metrics, result: str) -> float:
    return metrics.registry.get_sample_value("model_reloads_total", {"result": result}) or 0
