"""The environment of run_pipeline.py: usable, and filled with what is missing."""

from pathlib import Path

import requests

from tabserve.cli import environment
from tests.support.project import PYTHON, ROOT


def test_only_missing_packages_are_installed(tmp_path: Path) -> None:
    """Of a lock, a package that is installed in that version or isn't for this platform is left out; the others keep
    their hashes."""
    assert environment.missing_requirements(ROOT / "requirements-dev.txt") == []
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "# a comment\n"
        "NumPy==0.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via pandas\n"
        f"requests=={requests.__version__} \\\n    --hash=sha256:cc\n"
        "pywin32==1 ; sys_platform == 'win32' \\\n    --hash=sha256:dd\n"
        "not-there==2 ; python_version >= '3.11' \\\n    --hash=sha256:ee\n"
    )
    assert environment.missing_requirements(lock) == [
        "NumPy==0.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb",
        "not-there==2 ; python_version >= '3.11' \\\n    --hash=sha256:ee",
    ]


def test_half_made_environment_is_not_usable(tmp_path: Path) -> None:
    """An environment is usable if its interpreter runs and has pip."""
    python = tmp_path / "bin" / "python"
    assert not environment.is_usable(python)
    python.parent.mkdir()
    python.symlink_to("/nowhere")
    assert not environment.is_usable(python)
    assert environment.is_usable(Path(PYTHON))
