"""A disk that is full: it is said in a line, nothing half is published, and with room again the next training works.

That the disk is full is played at the operations on files of which `test_killed` tells, all with `--every-operation`:
from there on no file or folder can be made, or none can be written to. A disk that is really full is a small file
system in memory, in a namespace of its own; where none can be mounted, that test is left out, and says so.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tabserve.registry.file_registry import FileRegistry
from tabserve.registry.filestore import FileStore
from tests.support.faults import Ended, Nursery, Point, one_of_a_kind
from tests.support.kills import REPAIRED, check_next, check_now, two_at_a_time
from tests.support.workspaces import Workspace

CHAIN = 10
"""How many trainings fail one after the other in a folder before one may succeed there."""


def check_failed(workspace: Workspace, live: str, ended: Ended) -> None:
    """It says in a line what the matter is, and what was live is live; or it did not need the disk any more."""
    check_now(workspace, live)
    assert ended.status in (0, 1), ended.err
    said = [line for line in ended.err.splitlines() if not REPAIRED.match(line)]
    if ended.status:
        assert len(said) == 1, ended.err
        assert said[0].startswith("train_model.py: "), ended.err
        assert any(cause in said[0] for cause in ("No space left on device", "File too large")), ended.err
    else:
        assert said == [], ended.err


@pytest.mark.timeout(600)
def test_a_disk_that_fills_up_harms_nothing(
    nurseries: list[Nursery], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """From whichever of its file operations on a training finds the disk full: it says so in a line with status 1, what
    was live is live, nothing half is published, and once there is room the next one works."""
    template = Workspace(tmp_path / "template")
    template.folder.mkdir()
    nurseries[0].points(template)
    work = Workspace(tmp_path / "work")
    shutil.copytree(template.folder, work.folder)
    points = nurseries[0].points(work)
    if not pytestconfig.getoption("--every-operation"):
        points = one_of_a_kind(points)
    failed = []

    def fill(nursery: Nursery, chain: list[Point]) -> None:
        workspace = Workspace(tmp_path / f"{chain[0].number}-{chain[0].opened}")
        shutil.copytree(template.folder, workspace.folder)
        for point in chain:
            live = workspace.store().champion().model_version
            ended = nursery.train(workspace, "full", point)
            failed.append(ended.status)
            try:
                check_failed(workspace, live, ended)
            except AssertionError as error:
                raise AssertionError(f"{point}: {error}") from error
        check_next(nursery, workspace)

    two_at_a_time(nurseries, [points[start : start + CHAIN] for start in range(0, len(points), CHAIN)], fill)
    assert sum(failed) > len(points) / 2  # the others needed no room any more


# -- a disk that is really full

PAGE = 4096


class Outside(Workspace):
    """A workspace in another process's file system, seen through a path that must not be resolved."""

    def store(self) -> FileRegistry:
        store = super().store()
        assert isinstance(store, FileRegistry)
        store.files = FileStore(self.folder / "mlruns", self.artifacts)
        return store


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Nursery, Path]]:
    """A nursery with a file system of 16 MB in memory that it alone has, and the way there from outside."""
    mount = tmp_path / "small"
    mount.mkdir()
    own = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    own += ['mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"', str(mount)]
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the disk that is really full was left out: no file system can be mounted in a namespace here")
    nursery = Nursery(*own)
    yield nursery, Path(f"/proc/{nursery.pid}/root{mount}")
    nursery.close()


def test_a_disk_that_is_full_harms_nothing(small: tuple[Nursery, Path], tmp_path: Path) -> None:
    """With nothing left on a real disk, and with more and more until it is enough, a training says in a line that it is
    full, what was live is live, and nothing half is published; with room again the next one works."""
    nursery, outside = small
    workspace = Workspace(tmp_path / "small" / "work")
    seen = Outside(outside / "work")
    seen.folder.mkdir()
    assert nursery.train(workspace).status == 0
    failed = []
    for pages in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610):
        filler = outside / "filler"
        free = os.statvfs(outside).f_bavail * os.statvfs(outside).f_frsize
        filler.write_bytes(bytes(free - pages * PAGE))
        live = seen.store().champion().model_version
        ended = nursery.train(workspace)
        check_failed(seen, live, ended)
        failed.append(ended.status)
        filler.unlink()
    assert (failed[0], failed[-1]) == (1, 0)
    check_next(nursery, workspace, seen)
