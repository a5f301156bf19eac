"""`run_pipeline.py`: sets up the environment, then runs the pipeline or the check of the project.

Standard library only: it runs before anything is installed.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tabserve.cli import environment, pipeline
from tabserve.cli.processes import Command, StepError, stop

SCRIPTS = pipeline.Steps(
    train=Command("python train_model.py", ("train_model.py",)),
    serve=Command("python api.py", ("api.py",)),
    test=Command("python test_api.py", ("test_api.py",)),
)


def main(argv: Sequence[str] | None = None, *, root: Path, program: str) -> int:
    """The exit status of `run_pipeline.py`, which lies in `root` and is called `program`."""
    arguments = sys.argv[1:] if argv is None else argv
    description = "Set up the environment, train, serve, test over HTTP, print every address, and go on serving."
    options = pipeline.parse(arguments, program, description, with_check=True)

    def work() -> None:
        environment.enter(root, root / program, arguments)
        if options.check:
            environment.install(root / "requirements-dev.txt")
            check_project(root)
        else:
            environment.install(root / "requirements.txt")
            pipeline.run(options, SCRIPTS, root)

    return pipeline.exit_status(program, work)


def check_project(root: Path) -> None:
    """Runs every part of the check, `tests.check`, which says at its end what failed.

    Raises:
        StepError: something failed.
    """
    process = subprocess.Popen([sys.executable, "-m", "tests.check"], cwd=root, start_new_session=True)
    try:
        status = process.wait()
    finally:
        stop(process)
    if status:
        raise StepError(status=max(status, 1))
