"""Releases that are not as they were written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tabserve.model.release import MANIFEST


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def flip_last_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def made_with(folder: Path, version: str | None) -> None:
    """Says that it was made with this scikit-learn; None: with none that it names."""
    edit(folder, lambda manifest: manifest["metadata"].update(libraries={"scikit-learn": version} if version else {}))
