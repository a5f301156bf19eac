"""Another version of the champion's model, a candidate beside it, and a service that compares the two on demand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tabserve.model import Release
from tabserve.monitoring import Metrics
from tabserve.serving import Service, shadow
from tests.support.models import Trained
from tests.support.sources import FakeSource


@pytest.fixture
def other(trained: Trained, tmp_path: Path) -> Release:
    """Another version of the same model."""
    return trained.release(tmp_path / "other", "20260102_000000")


@pytest.fixture(scope="session")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Another model, which gives other answers."""
    return Trained(trees=3, seed=5).release(tmp_path_factory.mktemp("candidate") / "release", "20260103_000000")


@pytest.fixture
def source(release: Release, candidate: Release) -> FakeSource:
    """A registry with a champion and a challenger."""
    source = FakeSource(release)
    source.candidate = candidate
    return source


@pytest.fixture
def service(source: FakeSource, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service whose challenger answers 30 % of the callers. Its shadow scores only when a test calls it."""
    monkeypatch.setattr(shadow, "SCORE_SECONDS", 3600)
    service = Service(source, Metrics(), (), 0.01, challenger_share=0.3)
    service.poll()
    service.poll_challenger()
    yield service
    service._challenger.close()
