"""Child processes of the pipeline: run, waited for, stopped. Standard library only."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class StepError(Exception):
    """A step of the pipeline failed. The message is empty if the step's own process has printed one.

    Attributes:
        status: the exit status for the pipeline.
    """

    def __init__(self, message: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Command:
    """A command of the project, run by the same interpreter as this process.

    Attributes:
        shown: how a person would type it.
        arguments: what the interpreter gets.
    """

    shown: str
    arguments: tuple[str, ...]

    @property
    def process(self) -> list[str]:
        """The command line of its process."""
        return [sys.executable, *self.arguments]


def report(step: str, message: str) -> None:
    """Prints a line of progress."""
    print(f"[{step}] {message}", flush=True)


def run_step(step: str, command: Command, *options: str, folder: Path, shown: Sequence[str] | None = None) -> None:
    """Runs a command in `folder` to its end, and stops it if this process is interrupted. `shown`: its options without
    passwords, if they hold any.

    Raises:
        StepError: its status isn't 0.
    """
    started = time.perf_counter()
    report(step, " ".join((command.shown, *(options if shown is None else shown))))
    process = subprocess.Popen([*command.process, *options], cwd=folder, start_new_session=True)
    try:
        status = process.wait()
    finally:
        stop(process)
    if status:
        raise StepError(f"{step} {ending(status)}", max(status, 1))
    report(step, f"{time.perf_counter() - started:.1f} s")


def ending(status: int) -> str:
    """How a process ended, in words."""
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def stop(process: subprocess.Popen[Any], seconds: float = 15) -> int:
    """Asks a process to end; if it doesn't within `seconds`, kills it and its children. Returns its status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()
