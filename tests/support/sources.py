"""A registry in memory, and a service that takes its models from there."""

from collections.abc import Callable

from tabserve.errors import NoModelError
from tabserve.inference.records import Observer
from tabserve.model.release import Release
from tabserve.model.versions import Deployment, RegisteredVersion
from tabserve.monitoring.metrics import Metrics
from tabserve.serving.service import Service


class FakeSource:
    """A registry in memory, with as many as two versions.

    Attributes:
        live: the champion's release; None: nothing has been trained.
        candidate: the challenger's release; None: no version is marked.
        fail_champion, fail_candidate, fail_fetch: what the call of that name raises instead of answering.
        cached_releases: what was served before, the newest first.
        fetched: how often a release was fetched.
        on_fetch: is called at each fetch, in the thread that fetches.
    """

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
        releases = [release for release in (self.live, self.candidate) if release]
        return next(release for release in releases if release.checksum == version.checksum)


def service_of(source: FakeSource, *observers: Observer, pause: float = 0.01) -> tuple[Service, Metrics]:
    """A service that polls this source every `pause` seconds once it is started, and the metrics that it keeps."""
    metrics = Metrics()
    return Service(source, metrics, observers, pause), metrics


def reloads(metrics: Metrics, result: str) -> float:
    """How many reloads ended with this result."""
    return metrics.registry.get_sample_value("model_reloads_total", {"result": result}) or 0


def served(service: Service) -> str:
    """The model version that is served."""
    return service.state().model().predictor.model_version


def is_healthy_after_a_poll(service: Service) -> bool:
    service.poll()
    return service.state().status == "healthy"
