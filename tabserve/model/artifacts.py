"""The folder of artifacts: one sub-folder per model version, which appears whole or not at all.

A training claims a model version as a `Draft`, writes it aside and renames it. A fetched release is cached the same
way. Knows files and locks; doesn't know what a release holds.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from tabserve.errors import ReleaseError
from tabserve.model import temporary
from tabserve.model.release import VERSION_FORMAT


@dataclass(frozen=True)
class Draft:
    """A model version that is being written.

    Attributes:
        folder: where to write.
        final: where `publish` moves it.
        token: identifies this draft, even if another machine claims the same version.
    """

    model_version: str
    folder: Path
    final: Path
    token: str = ""

    @property
    def started(self) -> datetime:
        """When the version was claimed, in UTC: the model version as a time."""
        return datetime.strptime(self.model_version, VERSION_FORMAT).replace(tzinfo=UTC)

    def publish(self) -> Path:
        """Flushes the content to disk, then renames the folder to its final name in one step."""
        for file in self.folder.rglob("*"):
            _fsync(file)
        _fsync(self.folder)
        self.folder.rename(self.final)
        _fsync(self.final.parent)
        return self.final


@contextmanager
def draft(
    artifacts: Path,
    is_taken: Callable[[str], bool] = lambda _: False,
    mark_killed: Callable[[str, str], None] = lambda _, __: None,
) -> Iterator[Draft]:
    """Claims a new model version, named after the current second in UTC, and gives a folder to write it in.

    If another training has claimed that second, this one waits for the next, so the name stays true. `is_taken` says
    whether a version exists elsewhere, for a store that several machines share. Drafts of trainings that ended early
    are removed first, and `mark_killed` is called with the version and the token of each before its removal. On exit
    the folder is removed unless it was published. Until then temporary files, such as those of the model that MLflow
    logs, are written beside it, and are removed with it.

    Raises:
        ReleaseError: `artifacts` can't be written.
    """
    try:
        artifacts.mkdir(parents=True, exist_ok=True)
        with FileLock(artifacts / ".lock"):
            _sweep(artifacts, mark_killed)
            version = datetime.now(UTC).strftime(VERSION_FORMAT)
            while _paths(artifacts, version)[1].exists() or _paths(artifacts, version)[0].exists() or is_taken(version):
                time.sleep(0.02)  # until the clock shows another second
                version = datetime.now(UTC).strftime(VERSION_FORMAT)
            folder, final = _paths(artifacts, version)
            lock = FileLock(folder.with_suffix(".lock"))
            lock.acquire()
            token = secrets.token_hex(8)
            Path(lock.lock_file).write_text(token, encoding="ascii")
            folder.mkdir()
    except OSError as error:
        raise ReleaseError(
            f"{artifacts} can't be written: {error.strerror}. Make it writable for this user, or choose another folder"
        ) from error
    try:
        with temporary.files_in(folder.with_suffix(".tmp")):
            yield Draft(version, folder, final, token)
        Path(lock.lock_file).unlink(missing_ok=True)
    finally:  # after a failure the lock file stays: the next training sees that this one ended early
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def cache(artifacts: Path, model_version: str, folder: Path) -> None:
    """Copies a fetched release into `artifacts`, where it appears in one step. Does nothing if the version is there, if
    another process is writing it, or if the folder can't be written."""
    partial, final = _paths(artifacts, model_version)
    with contextlib.suppress(OSError):
        artifacts.mkdir(parents=True, exist_ok=True)
        with FileLock(partial.with_suffix(".lock"), timeout=0) as lock:
            shutil.rmtree(partial, ignore_errors=True)  # left by a killed process
            try:
                shutil.copytree(folder, partial / folder.name)
                Draft(model_version, partial, final).publish()
            finally:
                shutil.rmtree(partial, ignore_errors=True)
                Path(lock.lock_file).unlink(missing_ok=True)


def remove(artifacts: Path, model_version: str) -> int:
    """Removes a version from `artifacts`, where it disappears in one step. Returns its size in bytes, 0 if it wasn't
    there."""
    partial, final = _paths(artifacts, model_version)
    if not final.is_dir():
        return 0
    size = sum(file.stat().st_size for file in final.rglob("*") if file.is_file())
    with FileLock(
        partial.with_suffix(".lock")
    ) as lock:  # named as a draft's, so that `_sweep` finishes a killed removal
        final.rename(partial)
        shutil.rmtree(partial)
        Path(lock.lock_file).unlink(missing_ok=True)
    return size


def _paths(artifacts: Path, version: str) -> tuple[Path, Path]:
    return artifacts / f".{version}.partial", artifacts / version


def _sweep(artifacts: Path, mark_killed: Callable[[str, str], None]) -> None:
    """Removes the drafts of trainings that have ended: nobody holds their lock. The lock file is removed last, so that
    a sweep that is killed is done again."""
    for file in {draft_file.with_suffix(".lock") for draft_file in artifacts.glob(".[0-9]*_[0-9]*.*")}:
        with contextlib.suppress(Timeout), FileLock(file, timeout=0):
            mark_killed(file.stem.removeprefix("."), file.read_text(encoding="ascii"))
            for suffix in (".partial", ".tmp"):
                shutil.rmtree(file.with_suffix(suffix), ignore_errors=True)
            file.unlink()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
