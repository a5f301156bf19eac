"""The lock on a registry: all processes that write to it and share `artifacts` take turns."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock


@contextlib.contextmanager
def registry_lock(artifacts: Path) -> Iterator[None]:
    """Waits until no other process has the lock, and holds it.

    Raises:
        OSError: `artifacts` can't be written.
    """
    artifacts.mkdir(parents=True, exist_ok=True)
    with FileLock(artifacts / ".registry.lock"):
        yield
