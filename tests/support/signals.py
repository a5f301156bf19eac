"""A training that gets a signal after one of its steps."""

import re
import signal
import subprocess

from tests.support.project import PYTHON, ROOT
from tests.support.waiting import LONG_LIMIT
from tests.support.workspaces import Workspace

STEP = r" *\d+\.\d\d s  "
"""How the line begins that a training prints after each step."""

TRAINING = f"""
import os, re, sys
import train_model

class Output:
    signal, steps = int(sys.argv[1]), int(sys.argv[2])

    def write(self, text):
        sys.__stdout__.write(text)
        self.steps -= bool(re.match({STEP!r}, text))
        if not self.steps:
            self.steps = -1
            self.flush()
            os.kill(os.getpid(), self.signal)

    def flush(self):
        sys.__stdout__.flush()

sys.stdout = Output()
sys.exit(train_model.main(["--n-estimators", "5"]))
"""
"""The training sends itself the signal. One from another process may come late on a busy machine."""


def train_with_signal(workspace: Workspace, number: signal.Signals, after: int) -> "subprocess.CompletedProcess[str]":
    """Trains in a process that gets this signal after so many steps."""
    return subprocess.run(
        [PYTHON, "-c", TRAINING, str(int(number)), str(after)],
        cwd=workspace.folder,
        env=workspace.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LONG_LIMIT,
        check=False,
    )


def count_steps(output: str) -> int:
    """How many steps a training has printed."""
    return len(re.findall(f"^{STEP}", output, re.MULTILINE))
