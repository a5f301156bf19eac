"""Trainings that meet a fault, in the children of a process that forks.

A child does with files what `train_model.py` does: it calls its `main`, with few trees. What trainings compute and draw
is the same each time, so the forking process does it once and remembers it; and its clock runs fast, because a model
version is a second. So a training takes a quarter of a second.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Self

import train_model
from tests.support.forks import Ended, ForkServer
from tests.support.operations import Operations, Point
from tests.support.project import ROOT, unmeasured_environment
from tests.support.workspaces import Workspace, registry_state

FEW_TREES = ["--n-estimators", "2", "--folds", "2"]
OPTIONS = {"train": FEW_TREES, "search": [*FEW_TREES, "--search", "2"]}
"""The options of each kind of training."""

STATE = "state"
"""The task of a child that trains nothing, but reports the state of the registry."""


class Nursery:
    """A process that forks trainings. `temporary` is the folder of their temporary files."""

    def __init__(self, *prefix: str) -> None:
        """Starts it, behind another command if it is to run in a namespace of its own."""
        self._folder = tempfile.TemporaryDirectory()
        self.temporary = Path(self._folder.name)
        # a child that is killed saves no coverage, so it isn't measured here
        environment = unmeasured_environment() | {
            "PYTHONHASHSEED": "0",  # the same order of sets in every process, so that an operation keeps its number
            "TMPDIR": self._folder.name,
        }
        self._server = ForkServer("tests.support.nursery", *prefix, environment=environment)
        self.pid = self._server.pid

    def points(self, workspace: Workspace, task: str = "train") -> list[Point]:
        """Trains without a fault, and returns the points at which a training can meet one."""
        ended = self._run(workspace, task, fault="", number=0, opened=False)
        assert ended.status == 0, ended.err
        return [Point(**point) for point in ended.report]

    def train(self, workspace: Workspace, fault: str = "", at: Point | None = None, task: str = "train") -> Ended:
        """Trains, and causes the fault at that point."""
        number, opened = (at.number, at.opened) if at else (0, False)
        return self._run(workspace, task, fault=fault, number=number, opened=opened)

    def train_until(self, workspace: Workspace, seconds: float) -> Ended:
        """Trains with a search, and kills that after so many seconds."""
        return self._run(workspace, "search", seconds=seconds, fault="", number=0, opened=False)

    def state(self, workspace: Workspace) -> dict[str, Any]:
        """The state of the registry, once a child has verified every version in it."""
        ended = self._run(workspace, STATE)
        assert ended.status == 0, ended.err
        return dict(ended.report)

    def _run(self, workspace: Workspace, task: str, **options: Any) -> Ended:
        return self._server.run(folder=str(workspace.folder), task=task, **options)

    def close(self) -> None:
        self._server.close()
        self._folder.cleanup()


# -- in the process that forks


def warm_up() -> None:
    with tempfile.TemporaryDirectory() as folder:
        _enter(Path(folder))
        _remember_what_is_computed()
        assert train_model.main(OPTIONS["search"]) == 0
        registry_state(Workspace(Path(folder)))
        os.chdir(ROOT)


def work(folder: str, task: str, **fault: Any) -> Any:
    _enter(Path(folder))
    if task == STATE:
        return registry_state(Workspace(Path(folder)))
    operations = Operations(folder, **fault)
    sys.addaudithook(operations)
    if status := train_model.main(OPTIONS[task]):
        sys.exit(status)
    return [vars(point) for point in operations.points]


def _enter(folder: Path) -> None:
    os.environ.update(Workspace(folder).environment)
    os.chdir(folder)


def _remember_what_is_computed() -> None:
    """Patches trainings so that each computes and draws only once, and waits for no second; files are still written."""
    # only the process that forks needs these, and every run of pytest imports this module
    from tabserve.model import artifacts
    from tabserve.reporting import plots
    from tabserve.training import cross_validation, evaluation, fitting

    save, drawings = plots.save, dict[str, bytes]()

    def save_again(file: Path, *what: Any) -> None:
        if file.name not in drawings:
            save(file, *what)
            drawings[file.name] = file.read_bytes()
        else:
            file.write_bytes(drawings[file.name])

    vars(plots)["save"] = save_again
    vars(artifacts)["datetime"] = FastClock
    for module, name in (
        (cross_validation, "cross_validate"),
        (cross_validation, "score"),
        (fitting, "fit"),
        (evaluation, "evaluate"),
    ):
        vars(module)[name] = _computed_once(vars(module)[name])


class FastClock(datetime):
    """A clock that runs sixty times as fast."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(START + 60 * time.monotonic(), tz)


START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def _computed_once(function: Callable[..., Any]) -> Callable[..., Any]:
    results: list[Any] = []

    def remembered(*arguments: Any) -> Any:
        if not results:
            results.append(function(*arguments))
        return results[0]

    return remembered
