"""Trainings that run at the same time, and clocks that go back: every training becomes a version of its own, in the
registry's order, and the journal shows every change of the champion."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tabserve.model import release
from tests.support.client import served_version
from tests.support.servers import serving
from tests.support.waiting import patient, until
from tests.support.workspaces import Workspace


def check_order(workspace: Workspace, count: int) -> None:
    """There are so many versions with different names, one champion, and a journal without a gap that leads to it."""
    store = workspace.store()
    listed = [entry.version for entry in store.versions()]
    assert [entry.registry_version for entry in listed] == [str(number) for number in range(count, 0, -1)]
    assert len({entry.model_version for entry in listed}) == count
    deployments = store.journal()
    assert [deployment.number for deployment in deployments] == list(range(1, count + 1))
    assert [deployment.origin for deployment in deployments] == [None, *(entry.to for entry in deployments[:-1])]
    assert {deployment.to for deployment in deployments} == {entry.registry_version for entry in listed}
    assert deployments[-1].to == store.champion().registry_version
    assert [store.fetch(entry).model_version for entry in listed] == [entry.model_version for entry in listed]


@pytest.mark.timeout(patient(1800))
def test_trainings_started_together_become_one_version_each(anywhere: Workspace) -> None:
    """Of two trainings started together, and then of eight, each becomes a version, one becomes champion, and each
    entry of the journal starts from the version at which the one before ended: on a folder, a database and a server."""
    for count, total in ((2, 2), (8, 10)):
        ended = anywhere.run_together(*[("train_model.py", "--n-estimators", "5", "--folds", "2")] * count)
        assert [training.returncode for training in ended] == [0] * count, [training.stderr for training in ended]
        check_order(anywhere, total)
        assert len(anywhere.versions()) == total


def test_clock_that_goes_back_does_not_change_the_order(anywhere: Workspace) -> None:
    """After a training whose clock was a year ahead, the next training is champion, is served and is listed first, and
    a rollback goes to the former. A training whose clock shows a second that is taken gets a later version."""
    small = ("--n-estimators", "5", "--folds", "2")
    ahead = anywhere.train(*small, clock=time.time() + timedelta(days=365).total_seconds())
    now = anywhere.train(*small)
    assert ahead > now
    check_order(anywhere, 2)
    assert anywhere.store().champion().model_version == now
    listed = anywhere.run("promote_model.py").stdout.splitlines()[1:]
    assert [line.split()[1] for line in listed] == [now, ahead]
    with serving(anywhere) as (url, _):
        until(lambda: served_version(url) == now)
        assert anywhere.run("promote_model.py", "--rollback").returncode == 0
        until(lambda: served_version(url) == ahead)
    second = datetime.strptime(now, release.VERSION_FORMAT).replace(tzinfo=UTC)
    (anywhere.artifacts / now).rename(anywhere.folder / "away")
    assert now < anywhere.train(*small, clock=second.timestamp()) < ahead
    assert [(deployment.number, deployment.origin, deployment.to) for deployment in anywhere.store().journal()] == [
        (1, None, "1"),
        (2, "1", "2"),
        (3, "2", "1"),
        (4, "1", "3"),
    ]
