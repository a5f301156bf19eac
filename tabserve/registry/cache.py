"""The releases in `artifacts/`, and which of them were live: what a server starts with if the registry is unreachable.

Knows files, not MLflow.
"""

import contextlib
import json
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from tabserve.model import artifacts, release
from tabserve.model.release import Release
from tabserve.model.versions import RegisteredVersion

RELEASE = "release"
"""Folder of the release among a run's artifacts, and in `artifacts/<model_version>/`."""

MAX_REMEMBERED = 10
"""How many versions that were live are remembered."""

_VERSIONS = TypeAdapter(list[RegisteredVersion])


class ReleaseCache:
    """The releases in `folder`, the folder of artifacts. `followed` names the model, the alias and the store whose
    versions are remembered: several models and stores may share the folder."""

    def __init__(self, folder: Path, followed: str) -> None:
        self._folder = folder
        self._memory = folder / f".live-{release.sha256(followed.encode())[:12]}.json"

    def read(self, version: RegisteredVersion) -> Release:
        """The release of a version.

        Raises:
            ReleaseError: it isn't there as it was registered.
        """
        return release.read(self._folder / version.model_version / RELEASE, version.checksum)

    def add(self, version: RegisteredVersion, source: Path) -> None:
        """Copies a fetched release from the folder `source`. Does nothing if the cache's folder can't be written."""
        artifacts.cache(self._folder, version.model_version, source)

    def remember(self, version: RegisteredVersion) -> None:
        """Remembers that a version was live. Does nothing if the cache's folder can't be written."""
        aside = self._memory.with_suffix(".new")
        with contextlib.suppress(OSError), FileLock(self._memory.with_suffix(".lock")):
            others = [earlier for earlier in self.remembered() if earlier.checksum != version.checksum]
            content = json.dumps([asdict(remembered) for remembered in [version, *others][:MAX_REMEMBERED]])
            aside.write_text(content, encoding="utf-8")
            aside.replace(self._memory)

    def remembered(self) -> list[RegisteredVersion]:
        """The versions that were live, the latest first."""
        try:
            return _VERSIONS.validate_json(self._memory.read_bytes(), strict=True)
        except (OSError, ValidationError):
            return []
