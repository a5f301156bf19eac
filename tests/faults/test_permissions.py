"""Read-only folders and unreadable files: a command names them in one line, and leaves nothing half done.

Root may read and write everything, so as root the commands run without the capabilities for that.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.client import health, post, served_version
from tests.support.models import ROW
from tests.support.servers import serving
from tests.support.waiting import until
from tests.support.workspaces import Workspace

VERSION = "mlruns/models/iris-classifier/version-1"


class Plain(Workspace):
    """A workspace whose commands have the permissions of an ordinary user."""

    forks = False

    def command(self, script: str) -> list[str]:
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        return [*prefix, *super().command(script)]


@pytest.fixture
def plain(workspace: Workspace) -> Plain:
    return Plain(workspace.folder)


@contextmanager
def without(bits: int, *paths: Path) -> Iterator[None]:
    """Takes these permissions away from the paths during the block."""
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
def test_read_only_folder_is_named_and_nothing_changes(plain: Plain, folder: str, script: list[str]) -> None:
    """With `mlruns` or `artifacts` read-only, a training and a promotion end with status 1 and one line that names the
    folder, and change no file."""
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
def test_unreadable_registry_file_is_named_and_not_repaired(plain: Plain, file: str, script: list[str]) -> None:
    """With an unreadable file in the registry, a training and the list of versions end with status 1 and one line that
    names it; the file doesn't count as broken, and the champion is the same once it can be read."""
    champion = plain.store().champion()
    with without(0o777, plain.folder / file):
        done = plain.run(*script)
    assert done.returncode == 1, done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{script[0]}: ")
    assert "Permission denied" in line
    assert file in line
    assert plain.store().champion() == champion
    assert plain.versions() == [champion.model_version]


def test_api_serves_from_read_only_folders(plain: Plain) -> None:
    """With both folders read-only, the API is healthy, predicts, and logs no error."""
    (only,) = plain.versions()
    with without(0o222, *tree(plain.artifacts, plain.folder / "mlruns")), serving(plain) as (url, _):
        until(lambda: served_version(url) == only)
        assert health(url)["status"] == "healthy"
        assert post(f"{url}/predict", json=ROW).status_code == 200
    log = (plain.folder / "api.log").read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_unreadable_release_is_named_by_health(plain: Plain) -> None:
    """When no copy of the champion's release can be read, /health names the files and the cause."""
    manifests = list(plain.folder.rglob("manifest.json"))
    assert len(manifests) == 2
    with without(0o777, *manifests), serving(plain) as (url, _):
        until(lambda: "Permission denied" in (health(url)["reason"] or ""))
        reason = health(url)["reason"]
    assert all(str(manifest.relative_to(plain.folder)) in reason for manifest in manifests)
    assert "Traceback" not in (plain.folder / "api.log").read_text()
