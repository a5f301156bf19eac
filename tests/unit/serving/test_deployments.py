"""The journal of deployments: read when it must have grown, and never in the way of serving."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tabserve.errors import TrackingError
from tabserve.model import BY_HAND, Deployment, Release
from tabserve.serving import deployments
from tests.support.sources import FakeSource, service_of

FIRST = Deployment(1, "2026-11-24T00:00:00+00:00", "me@here", "champion", None, "1", "first")
UNRECORDED = Deployment(2, "2026-11-24T01:00:00+00:00", BY_HAND, "champion", "1", "2", "moved by hand", recorded=False)
RECORDED = Deployment(2, "2026-11-24T01:00:00+00:00", "someone in MLflow", "champion", "1", "2", "written down")


class Journal:
    """Gives one answer after the other, and the last one again and again."""

    def __init__(self, source: FakeSource, monkeypatch: pytest.MonkeyPatch, *answers: Sequence[Deployment]) -> None:
        self.answers = list(answers)
        self.reads = 0
        monkeypatch.setattr(source, "deployments", self.read)

    def read(self) -> Sequence[Deployment]:
        self.reads += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is given no time to record what it does."""
    monkeypatch.setattr(deployments, "RECORD_SECONDS", 0)


@pytest.fixture
def source(release: Release) -> FakeSource:
    return FakeSource(release)


def warnings(caplog: pytest.LogCaptureFixture) -> list[tuple[object, ...]]:
    moved = [vars(record) for record in caplog.records if record.getMessage() == "alias moved by hand"]
    return [(fields["levelname"], fields["alias"], fields["last_seen"], fields["to"]) for fields in moved]


def follow(source: FakeSource, monkeypatch: pytest.MonkeyPatch, *journals: Sequence[Deployment]) -> None:
    """A service polls once for each of these journals."""
    journal = Journal(source, monkeypatch, journals[0])
    service, _ = service_of(source)
    for entries in journals:
        journal.answers = [entries]
        service.poll()


def test_journal_is_read_once_per_deployment(source: FakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as no alias moves, the journal isn't read again; it is when a challenger is marked."""
    journal = Journal(source, monkeypatch, [FIRST])
    service, _ = service_of(source)
    for _ in range(3):
        service.poll()
    assert (journal.reads, service.deployments()) == (1, (FIRST,))
    source.candidate = source.live
    service.poll_challenger()
    service.poll()
    assert journal.reads == 2


def test_alias_moved_by_hand_is_reported_once(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A deployment that nobody has recorded is shown and logged once as a warning with what moved and what will happen.
    The journal is read again until it is recorded."""
    journal = Journal(source, monkeypatch, [FIRST, UNRECORDED])
    service, _ = service_of(source)
    for _ in range(3):
        service.poll()
    assert service.deployments() == (FIRST, UNRECORDED)
    assert warnings(caplog) == [("WARNING", "champion", "1", "2")]
    assert "promote_model.py records it" in str(vars(caplog.records[-1])["effect"])
    assert service.state().status == "healthy"
    journal.answers = [[FIRST, RECORDED]]
    service.poll()
    reads = journal.reads
    service.poll()
    assert (service.deployments(), journal.reads) == ((FIRST, RECORDED), reads)
    assert len(warnings(caplog)) == 1


def test_second_move_by_hand_is_reported_too(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each alias that moves, and each further move of the same alias, has a warning of its own, with where the server
    saw it last. The journal, which lacks the move before, has the version before that one."""
    back = Deployment(2, "2026-11-24T02:00:00+00:00", BY_HAND, "champion", "1", "3", "moved by hand", recorded=False)
    marked = Deployment(
        3, "2026-11-24T02:00:00+00:00", BY_HAND, "challenger", None, "2", "moved by hand", recorded=False
    )
    follow(source, monkeypatch, [FIRST, UNRECORDED], [FIRST, back, marked])
    assert warnings(caplog) == [
        ("WARNING", "champion", "1", "2"),
        ("WARNING", "champion", "2", "3"),
        ("WARNING", "challenger", None, "2"),
    ]


def test_alias_moved_back_by_hand_is_reported_too(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The journal then says where the alias is, so nothing is unrecorded; but the server has followed twice."""
    follow(source, monkeypatch, [FIRST, UNRECORDED], [FIRST])
    assert warnings(caplog) == [("WARNING", "champion", "1", "2"), ("WARNING", "champion", "2", "1")]
    assert vars(caplog.records[-1])["effect"] == "it is where the journal has it"


def test_move_by_a_command_after_one_by_hand_is_not_reported(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A command records the move by hand and its own: the journal tells both."""
    last = replace(FIRST, number=3, origin="2", to="4")
    follow(source, monkeypatch, [FIRST, UNRECORDED], [FIRST, RECORDED, last])
    assert warnings(caplog) == [("WARNING", "champion", "1", "2")]


def test_command_that_is_just_recording_is_not_reported(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A command moves the alias first and then records it: a poll between the two waits, reads again, and warns of
    nothing."""
    journal = Journal(source, monkeypatch, [FIRST, UNRECORDED], [FIRST, RECORDED])
    service, _ = service_of(source)
    service.poll()
    assert (journal.reads, service.deployments(), warnings(caplog)) == (2, (FIRST, RECORDED), [])


@pytest.mark.parametrize("error", [TrackingError("the journal is away"), RuntimeError("something else")])
def test_service_is_healthy_without_its_journal(
    error: Exception, source: FakeSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A journal that can't be read is asked for at each poll, logged once, and leaves the service healthy."""

    def refuse() -> list[Deployment]:
        raise error

    service, _ = service_of(source)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "tabserve"):
        patch.setattr(source, "deployments", refuse)
        for _ in range(3):
            service.poll()
    assert (service.state().status, service.deployments()) == ("healthy", ())
    assert [record.getMessage() for record in caplog.records] == ["no journal"]
    service.poll()
    assert service.deployments() == (FIRST,)
