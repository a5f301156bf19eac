"""The project's scripts, run in forked children of a process that has imported everything they import.

A training as a process of its own takes 4 s, most of it for imports; in a forked child it takes less than 1 s. The
script is executed as `python train_model.py` executes it. What differs: numerical libraries have one thread.
"""

import atexit
import contextlib
import io
import os
import re
import runpy
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from tests.support.forks import Ended, ForkServer
from tests.support.project import ROOT

SCRIPTS = ("train_model.py", "promote_model.py", "test_api.py")
"""The scripts that can run in a forked child: they end by themselves and start no thread while they are imported."""

STEP = re.compile(r" *\d+\.\d\d s  ")
"""How the line begins that a training prints after each step."""

_servers: list[ForkServer] = []


def job(
    script: str, folder: Path, environment: Mapping[str, str], arguments: Sequence[str], **difference: Any
) -> dict[str, Any]:
    """A run of a script in this folder and environment.

    Args:
        difference: `clock`, the time in seconds since 1970 at which the clock of the script starts; or `signal`, the
            number of a signal that the script sends itself after having printed `steps` steps. (One from another
            process may come late on a busy machine.)
    """
    where = {"folder": str(folder), "environment": dict(environment)}
    return {"script": script, "arguments": list(arguments), **where, **difference}


def run_jobs(jobs: Sequence[dict[str, Any]]) -> list[Ended]:
    """Runs all of them at the same time."""
    if not _servers:
        server = ForkServer("tests.support.commands", environment=os.environ)
        atexit.register(server.close)
        _servers.append(server)
    return _servers[0].run_together(jobs)


def count_steps(output: str) -> int:
    """How many steps a training has printed."""
    return len([line for line in output.splitlines() if STEP.match(line)])


# -- in the process that forks


def warm_up() -> None:
    import api_checks.runner  # noqa: F401 -- the children find it imported

    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"file:{folder}/mlruns"
        os.environ["TABSERVE_ARTIFACTS_DIR"] = f"{folder}/artifacts"
        working_directory = Path.cwd()
        os.chdir(folder)
        for script in ("train_model.py", "--n-estimators", "2", "--folds", "2"), ("promote_model.py",):
            with contextlib.suppress(SystemExit):
                _execute(*script)
        os.chdir(working_directory)


def work(
    folder: str,
    environment: dict[str, str],
    script: str,
    arguments: list[str],
    clock: float | None = None,
    signal: int | None = None,
    steps: int = 0,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if clock is not None:
        _start_clock(clock)
    if signal is not None:
        sys.stdout = Interrupting(sys.stdout, signal, steps)
    _execute(script, *arguments)


def _execute(script: str, *arguments: str) -> None:
    path = str(ROOT / script)
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


def _start_clock(start: float) -> None:
    from tabserve.model import artifacts
    from tabserve.registry import journal

    real, ahead = time.time, start - time.time()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Clock":
            return cls.fromtimestamp(real() + ahead, tz)

    time.time = lambda: real() + ahead
    vars(artifacts)["datetime"] = vars(journal)["datetime"] = Clock


class Interrupting(io.TextIOBase):
    """An output that sends its process a signal once so many steps are printed."""

    def __init__(self, output: Any, signal: int, steps: int) -> None:
        self._output, self._signal, self._steps = output, signal, steps

    def write(self, text: str) -> int:
        written: int = self._output.write(text)
        self._steps -= bool(STEP.match(text))
        if not self._steps:
            self._steps = -1
            self.flush()
            os.kill(os.getpid(), self._signal)
        return written

    def flush(self) -> None:
        self._output.flush()
