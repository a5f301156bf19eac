"""What a registry promises, on a folder and on a database, with MLflow itself."""

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tabserve.cli import promote
from tabserve.errors import NoModelError, ReleaseError, TrackingError
from tabserve.model.versions import BY_HAND, Deployment, RegisteredVersion
from tabserve.monitoring.metrics import Metrics
from tabserve.registry import RELEASE, Registry, journal, runs
from tabserve.serving.service import Service
from tests.support.models import Trained
from tests.support.workspaces import Workspace

NAMES = ("20260101_000000", "20260101_000001", "20260101_000002")


@pytest.fixture(scope="module", params=["folder", "database"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def workspace_at(folder: Path, kind: str) -> Workspace:
    return Workspace(folder, f"sqlite:///{folder}/mlflow.db" if kind == "database" else f"file:{folder}/mlruns")


@pytest.fixture
def workspace(tmp_path: Path, kind: str) -> Workspace:
    return workspace_at(tmp_path, kind)


@pytest.fixture
def registry(workspace: Workspace) -> Registry:
    return workspace.store()


def train(registry: Registry, trained: Trained, model_version: str) -> RegisteredVersion:
    """Logs and registers a release as a training does; the model in MLflow is an empty one."""
    release = trained.release(registry.artifacts / model_version / RELEASE, model_version)
    with runs.start(registry, "iris-classifier", model_version, "token") as run:
        run.log_folder(registry.artifacts / model_version)
        model = registry.connect().create_logged_model(run.experiment_id, "model", source_run_id=run.run_id)
        run.log_metrics({"test_accuracy": 0.9}, model)
        version = run.register(model, release, "a description")
        run.finish()
    return version


@pytest.fixture(scope="module")
def trained_thrice(trained: Trained, kind: str, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Versions 1 to 3, none of them live. Not to be changed."""
    workspace = workspace_at(tmp_path_factory.mktemp(kind), kind)
    for model_version in NAMES:
        train(workspace.store(), trained, model_version)
    return workspace


@pytest.fixture
def three(workspace: Workspace, trained_thrice: Workspace) -> list[RegisteredVersion]:
    """The three versions, in a copy of that workspace."""
    shutil.copytree(trained_thrice.folder, workspace.folder, dirs_exist_ok=True)
    return [listed.version for listed in reversed(workspace.store().versions())]


def move_by_hand(registry: Registry, number: str, alias: str = "champion") -> None:
    registry.connect().set_registered_model_alias(registry.model_name, alias, number)


def steps(deployments: list[Deployment]) -> list[tuple[str, str | None, str | None]]:
    return [(deployment.alias, deployment.origin, deployment.to) for deployment in deployments]


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- versions


def test_reading_an_empty_place_makes_nothing(registry: Registry, tmp_path: Path) -> None:
    """Asked for its champion, an empty place says what to do, and stays empty."""
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
    registry: Registry, three: list[RegisteredVersion], workspace: Workspace
) -> None:
    """The latest first; another model in the same folders has none."""
    for version in three:
        registry.move("champion", version, "next")
    assert registry.remembered() == three[::-1]
    assert Workspace(workspace.folder, workspace.uri, "other").store().remembered() == []


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


# -- deployments


def test_each_move_is_recorded_with_its_reason(registry: Registry, three: list[RegisteredVersion]) -> None:
    """Each entry starts where the last one left the alias. The version has a tag with the same words."""
    registry.move("champion", three[0], "first")
    registry.move("champion", three[1], "better")
    registry.move("champion", three[0], "worse at night", rollback=True)
    deployments = registry.journal()
    assert steps(deployments) == [("champion", None, "1"), ("champion", "1", "2"), ("champion", "2", "1")]
    assert [deployment.number for deployment in deployments] == [1, 2, 3]
    assert [deployment.rollback for deployment in deployments] == [False, False, True]
    assert {deployment.who for deployment in deployments} == {journal.whoami()}
    tags = registry.connect().get_model_version(registry.model_name, "1").tags
    assert tags["last_champion"] == f"{deployments[2].when} by {journal.whoami()}: worse at night"


def test_challenger_that_becomes_champion_is_no_challenger_any_more(
    registry: Registry, three: list[RegisteredVersion]
) -> None:
    """The journal has both deployments."""
    registry.move("challenger", three[1], "to watch")
    registry.move("champion", three[1], "it won")
    assert registry.challenger() is None
    assert steps(registry.journal()) == [("challenger", None, "2"), ("champion", None, "2"), ("challenger", "2", None)]


def test_reading_the_deployments_writes_nothing_and_waits_for_nobody(
    registry: Registry, three: list[RegisteredVersion], workspace: Workspace
) -> None:
    """Aliases that were moved by hand are at the end, the champion's last, marked as not recorded. A process that hangs
    with the lock is no hindrance."""
    registry.move("champion", three[0], "first")
    move_by_hand(registry, "2")
    move_by_hand(registry, "3", "challenger")
    before = files(workspace.folder)
    reader = workspace.store()
    with FileLock(registry.artifacts / ".registry.lock"):
        deployments = reader.deployments()
    assert files(workspace.folder) == before
    assert steps(deployments) == [("champion", None, "1"), ("challenger", None, "3"), ("champion", "1", "2")]
    assert [deployment.recorded for deployment in deployments] == [True, False, False]
    assert deployments[-1].who == BY_HAND
    assert reader.journal() == deployments[:1]


def test_unrecorded_deployment_keeps_the_time_when_it_was_first_seen(
    registry: Registry, three: list[RegisteredVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again and again, a server shows the same entry, until the alias moves on."""
    registry.move("champion", three[0], "first")
    move_by_hand(registry, "2")
    first = registry.deployments()
    monkeypatch.setattr(journal, "datetime", Later)
    assert registry.deployments() == first
    move_by_hand(registry, "3")
    assert registry.deployments()[-1].when == LATER
    assert steps(registry.deployments())[1:] == [("champion", "1", "3")]


LATER = "2030-01-01T00:00:00+00:00"


class Later:
    """A clock that shows one moment."""

    @classmethod
    def now(cls, _: object) -> "Later":
        return cls()

    def isoformat(self, timespec: str) -> str:
        assert timespec == "seconds"
        return LATER


def test_moves_by_hand_between_two_commands_become_one_entry(
    registry: Registry, three: list[RegisteredVersion]
) -> None:
    """The next command records where the alias is, and says that it was moved by hand, between when, and who wrote that
    down. A second command records nothing more."""
    registry.move("champion", three[0], "first")
    move_by_hand(registry, "2")
    move_by_hand(registry, "3")
    deployments = registry.sync()
    assert steps(deployments) == [("champion", None, "1"), ("champion", "1", "3")]
    entry = deployments[-1]
    assert entry.who == BY_HAND
    assert entry.why == (
        f"moved by hand in MLflow between {deployments[0].when} and {entry.when}, written down by {journal.whoami()}"
    )
    assert registry.sync() == registry.deployments() == registry.journal() == deployments


def test_every_command_that_writes_first_records_what_was_moved_by_hand(
    registry: Registry, three: list[RegisteredVersion], trained: Trained
) -> None:
    """A deployment, a training that deploys nothing, and a clean-up."""
    registry.move("champion", three[0], "first")
    move_by_hand(registry, "2")
    registry.move("challenger", three[2], "to watch")
    assert steps(registry.journal())[1:] == [("champion", "1", "2"), ("challenger", None, "3")]
    move_by_hand(registry, "1")
    train(registry, trained, "20260101_000009")
    assert steps(registry.journal())[3:] == [("champion", "2", "1")]
    move_by_hand(registry, "4")
    list(registry.prune(4, in_mlflow=False))
    assert steps(registry.journal())[4:] == [("champion", "1", "4")]
    assert [deployment.number for deployment in registry.journal()] == [1, 2, 3, 4, 5]


def test_rollback_goes_back_over_a_move_by_hand(registry: Registry, three: list[RegisteredVersion]) -> None:
    """Recorded or not, the version before it is where a rollback leads."""
    registry.move("champion", three[0], "first")
    move_by_hand(registry, "3")
    assert journal.previous(registry.deployments(), "champion") == ["1"]
    assert journal.previous(registry.sync(), "champion") == ["1"]


def test_server_shows_an_unrecorded_deployment_until_a_command_has_recorded_it(
    registry: Registry, three: list[RegisteredVersion], workspace: Workspace
) -> None:
    """The service asks again at each poll while a deployment isn't recorded, although champion and challenger stay."""
    registry.move("champion", three[0], "first")
    service = Service(workspace.store(), Metrics(), [], poll_seconds=60)
    service.poll()
    assert [deployment.recorded for deployment in service.deployments()] == [True]
    move_by_hand(registry, "2")
    service.poll()
    assert [deployment.recorded for deployment in service.deployments()] == [True, False]
    registry.sync()
    service.poll()
    assert [deployment.recorded for deployment in service.deployments()] == [True, True]
    assert service.state().status == "healthy"


@pytest.mark.parametrize("is_deleted", [False, True])
def test_champion_that_is_taken_away_is_served_on_and_the_command_that_is_named_brings_one_back(
    registry: Registry, three: list[RegisteredVersion], workspace: Workspace, is_deleted: bool
) -> None:
    """If somebody removes the alias in MLflow, or deletes the version, the service is degraded and says what to do:
    that makes the last version live that still exists."""
    registry.move("champion", three[0], "first")
    registry.move("champion", three[1], "second")
    metrics = Metrics()
    service = Service(workspace.store(), metrics, [], poll_seconds=60)
    service.poll()
    client = registry.connect()
    if is_deleted:
        client.delete_model_version(registry.model_name, "2")
    else:
        client.delete_registered_model_alias(registry.model_name, "champion")
    service.poll()
    state = service.state()
    assert (state.status, state.model().registry_version) == ("degraded", "2")
    assert "`python promote_model.py --rollback`" in (state.reason or "")
    assert metrics.snapshot()["reload_failures"] == {"no_champion": 1}
    promote.roll_back(registry, registry.versions(), "it was taken away")
    service.poll()
    assert service.state().status == "healthy"
    assert service.state().model().registry_version == ("1" if is_deleted else "2")


def test_server_that_polls_in_the_middle_of_a_deployment_shows_its_entry_in_the_end(
    registry: Registry, three: list[RegisteredVersion], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command moves the alias and then writes the journal. Between the two a server sees a move that isn't recorded;
    after the next poll it shows the entry with who moved it, and why."""
    registry.move("champion", three[0], "first")
    service = Service(workspace.store(), Metrics(), [], poll_seconds=60)
    service.poll()
    add_entry = registry._add_entry

    def poll_then_add(key: str, text: str) -> None:
        service.poll()
        add_entry(key, text)

    monkeypatch.setattr(registry, "_add_entry", poll_then_add)
    registry.move("champion", three[1], "better")
    assert [deployment.who for deployment in service.deployments()] == [journal.whoami(), BY_HAND]
    service.poll()
    assert [(deployment.who, deployment.why) for deployment in service.deployments()] == [
        (journal.whoami(), "first"),
        (journal.whoami(), "better"),
    ]


# -- clean-up


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
