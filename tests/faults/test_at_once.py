"""Trainings that run at once, and clocks that don't run on: every training is a version of its own, in the registry's
order, and the journal tells how the champion came to be."""

import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from tabserve.model import release
from tests.support.project import PYTHON, ROOT
from tests.support.servers import serving, version
from tests.support.waiting import until
from tests.support.workspaces import Workspace


def check_order(workspace: Workspace, count: int) -> None:
    """So many versions with a name each, one champion, and a journal without gap or double that leads to it."""
    store = workspace.store()
    listed = [entry.version for entry in store.versions()]
    assert [entry.registry_version for entry in listed] == [str(number) for number in range(count, 0, -1)]
    assert len({entry.model_version for entry in listed}) == count
    moves = store.journal()
    assert [move.number for move in moves] == list(range(1, count + 1))
    assert [move.origin for move in moves] == [None, *(move.to for move in moves[:-1])]
    assert {move.to for move in moves} == {entry.registry_version for entry in listed}
    assert moves[-1].to == store.champion().registry_version
    assert [store.fetch(entry).model_version for entry in listed] == [entry.model_version for entry in listed]


@pytest.mark.timeout(600)
def test_trainings_at_once_all_land(anywhere: Workspace) -> None:
    """Two trainings started together, and then eight, on a folder, a database and a server: each is a version of its
    own, one is champion, and the journal tells each move from where the one before left the alias."""
    for count, total in ((2, 2), (8, 10)):
        processes = [anywhere.start("train_model.py", "--n-estimators", "5", "--folds", "2") for _ in range(count)]
        outputs = [process.communicate(timeout=300)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * count, outputs
        check_order(anywhere, total)
        assert len(anywhere.versions()) == total


CLOCK = """
import datetime, sys, time
import tabserve.registry.journal, tabserve.model.release, train_model
start = float(sys.argv.pop(1))
real, ahead = time.time, start - time.time()
time.time = lambda: real() + ahead

class Clock(datetime.datetime):
    first = None

    @classmethod
    def now(cls, zone=None):
        cls.first = cls.first or time.monotonic()
        return cls.fromtimestamp(start + time.monotonic() - cls.first, zone)

tabserve.registry.journal.datetime = tabserve.model.release.datetime = Clock
sys.exit(train_model.main(sys.argv[1:]))
"""


def train_at(workspace: Workspace, moment: datetime) -> str:
    """The model version of a training whose clock shows this moment when it claims one."""
    done = subprocess.run(
        [PYTHON, "-c", CLOCK, str(moment.timestamp()), "--n-estimators", "5", "--folds", "2"],
        cwd=workspace.folder,
        env=workspace.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return workspace.store().champion().model_version


def test_a_clock_that_goes_back_changes_no_order(anywhere: Workspace) -> None:
    """After a training whose clock was a year ahead the next one is champion, is served, and stands first in the list;
    a rollback goes to the former. One whose clock shows a second that was used before takes another."""
    ahead = train_at(anywhere, datetime.now(UTC) + timedelta(days=365))
    now = anywhere.train("--n-estimators", "5", "--folds", "2")
    assert ahead > now
    check_order(anywhere, 2)
    assert anywhere.store().champion().model_version == now
    listed = anywhere.run("promote_model.py").stdout.splitlines()[1:]
    assert [line.split()[1] for line in listed] == [now, ahead]
    with serving(anywhere) as (url, _):
        until(lambda: version(url) == now)
        assert anywhere.run("promote_model.py", "--rollback").returncode == 0
        until(lambda: version(url) == ahead)
    second = datetime.strptime(now, release.VERSION_FORMAT).replace(tzinfo=UTC)
    (anywhere.artifacts / now).rename(anywhere.folder / "away")
    assert now < train_at(anywhere, second) < ahead
    moves = anywhere.store().journal()
    assert [(move.number, move.origin, move.to) for move in moves] == [
        (1, None, "1"),
        (2, "1", "2"),
        (3, "2", "1"),
        (4, "1", "3"),
    ]
