"""Deployments: each move of an alias is recorded, by a command or by hand, on a folder and on a database."""

import pytest
from filelock import FileLock

from tabserve.model.versions import BY_HAND, RegisteredVersion
from tabserve.monitoring.metrics import Metrics
from tabserve.registry import Registry, journal
from tabserve.serving.service import Service
from tests.support.models import Trained
from tests.support.registry import files, move_by_hand, steps, train
from tests.support.workspaces import Workspace


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
    registry: Registry, three: list[RegisteredVersion], place: Workspace
) -> None:
    """Aliases that were moved by hand are at the end, the champion's last, marked as not recorded. A process that hangs
    with the lock is no hindrance."""
    registry.move("champion", three[0], "first")
    move_by_hand(registry, "2")
    move_by_hand(registry, "3", "challenger")
    before = files(place.folder)
    reader = place.store()
    with FileLock(registry.artifacts / ".registry.lock"):
        deployments = reader.deployments()
    assert files(place.folder) == before
    assert steps(deployments) == [("champion", None, "1"), ("challenger", None, "3"), ("champion", "1", "2")]
    assert [deployment.recorded for deployment in deployments] == [True, False, False]
    assert deployments[-1].who == BY_HAND
    assert reader.journal() == deployments[:1]


LATER = "2030-01-01T00:00:00+00:00"


class Later:
    """A clock that shows one moment."""

    @classmethod
    def now(cls, _: object) -> "Later":
        return cls()

    def isoformat(self, timespec: str) -> str:
        assert timespec == "seconds"
        return LATER


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
    registry: Registry, three: list[RegisteredVersion], place: Workspace
) -> None:
    """The service asks again at each poll while a deployment isn't recorded, although champion and challenger stay."""
    registry.move("champion", three[0], "first")
    service = Service(place.store(), Metrics(), [], poll_seconds=60)
    service.poll()
    assert [deployment.recorded for deployment in service.deployments()] == [True]
    move_by_hand(registry, "2")
    service.poll()
    assert [deployment.recorded for deployment in service.deployments()] == [True, False]
    registry.sync()
    service.poll()
    assert [deployment.recorded for deployment in service.deployments()] == [True, True]
    assert service.state().status == "healthy"


def test_server_that_polls_in_the_middle_of_a_deployment_shows_its_entry_in_the_end(
    registry: Registry, three: list[RegisteredVersion], place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command moves the alias and then writes the journal. Between the two a server sees a move that isn't recorded;
    after the next poll it shows the entry with who moved it, and why."""
    registry.move("champion", three[0], "first")
    service = Service(place.store(), Metrics(), [], poll_seconds=60)
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
