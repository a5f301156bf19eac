"""The check of the project itself: lint, format, types, import rules, tests. Standard library only.

To be replaced by `tests.check`: `bootstrap.check` then runs `python -m tests.check` and this module is deleted.
"""

from pathlib import Path

from tabserve.cli.processes import Command, StepError, report, run_step

LINTER = "from importlinter.cli import lint_imports_command; lint_imports_command()"
COMMANDS = {
    "lint": ("-m", "ruff", "check", "."),
    "format": ("-m", "ruff", "format", "--check", "."),
    "types": ("-m", "mypy"),
    "import rules": ("-c", LINTER),
    "tests": ("-m", "pytest", "-n", "2", "--dist", "loadfile"),  # most of them wait for one process at a time
}


def check_project(root: Path) -> None:
    """Runs every part, also after one failed.

    Raises:
        StepError: naming the parts that failed.
    """
    failed = []
    for name, arguments in COMMANDS.items():
        try:
            run_step(name, Command(" ".join(("python", *arguments)), arguments), folder=root)
        except StepError:
            failed.append(name)
    if failed:
        raise StepError(f"failed: {', '.join(failed)}")
    report("check", f"{', '.join(COMMANDS)}: all good")
