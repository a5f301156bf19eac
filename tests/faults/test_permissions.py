"""Folders that may not be written and files that may not be read: it is said in a line which, and nothing is half done.

Root may do anything, so as root the scripts run without the capabilities that say so.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.support.models import ROW
from tests.support.servers import serving, version
from tests.support.waiting import until
from tests.support.workspaces import Workspace

VERSION = "mlruns/models/iris-classifier/version-1"


class Plain(Workspace):
    """A workspace whose scripts may do what any user may."""

    def command(self, script: str) -> list[str]:
        as_anyone = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        return [*as_anyone, *super().command(script)]


@pytest.fixture
def plain(workspace: Workspace) -> Plain:
    return Plain(workspace.folder)


@contextmanager
def without(bits: int, *paths: Path) -> Iterator[None]:
    """Takes these permissions away from the paths, and gives them back."""
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~bits)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def tree(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in (folder, *folder.rglob("*"))]


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.mark.parametrize("script", [["train_model.py", "--folds", "2"], ["promote_model.py", "1", "--why", "x"]])
@pytest.mark.parametrize("folder", ["mlruns", "artifacts"])
def test_a_folder_that_is_read_only_is_named(plain: Plain, folder: str, script: list[str]) -> None:
    """With one of the two folders read-only a training and a promotion end with status 1 and one line that says so, and
    what was live is live; nothing is half written."""
    plain.train("--n-estimators", "5", "--promote", "never")
    plain.store().connect().set_registered_model_alias("iris-classifier", "champion", "2")
    before = content(plain.folder)
    with without(0o222, *tree(plain.folder / folder)):
        done = plain.run(*script)
    assert done.returncode == 1, done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{script[0]}: ")
    assert folder in line
    assert "Permission denied" in line
    assert content(plain.folder) == before


@pytest.mark.parametrize("script", [["train_model.py", "--folds", "2"], ["promote_model.py"]])
@pytest.mark.parametrize("file", [f"{VERSION}/meta.yaml", "mlruns/models/iris-classifier/meta.yaml"])
def test_a_file_that_is_unreadable_is_named(plain: Plain, file: str, script: list[str]) -> None:
    """With a file of the registry that can't be read a training and a look at the list end with status 1 and one line
    that names it; it isn't taken for broken, and what was live is live once it can be read."""
    live = plain.store().champion()
    with without(0o777, plain.folder / file):
        done = plain.run(*script)
    assert done.returncode == 1, done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{script[0]}: ")
    assert "Permission denied" in line
    assert file in line
    assert plain.store().champion() == live
    assert plain.versions() == [live.model_version]


def test_an_api_needs_to_write_nothing(plain: Plain) -> None:
    """With both folders read-only the API is healthy, predicts, and has nothing to complain of."""
    (only,) = plain.versions()
    with without(0o222, *tree(plain.artifacts, plain.folder / "mlruns")), serving(plain) as (url, _):
        until(lambda: version(url) == only)
        assert requests.get(f"{url}/health", timeout=10).json()["status"] == "healthy"
        assert requests.post(f"{url}/predict", json=ROW, timeout=10).status_code == 200
    log = (plain.folder / "api.log").read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_a_release_that_is_unreadable_is_named(plain: Plain) -> None:
    """Where no copy of the champion's release can be read, /health says which file and why."""
    manifests = list(plain.folder.rglob("manifest.json"))
    assert len(manifests) == 2
    with without(0o777, *manifests), serving(plain) as (url, _):
        until(lambda: "Permission denied" in requests.get(f"{url}/health", timeout=10).text)
        reason = requests.get(f"{url}/health", timeout=10).json()["reason"]
    assert all(str(manifest.relative_to(plain.folder)) in reason for manifest in manifests)
    assert "Traceback" not in (plain.folder / "api.log").read_text()
