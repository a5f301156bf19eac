"""Temporary files where they are swept: what a library is writing when its process is killed stays where it is."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def files_in(folder: Path) -> Iterator[None]:
    """Makes this folder the one for the temporary files of the whole process, until the block ends; then it is gone.

    Raises:
        OSError: it can't be made.
    """
    folder.mkdir(exist_ok=True)
    before, tempfile.tempdir = tempfile.tempdir, str(folder.absolute())
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
