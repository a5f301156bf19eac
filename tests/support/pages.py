"""README.md and docs/, read by the tests of the documentation; and the scripts that they name."""

import os
import re
import subprocess
from functools import cache
from pathlib import Path

from tests.support.project import PYTHON, ROOT
from tests.support.waiting import LIMIT

README = ROOT / "README.md"
REFERENCE = ROOT / "docs" / "reference"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))

SCRIPTS = ("run_pipeline.py", "train_model.py", "promote_model.py", "api.py", "test_api.py")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(page: Path, heading: str) -> str:
    """What stands under a heading of the second level, up to the next one."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section '{heading}'"
    return found[1]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in this language; those without one for an empty text."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL)


@cache
def options_of(script: str) -> frozenset[str]:
    """The long options that `--help` names."""
    done = run_script(script, "--help")
    assert done.returncode == 0, done.stderr
    return frozenset(re.findall(r"(?<![\w-])--[a-zA-Z][a-zA-Z-]*", done.stdout))


def run_script(script: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [PYTHON, script, *arguments],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
