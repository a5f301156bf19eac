"""The whole check of the project: `python -m tests.check`, which `python run_pipeline.py --check` runs.

    python -m tests.check                 everything, about twenty minutes on two cores
    python -m tests.check types everyday  some parts of it

Every part runs, even if another one has failed. Parts that mostly wait run beside the others; the benchmarks run alone,
after all others. At the end stand what each part took, what was left out and why, how much of the package the tests
cover, and how many tests passed and failed. The status is 0 if nothing failed, and 1 otherwise.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.project import PYTHON, ROOT

SECONDS_TO_STOP = 10
"""How long interrupted parts may take to clean up. `run_pipeline.py` kills the whole check after 15 seconds."""

LINTER = "from importlinter.cli import lint_imports_command; lint_imports_command()"


@dataclass(frozen=True)
class Part:
    """A part of the check.

    Attributes:
        name: for the table and the command line.
        arguments: of the interpreter, or of pytest.
        is_tests: whether this is a run of pytest.
        is_measured: whether the coverage of these tests is measured, which makes them take half as long again.
        writes_much: whether its temporary files are kept in memory, if there is room.
        lane: parts of the same lane run one after the other, and the lanes run side by side.
    """

    name: str
    arguments: tuple[str, ...]
    is_tests: bool = True
    is_measured: bool = False
    writes_much: bool = False
    lane: str = "busy"

    @property
    def command(self) -> list[str]:
        coverage = ["-m", "coverage", "run"] if self.is_measured else []
        pytest = ["-m", "pytest", "-q"] if self.is_tests else []
        return [PYTHON, *coverage, *pytest, *self.arguments]


TWO_WORKERS = ("-n", "2", "--dist", "loadfile")

PARTS = (
    Part("everyday", ("tests/unit", "tests/http", "test_api.py", *TWO_WORKERS), is_measured=True),
    Part("commands", ("tests/commands", *TWO_WORKERS)),
    Part("processes", ("tests/processes", *TWO_WORKERS)),
    Part("gateways", ("tests/gateways",)),
    Part("faults", ("tests/faults", *TWO_WORKERS), writes_much=True),
    Part("lint", ("-m", "ruff", "check", "."), is_tests=False, lane="waiting"),
    Part("format", ("-m", "ruff", "format", "--check", "."), is_tests=False, lane="waiting"),
    Part("import-rules", ("-c", LINTER), is_tests=False, lane="waiting"),
    Part("types", ("-m", "mypy"), is_tests=False, lane="waiting"),
    Part("project", ("tests/project",), lane="waiting"),
    Part("browser", ("tests/browser",), lane="waiting"),
    Part("containers", ("tests/containers",), lane="waiting"),
    Part("benchmarks", ("tests/benchmarks",), lane="alone"),
)

MEMORY, ROOM = Path("/dev/shm"), 4 * 10**9
"""A folder in memory, if there is one, and how many bytes must be free in it. The kills at file operations spend half
as much time in the kernel there (63 s against 112 s)."""

ALWAYS_LEFT_OUT = "faults at every file operation, which take hours: pytest tests/faults --every-operation"


class Run:
    """A part that was started. Its output is kept back until it has ended, since parts run side by side."""

    def __init__(self, part: Part, environment: dict[str, str]) -> None:
        self.part = part
        self.seconds = 0.0
        self.output = ""
        self._started = time.monotonic()
        if part.writes_much and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM:
            self._folder = tempfile.TemporaryDirectory(dir=MEMORY)  # removed with this object
            environment = environment | {"TMPDIR": self._folder.name}
        log, self._log = tempfile.mkstemp()
        self._process = subprocess.Popen(
            part.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        os.close(log)

    def has_ended(self) -> bool:
        if self._process.poll() is None:
            return False
        self.seconds = time.monotonic() - self._started
        self.output = Path(self._log).read_text(encoding="utf-8", errors="replace")
        Path(self._log).unlink()
        return True

    @property
    def status(self) -> int:
        """The exit status, once it has ended."""
        return self._process.returncode

    def interrupt(self) -> None:
        """Makes it stop what it has started, and end."""
        self._process.send_signal(signal.SIGINT)

    def end_within(self, seconds: float) -> None:
        """Waits so long for its end, and then kills it with its child processes."""
        try:
            self._process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def summary(self) -> str:
        """The last line of pytest; of another tool, whether it found something."""
        if not self.part.is_tests:
            return "ok" if self.status == 0 else f"failed with status {self.status}"
        lines = re.findall(r"^=*\s*((?:\d+ [a-z]+,? ?)+ in \d.*?)\s*=*$", self.output, re.MULTILINE)
        return lines[-1] if lines else f"ended with status {self.status}"

    def count(self, outcome: str) -> int:
        """How many tests had this outcome, `passed` or `failed`. A run without a result counts as a failure."""
        if not self.part.is_tests:
            return 0
        found = re.findall(r"(\d+) ([a-z]+)", self.summary.partition(" in ")[0])
        counts = {word: int(number) for number, word in found}
        if outcome == "passed":
            return counts.get("passed", 0)
        failed = counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0)
        return max(failed, int(self.status != 0))

    @property
    def left_out(self) -> list[str]:
        """A line for each reason for which tests were skipped."""
        found = re.findall(r"^SKIPPED \[(\d+)\] \S+: (.+)$", self.output, re.MULTILINE)
        return [f"{number} of {self.part.name}: {reason}" for number, reason in found]


def run(parts: Sequence[Part], environment: dict[str, str]) -> list[Run]:
    """Runs the parts, each lane side by side with the others, and prints the output of each one that has ended."""
    lanes: dict[str, deque[Part]] = {}
    for part in parts:
        lanes.setdefault(part.lane, deque()).append(part)
    running: dict[str, Run] = {}
    ended: list[Run] = []
    with stopped_when_interrupted(running):
        while any(lanes.values()) or running:
            for lane, queue in lanes.items():
                if lane not in running and queue:
                    part = queue.popleft()
                    print(f"[check] {part.name} has started", flush=True)
                    running[lane] = Run(part, environment)
            time.sleep(0.05)
            for lane, current in list(running.items()):
                if current.has_ended():
                    del running[lane]
                    ended.append(current)
                    print(f"{current.output.rstrip()}\n[check] {current.part.name}: {current.summary}", flush=True)
    return ended


@contextmanager
def stopped_when_interrupted(running: dict[str, Run]) -> Iterator[None]:
    """Stops what is running if the block is interrupted."""
    try:
        yield
    except BaseException:
        for current in running.values():
            current.interrupt()
        deadline = time.monotonic() + SECONDS_TO_STOP
        for current in running.values():
            current.end_within(deadline - time.monotonic())
        raise


def coverage_of(environment: dict[str, str], is_whole: bool) -> tuple[str, bool]:
    """The report on what was measured, and whether coverage is high enough, which only the whole check can tell."""
    for arguments in (["combine", "--quiet"], ["report", *([] if is_whole else ["--fail-under=0"])]):
        done = subprocess.run(
            [PYTHON, "-m", "coverage", *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            break
    return done.stdout.rstrip(), done.returncode == 0


def report(runs: Sequence[Run], environment: dict[str, str]) -> int:
    """Prints the table and what follows it, and returns the status of the check."""
    failed = [run.part.name for run in runs if run.status]
    measured = [run.part.name for run in runs if run.part.is_measured]
    if measured:
        is_whole = set(measured) == {part.name for part in PARTS if part.is_measured}
        text, is_enough = coverage_of(environment, is_whole)
        print(f"\n{text}\n[check] this is the coverage of the package by: {', '.join(measured)}")
        if not is_enough:
            failed.append("coverage")
    width = max(len(run.part.name) for run in runs)
    print()
    for run in runs:
        print(f"{run.part.name:{width}}  {run.seconds / 60:4.1f} min  {run.summary}")
    print("\nleft out:")
    for line in [*(line for run in runs for line in run.left_out), ALWAYS_LEFT_OUT]:
        print(f"  {line}")
    print(f"\nfailed: {', '.join(failed) or 'nothing'}")
    passed, lost = (sum(run.count(outcome) for run in runs) for outcome in ("passed", "failed"))
    print(f"{passed} passed, {lost} failed", flush=True)
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.check", description="Check the project itself.")
    names = [part.name for part in PARTS]
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to run (default: all): {', '.join(names)}")
    chosen = parser.parse_args().parts
    if unknown := set(chosen) - set(names):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    parts = [part for part in PARTS if not chosen or part.name in chosen]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # whoever stops this process stops its parts
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"COVERAGE_FILE": str(Path(folder) / "coverage")}
        try:
            runs = run([part for part in parts if part.lane != "alone"], environment)
            runs += run([part for part in parts if part.lane == "alone"], environment)
        except KeyboardInterrupt:
            print("[check] interrupted", file=sys.stderr)
            return 130
        print(f"\n[check] {(time.monotonic() - started) / 60:.1f} minutes")
        return report(sorted(runs, key=lambda run: PARTS.index(run.part)), environment)


if __name__ == "__main__":
    sys.exit(main())
