"""Small real things for the tests of single rooms: a trained release, and a source that does what it is told."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.pipeline import Pipeline

from classifier import data, export, training
from classifier.errors import NoModelError
from classifier.release import RegisteredVersion, Release
from classifier.schema import Schema

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable


class Trained:
    """A fitted pipeline on Iris with what a release needs; `release` writes it as any version."""

    def __init__(self, trees: int = 20, seed: int = 0) -> None:
        self.parts = data.split(data.load_iris(), 0.2, seed)
        self.pipeline: Pipeline = training.fit(self.parts.training, training.ForestOptions(n_estimators=trees), seed)
        self.schema: Schema = training.infer_schema(self.pipeline, self.parts.training)

    def release(self, folder: Path, model_version: str = "20260101_000000") -> Release:
        importances = dict(zip(self.schema.feature_names, [0.1, 0.1, 0.4, 0.4], strict=True))
        info = {
            "model_type": training.MODEL_TYPE,
            "trained_at": "2026-01-01T00:00:00+00:00",
            "parameters": {},
            "metrics": {"test_accuracy": 1.0},
            "feature_importances": importances,
            "dataset": {},
            "libraries": {},
            "git_commit": "unknown",
        }
        return export.write_release(folder, model_version, self.pipeline, self.schema, self.parts.training, info)


@pytest.fixture(scope="session")
def trained() -> Trained:
    return Trained()


@pytest.fixture(scope="session")
def release(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return trained.release(tmp_path_factory.mktemp("release") / "release")


class FakeSource:
    """A registry in memory. `live` is what it says is champion; `fail` is raised instead, by the call it stands for."""

    def __init__(self, live: Release | None = None) -> None:
        self.live = live
        self.fail_champion: Exception | None = None
        self.fail_fetch: Exception | None = None
        self.fetched = 0
        self.on_fetch: Callable[[], None] = lambda: None

    def champion(self) -> RegisteredVersion:
        if self.fail_champion:
            raise self.fail_champion
        if self.live is None:
            raise NoModelError("No model has been trained yet. Train one.")
        return RegisteredVersion(self.live.model_version, "1", "run", self.live.checksum)

    def fetch(self, version: RegisteredVersion) -> Release:
        self.fetched += 1
        self.on_fetch()
        if self.fail_fetch:
            raise self.fail_fetch
        assert self.live is not None
        assert self.live.checksum == version.checksum
        return self.live
