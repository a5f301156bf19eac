"""Ways to damage a release, or to change what its manifest says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tabserve.model.release import MANIFEST


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Has the function change the manifest in place, and writes it again."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def flip_last_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def set_scikit_learn(folder: Path, version: str | None) -> None:
    """Makes the manifest name this version of scikit-learn as the one it was trained with; None: no library at all."""
    edit_manifest(
        folder, lambda manifest: manifest["metadata"].update(libraries={"scikit-learn": version} if version else {})
    )
