"""Redirects the process's temporary files into a folder that is cleaned up, even after a kill."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def files_in(folder: Path) -> Iterator[None]:
    """Makes `folder` the place for all temporary files of this process until the block ends, then removes it.

    If the process is killed, what a library was writing stays in `folder`, where the next training removes it.

    Raises:
        OSError: the folder can't be made.
    """
    folder.mkdir(exist_ok=True)
    before, tempfile.tempdir = tempfile.tempdir, str(folder.absolute())
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
