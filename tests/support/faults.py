"""Trainings that meet a fault at a file operation of one's choice: a process that trains once, so that everything is
imported and warm, and from then on forks a child for each training that it is asked for.

A training takes 4 s as a process, and 0.25 s this way. What it does with files is the same: `train_model.main`, with
few trees. What it computes and draws, the same each time, is remembered, and its clock runs fast, as a model version is
a second.

An operation is what Python's audit hooks show, if it changes the name or the content of a file in the child's folder.
One that opens a file to write it anew has two points: before, and when the file is there and empty.
"""

import contextlib
import errno
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, NoReturn, Self

import train_model
from tabserve.model import artifacts
from tabserve.reporting import plots
from tabserve.training import cross_validation, evaluation, fitting
from tests.support.project import PYTHON, ROOT
from tests.support.workspaces import Workspace

QUICK = ["--n-estimators", "2", "--folds", "2"]
OPTIONS = {"train": QUICK, "search": [*QUICK, "--search", "2"]}
"""Task of a child → what it trains with."""

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")
UNNAMED = (
    (r"\b[0-9a-f]{32}\b", "<id>"),
    (r"\b\d{18}\b", "<experiment>"),
    (r"\b\d{8}_\d{6}\b", "<version>"),
    (r"\btmp\w{8}(file)?\b", "<temporary>"),
    (r"/version-\d+", "/version-<n>"),
)
"""What is different in each training, and what it is called when operations are compared."""

MANY = re.compile(
    r"(<experiment>/.*/(?:params|metrics|tags|artifacts(?:/\w+)?)|\.partial(?:/\w+)?"
    r"|\.<version>\.tmp(?:/<temporary>(?:/\w+)?)?|open \S+/\.registry\.tmp)/[^/]+$"
)
"""Files of which a training writes many of a kind, none of which is read before the last one is there."""


@dataclass(frozen=True)
class Point:
    """A moment in a training: before its operation `number`, or, once it is `opened`, before the first byte."""

    number: int
    opened: bool
    operation: str

    @property
    def kind(self) -> str:
        """The operation without what is different each time; the same for all of many files of a kind."""
        text = self.operation
        for pattern, name in UNNAMED:
            text = re.sub(pattern, name, text)
        return MANY.sub(r"\1/*", text) + (" opened" if self.opened else "")


class Operations:
    """Sees every file operation of this process below `folder`, as an audit hook, and has one of them meet `fault`."""

    def __init__(self, folder: str, fault: str, number: int, opened: bool) -> None:
        self._folder, self._fault, self._at = folder, fault, (number, opened)
        self._busy = self._full = False
        self.points: list[Point] = []
        self._count = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._busy or (event != "open" and event not in CHANGES):
            return
        self._busy = True
        try:
            self._look(event, arguments)
        finally:
            self._busy = False

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if isinstance(arguments[0], int):
            return
        name = os.fsdecode(arguments[0])
        if event in ("os.remove", "os.rmdir", "os.mkdir") and arguments[-1] != -1:
            name = str(Path(f"/proc/self/fd/{arguments[-1]}").readlink() / name)
        path = Path(name).absolute()
        flags = arguments[2] if event == "open" else 0
        if not str(path).startswith(f"{self._folder}/") or not _changes(event, path, flags):
            return
        text = f"{event} {path.relative_to(self._folder)}"
        if event == "os.rename":
            text += f" to {os.fsdecode(arguments[1]).removeprefix(self._folder)[1:]}"
        elif event == "open" and path.exists():
            text += " again"
        self._count += 1
        self._meet(Point(self._count, False, text))
        if event == "open" and (flags & os.O_TRUNC or not path.exists()):
            self._meet(Point(self._count, True, text), path, flags)
        if self._full and event in ("open", "os.mkdir"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _meet(self, point: Point, path: Path | None = None, flags: int = 0) -> None:
        self.points.append(point)
        if (point.number, point.opened) != self._at:
            return
        if self._fault == "kill":
            if path:
                os.close(os.open(path, flags, 0o666))
            os.kill(os.getpid(), signal.SIGKILL)
        elif point.opened:
            # no byte more can be written to any file; files can still be made, as on many a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        else:
            self._full = True


def _changes(event: str, path: Path, flags: int) -> bool:
    if event == "open":
        return bool(flags & (os.O_TRUNC | os.O_APPEND)) or (bool(flags & os.O_CREAT) and not path.exists())
    return event != "os.mkdir" or not path.exists()


def seen(workspace: Workspace) -> dict[str, Any]:
    """What MLflow's pages and promote_model.py show of the store, once every version that is listed was verified."""
    store = workspace.store()
    client = store.connect()
    listed = client.search_model_versions("name = 'iris-classifier'")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {
        "listed": sorted(int(version.version) for version in listed),
        "versions": [store.fetch(listed.version).model_version for listed in store.versions()],
        "champion": [store.champion().registry_version, store.champion().model_version],
        "moves": [[move.number, move.origin, move.to] for move in store.journal()],
        "runs": sorted([run.info.run_name, run.info.status] for run in client.search_runs(experiments)),
        "models": len(client.search_logged_models(experiments)),
    }


# -- the process that forks


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        _go_to(Path(folder))
        _remember()
        with contextlib.redirect_stdout(sys.stderr):
            assert train_model.main(OPTIONS["search"]) == 0
            seen(Workspace(Path(folder)))
        os.chdir(ROOT)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_forked(**json.loads(line))), flush=True)


def _remember() -> None:
    """Has trainings compute and draw once what is the same in each, and not wait for seconds; files are written."""
    draw, drawings = plots.save, dict[str, bytes]()

    def save(file: Path, *what: Any) -> None:
        if file.name not in drawings:
            draw(file, *what)
            drawings[file.name] = file.read_bytes()
        else:
            file.write_bytes(drawings[file.name])

    vars(plots)["save"] = save
    vars(artifacts)["datetime"] = Clock
    for module, name in ((cross_validation, "cross_validate"), (fitting, "fit"), (evaluation, "evaluate")):
        vars(module)[name] = _once(vars(module)[name])


class Clock(datetime):
    """A minute of it is a second."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(START + 60 * time.monotonic(), tz)


START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def _once(function: Callable[..., Any]) -> Callable[..., Any]:
    answers: list[Any] = []

    def remembered(*arguments: Any) -> Any:
        if not answers:
            answers.append(function(*arguments))
        return answers[0]

    return remembered


def _forked(folder: str, task: str, seconds: float | None = None, **fault: Any) -> dict[str, Any]:
    """The status of a child that does the task, what it printed, and what it reports; killed after so many seconds."""
    pipes = [os.pipe() for _ in range(3)]
    child = os.fork()
    if child == 0:
        _work(Path(folder), task, fault, [write for _, write in pipes])
    for _, write in pipes:
        os.close(write)
    if not select.select([pipes[0][0]], [], [], seconds)[0]:
        os.kill(child, signal.SIGKILL)
    report, out, err = (_drained(read) for read, _ in pipes)
    _, status = os.waitpid(child, 0)
    return {"status": os.waitstatus_to_exitcode(status), "out": out, "err": err, "report": json.loads(report or "null")}


def _drained(pipe: int) -> str:
    with os.fdopen(pipe, encoding="utf-8") as stream:
        return stream.read()


def _work(folder: Path, task: str, fault: dict[str, Any], pipes: list[int]) -> NoReturn:
    status = 99
    try:
        report, out, err = pipes
        os.dup2(out, 1)
        os.dup2(err, 2)
        _go_to(folder)
        said: Any
        if task == "look":
            said, status = seen(Workspace(folder)), 0
        else:
            operations = Operations(str(folder), **fault)
            sys.addaudithook(operations)
            status = train_model.main(OPTIONS[task])
            said = [vars(point) for point in operations.points]
        with os.fdopen(report, "w", encoding="utf-8") as stream:
            json.dump(said, stream)
    except SystemExit as error:
        status = int(str(error.code))
    finally:  # nothing goes on from here into what the process that forks was doing
        if sys.exc_info()[0]:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _go_to(folder: Path) -> None:
    os.environ.update(Workspace(folder).environment)
    os.chdir(folder)


# -- and its other end


def one_of_a_kind(points: Iterable[Point]) -> list[Point]:
    """Every point, but of many files of a kind the first and the last."""
    kinds: dict[str, list[Point]] = {}
    for point in points:
        kinds.setdefault(point.kind, []).append(point)
    return [point for kind, same in kinds.items() for point in ({same[0], same[-1]} if "/*" in kind else same)]


@dataclass(frozen=True)
class Ended:
    """How a training ended."""

    status: int
    out: str
    err: str
    report: Any


class Nursery:
    """The process that forks, seen from a test. `temporary` is where its children find the temporary files' folder."""

    def __init__(self, *before: str) -> None:
        self._made = tempfile.TemporaryDirectory()
        self.temporary = Path(self._made.name)
        self._process = subprocess.Popen(
            [*before, PYTHON, "-m", "tests.faults"],
            cwd=ROOT,
            # the same order of sets in every such process, so that an operation keeps its number
            env=os.environ
            | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TMPDIR": self._made.name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.pid = self._process.pid
        assert self._read() == "ready\n"

    def points(self, workspace: Workspace, task: str = "train") -> list[Point]:
        """Where a training can meet a fault; it is done, too."""
        ended = self._ask(workspace, task, fault="", number=0, opened=False)
        assert ended.status == 0, ended.err
        return [Point(**point) for point in ended.report]

    def train(self, workspace: Workspace, fault: str = "", at: Point | None = None, task: str = "train") -> Ended:
        """Trains, and has the training meet the fault at that point."""
        number, opened = (at.number, at.opened) if at else (0, False)
        return self._ask(workspace, task, fault=fault, number=number, opened=opened)

    def train_until(self, workspace: Workspace, seconds: float) -> Ended:
        """Searches and trains, and is killed after so many seconds."""
        return self._ask(workspace, "search", seconds=seconds, fault="", number=0, opened=False)

    def look(self, workspace: Workspace) -> dict[str, Any]:
        """What `seen` sees."""
        ended = self._ask(workspace, "look")
        assert ended.status == 0, ended.err
        return dict(ended.report)

    def _ask(self, workspace: Workspace, task: str, **fault: Any) -> Ended:
        assert self._process.stdin is not None
        request = {"folder": str(workspace.folder), "task": task, **fault}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return Ended(**json.loads(self._read()))

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        self._process.communicate()
        self._made.cleanup()


if __name__ == "__main__":
    main()
