"""Where a model comes from: the commit of the code and the versions of the libraries. Standard library only."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("scikit-learn", "numpy", "pandas", "llvmlite", "skops", "mlflow")
"""The libraries that a model's numbers, or loading it, depend on."""


def libraries() -> dict[str, str]:
    """Library → version, and Python's own."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def git_commit(root: Path) -> str:
    """The commit of the checkout in `root`, with `-dirty` if tracked files differ from it; `unknown` outside of one."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
