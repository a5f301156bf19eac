"""What a registry promises, on a folder and on a database, with MLflow itself."""

from pathlib import Path

import pytest

from tabserve.errors import NoModelError, ReleaseError, TrackingError
from tabserve.model.versions import RegisteredVersion
from tabserve.registry import Registry
from tests.support.registry import NAMES, move_by_hand
from tests.support.workspaces import Workspace


@pytest.mark.parametrize("uri", ["file://{}/mlruns", "sqlite:///{}/mlflow.db"])
def test_reading_an_empty_place_makes_nothing(uri: str, tmp_path: Path) -> None:
    """Asked for its champion, an empty place says what to do, and stays empty."""
    registry = Workspace(tmp_path, uri.format(tmp_path)).store()
    with pytest.raises(NoModelError, match="No model has been trained yet"):
        registry.champion()
    assert not list(tmp_path.iterdir())


def test_registered_versions_are_listed_the_newest_first(registry: Registry, three: list[RegisteredVersion]) -> None:
    """With their aliases; the metrics are those of their runs, and their names are taken."""
    registry.move("champion", three[1], "best")
    registry.move("challenger", three[2], "to watch")
    listed = registry.versions()
    assert [entry.version for entry in listed] == three[::-1]
    assert [version.registry_version for version in three] == ["1", "2", "3"]
    assert [entry.aliases for entry in listed] == [("challenger",), ("champion",), ()]
    assert registry.metrics(three[0]) == {"test_accuracy": 0.9}
    assert registry.has_version(NAMES[0])
    assert not registry.has_version("20260101_000009")


def test_champion_and_challenger_are_the_versions_with_the_aliases(
    registry: Registry, three: list[RegisteredVersion]
) -> None:
    """Whoever gave the alias; without it there is no champion, and no challenger."""
    with pytest.raises(NoModelError, match="carries the alias 'champion'"):
        registry.champion()
    assert registry.challenger() is None
    registry.move("champion", three[0], "first")
    registry.move("challenger", three[2], "to watch")
    assert (registry.champion(), registry.challenger()) == (three[0], three[2])
    move_by_hand(registry, "2")
    assert registry.champion() == three[1]


def test_version_that_train_model_did_not_make_is_refused_as_champion(
    registry: Registry, three: list[RegisteredVersion]
) -> None:
    """The message says what to do."""
    registry.connect().set_model_version_tag(registry.model_name, "2", "model_version", "../precious")
    move_by_hand(registry, "2")
    with pytest.raises(TrackingError, match=r"version 2 .* Give the alias to a version that train_model\.py"):
        registry.champion()
    assert [entry.version for entry in registry.versions()] == [three[2], three[0]]


def test_release_is_fetched_from_the_run_if_artifacts_lack_it(
    registry: Registry, three: list[RegisteredVersion]
) -> None:
    """A release in neither place, and one that isn't what was registered, is refused."""
    assert registry.cached(three[0]).model_version == NAMES[0]
    (registry.artifacts / NAMES[0]).rename(registry.artifacts / "away")
    with pytest.raises(ReleaseError):
        registry.cached(three[0])
    assert registry.fetch(three[0]).model_version == NAMES[0]
    altered = RegisteredVersion(NAMES[0], "1", three[0].run_id, "0" * 64)
    with pytest.raises(ReleaseError, match=r"was altered: .*; and "):
        registry.fetch(altered)


def test_store_that_is_gone_is_not_an_empty_one(
    registry: Registry, three: list[RegisteredVersion], tmp_path: Path
) -> None:
    """If a version was live, a store that is missing is an error: nobody is told to train."""
    registry.move("champion", three[0], "first")
    for store in ("mlruns", "mlflow.db"):
        if (tmp_path / store).exists():
            (tmp_path / store).rename(tmp_path / "away")
    with pytest.raises(TrackingError, match="doesn't exist any more"):
        registry.champion()


def test_live_versions_are_remembered_for_each_model(
    registry: Registry, three: list[RegisteredVersion], place: Workspace
) -> None:
    """The latest first; another model in the same folders has none."""
    for version in three:
        registry.move("champion", version, "next")
    assert registry.remembered() == three[::-1]
    assert Workspace(place.folder, place.uri, "other").store().remembered() == []


def test_no_other_store_is_touched(
    registry: Registry, three: list[RegisteredVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where neither MLflow nor the environment names a store, MLflow would make one in the working directory."""
    import mlflow

    mlflow.set_tracking_uri(None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    registry.move("champion", three[0], "first")
    assert registry.fetch(registry.champion()).model_version == NAMES[0]
    assert len(registry.versions()) == 3
    assert len(list(registry.prune(1, in_mlflow=True))) == 1
    assert not list((tmp_path / "elsewhere").iterdir())


def test_clean_up_keeps_what_is_needed(registry: Registry, three: list[RegisteredVersion]) -> None:
    """The newest versions, those with an alias, and the one that a rollback leads to; with `in_mlflow` the others are
    gone from MLflow too."""
    for version in (three[1], three[0], three[1]):
        registry.move("champion", version, "next")
    assert list(registry.prune(1, in_mlflow=True)) == []
    registry.move("champion", three[2], "the newest")
    removed = list(registry.prune(1, in_mlflow=True))
    assert [entry.version for entry, size in removed if size > 0] == [three[0]]
    assert [entry.version for entry in registry.versions()] == [three[2], three[1]]
    assert not (registry.artifacts / NAMES[0]).exists()
