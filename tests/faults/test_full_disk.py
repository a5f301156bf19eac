"""A full disk: a training says so in one line and publishes nothing partly; once there is space, the next one works.

A full disk is simulated at the file operations of a training, at all of them with `--every-operation` and else at the
ones that `test_killed` uses: from that operation on no file or folder can be made, or no byte can be written. A disk
that is really full is a small file system in memory, in a namespace of its own. Where none can be mounted, that test is
skipped.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tabserve.registry.file_registry import FileRegistry
from tabserve.registry.filestore import FileStore
from tests.support.forks import Ended
from tests.support.invariants import REPAIRED, check_next_training, check_readable, in_parallel
from tests.support.nursery import Nursery
from tests.support.operations import Point, one_per_kind
from tests.support.waiting import patient
from tests.support.workspaces import Workspace

CHAIN = 10
"""How many trainings fail one after the other in a folder before a training has enough space there."""


def check_failed(workspace: Workspace, live: str, ended: Ended) -> None:
    """The champion stays, and the training ended with one line that names the cause, or needed the disk no more."""
    check_readable(workspace, live)
    assert ended.status in (0, 1), ended.err
    messages = [line for line in ended.err.splitlines() if not REPAIRED.match(line)]
    if ended.status:
        assert len(messages) == 1, ended.err
        assert messages[0].startswith("train_model.py: "), ended.err
        assert any(cause in messages[0] for cause in ("No space left on device", "File too large")), ended.err
    else:
        assert messages == [], ended.err


@pytest.mark.timeout(patient(1200))
def test_full_disk_at_any_file_operation_keeps_the_champion(
    nurseries: list[Nursery], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Whichever file operation of a training finds the disk full, the training ends with status 1 and one line that
    says so, the champion stays, nothing is published partly, and once there is space the next training works."""
    template = Workspace(tmp_path / "template")
    template.folder.mkdir()
    nurseries[0].points(template)
    work = Workspace(tmp_path / "work")
    shutil.copytree(template.folder, work.folder)
    points = nurseries[0].points(work)
    if not pytestconfig.getoption("--every-operation"):
        points = one_per_kind(points)
    statuses = []

    def fill(nursery: Nursery, chain: list[Point]) -> None:
        workspace = Workspace(tmp_path / f"{chain[0].number}-{chain[0].opened}")
        shutil.copytree(template.folder, workspace.folder)
        for point in chain:
            live = workspace.store().champion().model_version
            ended = nursery.train(workspace, "full", point)
            statuses.append(ended.status)
            try:
                check_failed(workspace, live, ended)
            except AssertionError as error:
                raise AssertionError(f"{point}: {error}") from error
        check_next_training(nursery, workspace)

    in_parallel(nurseries, [points[start : start + CHAIN] for start in range(0, len(points), CHAIN)], fill)
    assert sum(statuses) > len(points) / 2  # the others needed no more space


# -- a disk that is really full

PAGE = 4096


class Outside(Workspace):
    """A workspace in the file system of another process, under a path of /proc that must not be resolved."""

    def store(self) -> FileRegistry:
        store = super().store()
        assert isinstance(store, FileRegistry)
        store.files = FileStore(self.folder / "mlruns", self.artifacts)
        return store


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Nursery, Path]]:
    """A nursery with a file system of 16 MB in memory, which only it sees, and the path to that from outside."""
    mount = tmp_path / "small"
    mount.mkdir()
    prefix = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    prefix += ['mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"', str(mount)]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("no file system can be mounted in a namespace here: no training met a disk that is really full")
    nursery = Nursery(*prefix)
    yield nursery, Path(f"/proc/{nursery.pid}/root{mount}")
    nursery.close()


def test_really_full_disk_keeps_the_champion(small: tuple[Nursery, Path], tmp_path: Path) -> None:
    """With no space on a real disk, and with more and more until it is enough, a training says in one line that the
    disk is full, the champion stays, and nothing is published partly; once there is space the next training works."""
    nursery, outside = small
    workspace = Workspace(tmp_path / "small" / "work")
    same = Outside(outside / "work")
    same.folder.mkdir()
    assert nursery.train(workspace).status == 0
    statuses = []
    for pages in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610):
        filler = outside / "filler"
        free = os.statvfs(outside).f_bavail * os.statvfs(outside).f_frsize
        filler.write_bytes(bytes(free - pages * PAGE))
        live = same.store().champion().model_version
        ended = nursery.train(workspace)
        check_failed(same, live, ended)
        statuses.append(ended.status)
        filler.unlink()
    assert (statuses[0], statuses[-1]) == (1, 0)
    check_next_training(nursery, workspace, same)
