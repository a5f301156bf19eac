"""A process that imports and warms everything once, and from then on forks a child for each job.

The module that does the jobs is named by the caller, and has two functions: `warm_up()`, which is called once, and
`work(**job)`, which is called in each child, returns a report that can be JSON, and may end with `sys.exit`.
"""

import contextlib
import importlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tests.support.project import PYTHON, ROOT

CRASHED = 99
"""The exit status of a child that raised an exception."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Thread pools of these libraries don't survive a fork."""


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        status: its exit status; negative: the signal that killed it.
        out, err: what it printed.
        report: what the job returned; None if the child was killed or crashed.
    """

    status: int
    out: str
    err: str
    report: Any


class ForkServer:
    """The process that forks, as a test uses it."""

    def __init__(self, module: str, *prefix: str, environment: Mapping[str, str]) -> None:
        """Starts it, with another command in front of its own if there is a prefix."""
        log, self._log = tempfile.mkstemp()
        self._process = subprocess.Popen(
            [*prefix, PYTHON, "-m", "tests.support.forks", module],
            cwd=ROOT,
            env={**environment, **ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        os.close(log)
        self.pid = self._process.pid
        self._read()

    def run(self, **job: Any) -> Ended:
        """Does the job in a child. One that has `seconds` is killed after so long."""
        return self.run_together([job])[0]

    def run_together(self, jobs: Sequence[Mapping[str, Any]]) -> list[Ended]:
        """Does all the jobs at the same time, each in a child of its own."""
        assert self._process.stdin is not None
        print(json.dumps(jobs), file=self._process.stdin, flush=True)
        return [Ended(**ended) for ended in json.loads(self._read())]

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that forks has ended: {Path(self._log).read_text()[-2000:]}")
        return line

    def close(self) -> None:
        self._process.communicate()
        Path(self._log).unlink()


# -- the process that forks


def main() -> None:
    module = importlib.import_module(sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):
        module.warm_up()
    print("ready", flush=True)
    for line in sys.stdin:
        children = [Child(module, **job) for job in json.loads(line)]
        print(json.dumps([child.end() for child in children]), flush=True)


class Child:
    """A forked child that does a job, and is killed after so many seconds."""

    def __init__(self, module: Any, seconds: float | None = None, **job: Any) -> None:
        self._seconds = seconds
        pipes = [os.pipe() for _ in range(3)]  # not files: a child whose disk is full must be able to say so
        self._pid = os.fork()
        if self._pid == 0:
            _work(module, job, [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        self._pipes = [read for read, _ in pipes]

    def end(self) -> dict[str, Any]:
        """Waits for its end, and returns the fields of `Ended`."""
        if not select.select(self._pipes[:1], [], [], self._seconds)[0]:
            os.kill(self._pid, signal.SIGKILL)
        report, out, err = map(_read_all, self._pipes)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return {"status": status, "out": out, "err": err, "report": json.loads(report or "null")}


def _read_all(pipe: int) -> str:
    with os.fdopen(pipe, encoding="utf-8") as stream:
        return stream.read()


def _work(module: Any, job: dict[str, Any], pipes: list[int]) -> NoReturn:
    status = CRASHED
    try:
        report, out, err = pipes
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdin = io.StringIO()  # that of the forking process holds jobs
        result = module.work(**job)
        with os.fdopen(report, "w", encoding="utf-8") as stream:
            json.dump(result, stream)
        status = 0
    except SystemExit as error:
        status = _exit_status(error.code)
    finally:  # the child must not go on with what the forking process was doing
        if sys.exc_info()[0]:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _exit_status(code: Any) -> int:
    """The exit status for an argument of `sys.exit`, which prints what is no number."""
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
