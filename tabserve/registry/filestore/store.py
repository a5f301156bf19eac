"""The file store: reads the registry's files without MLflow, and writes the ones that must appear in one step."""

import contextlib
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import yaml

from tabserve.model import temporary
from tabserve.registry.filestore import layout
from tabserve.registry.filestore.layout import (
    META,
    is_complete,
    model_folder,
    models_folder,
    replace_meta,
    write_atomically,
)
from tabserve.registry.filestore.repair import Repair
from tabserve.registry.lock import registry_lock

STORED_IN = re.compile(
    r"^storage_location: (?P<location>\S*?(?P<place>[^/\s]+/models/m-[0-9a-f]{32}/artifacts))$", re.MULTILINE
)
"""The line of a version's `meta.yaml` that says where its logged model is: `place` is the part within the store."""


@dataclass(frozen=True)
class VersionFiles:
    """What the files of a registered version say."""

    number: str
    run_id: str
    tags: dict[str, str]


class FileStore:
    """The file store in `folder`. Its lock and its broken entries are in `artifacts`."""

    def __init__(self, folder: Path, artifacts: Path) -> None:
        self.folder, self._artifacts = folder, artifacts
        self.repair = Repair(folder, artifacts)

    # -- reading

    def models(self) -> list[str]:
        """The names of the registered models."""
        folder = models_folder(self.folder)
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []

    def version_with_alias(self, name: str, alias: str, tags: Collection[str]) -> VersionFiles | None:
        """The version of a model that carries the alias, with those of the named tags that it has.

        None if a file isn't as MLflow leaves it, also at the second look. Then ask MLflow, which says what is wrong.
        Asking MLflow first would cost each server a second and 150 MB.
        """
        version = self._version_with_alias(name, alias, tags)
        if version is None:
            time.sleep(layout.SECOND_LOOK)
            version = self._version_with_alias(name, alias, tags)
        return version

    def _version_with_alias(self, name: str, alias: str, tags: Collection[str]) -> VersionFiles | None:
        model = model_folder(self.folder, name)
        try:
            number = (model / "aliases" / alias).read_text(encoding="utf-8").strip()
            version = model / f"version-{int(number)}"
            meta = yaml.safe_load((version / META).read_text(encoding="utf-8"))
            files = {tag: version / "tags" / tag for tag in tags}
            values = {tag: file.read_text(encoding="utf-8") for tag, file in files.items() if file.is_file()}
        except (OSError, ValueError, yaml.YAMLError):
            return None
        if not isinstance(meta, dict) or (meta.get("name"), str(meta.get("version"))) != (name, number):
            return None
        if meta.get("current_stage") == "Deleted_Internal" or not isinstance(meta.get("run_id"), str):
            return None
        return VersionFiles(number, meta["run_id"], values)

    def has_alias(self, name: str, alias: str) -> bool:
        """Whether the model carries the alias. Also True if the model is incomplete, so that the files can't tell."""
        model = model_folder(self.folder, name)
        return (model / "aliases" / alias).exists() or not is_complete(model / META)

    def aliases(self, name: str) -> dict[str, str]:
        """The model's aliases → the numbers of their versions. An alias whose file holds no number, also at the second
        look, is left out."""
        aliases = self._aliases(name)
        if not all(map(str.isdecimal, aliases.values())):
            time.sleep(layout.SECOND_LOOK)
            aliases = self._aliases(name)
        return {alias: number for alias, number in aliases.items() if number.isdecimal()}

    def _aliases(self, name: str) -> dict[str, str]:
        aliases = {}
        with contextlib.suppress(FileNotFoundError):  # the folder, before the first alias; a file that is removed now
            for file in (model_folder(self.folder, name) / "aliases").iterdir():
                aliases[file.name] = file.read_text(encoding="utf-8", errors="replace").strip()
        return aliases

    def model_tags(self, name: str, prefix: str) -> dict[str, str]:
        """The tags of the registered model whose keys start with the prefix."""
        tags = {}
        for file in (model_folder(self.folder, name) / "tags").glob(f"{prefix}*"):
            with contextlib.suppress(OSError, ValueError):  # removed meanwhile, or no text
                tags[file.name] = file.read_text(encoding="utf-8")
        return tags

    def has_tag(self, key: str, value: str) -> bool:
        """Whether a registered version of any model has this tag."""
        files = models_folder(self.folder).glob(f"*/version-*/tags/{key}")
        return any(file.read_text(encoding="utf-8") == value for file in files)

    def local_path(self, location: str) -> Path:
        """The folder of a relative artifact location."""
        return self.folder.parent / unquote(location)

    # -- writing

    def add_model_tag(self, name: str, key: str, text: str) -> None:
        """Adds a tag to the registered model as MLflow does, but in one step."""
        self._put(name, Path("tags") / key, text)

    def set_alias(self, name: str, alias: str, number: str) -> None:
        """Gives the alias to a version as MLflow does, but in one step. MLflow empties the file before it writes it: a
        kill, or a full disk, would leave the model without the alias."""
        self._put(name, Path("aliases") / alias, number)

    def _put(self, name: str, file: Path, text: str) -> None:
        model = model_folder(self.folder, name)
        (model / file.parent).mkdir(exist_ok=True)
        # aside is not in the same folder: MLflow takes every file there for a tag or an alias
        write_atomically(model / file, text, model / ".file.new")

    def make_movable(self, experiment_id: str) -> None:
        """Makes an experiment's artifact location relative if nothing is logged in the experiment yet.

        MLflow stores an absolute path, and every run inherits it: nothing is found once the folder is renamed, moved or
        mounted elsewhere. Whatever is logged after this inherits the relative path.
        """
        meta = self.folder / experiment_id / META
        content = yaml.safe_load(meta.read_text(encoding="utf-8"))
        relative = f"{quote(self.folder.name)}/{experiment_id}"  # quoted: MLflow reads it as a part of a URI
        is_empty = not any(entry.is_dir() for entry in meta.parent.iterdir() if entry.name != "tags")
        if is_empty and content["artifact_location"] != relative:
            replace_meta(meta, content | {"artifact_location": relative})

    def locate_versions(self, name: str) -> None:
        """Writes into each version of a model where its logged model is now, as an absolute URI.

        MLflow loads `models:/NAME@ALIAS` from there, and a relative location would start in the working directory. The
        folder may have moved since. What can't be written stays as it is: it is of use to people's scripts only.
        """
        for meta in model_folder(self.folder, name).glob(f"version-*/{META}"):
            with contextlib.suppress(OSError, ValueError):
                found = STORED_IN.search(meta.read_text(encoding="utf-8"))
                if not found or not (self.folder / found["place"]).is_dir():
                    continue
                location = (self.folder / found["place"]).as_uri()
                if location != found["location"]:
                    replace_meta(meta, layout.read_meta(meta) | {"storage_location": location})

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lets one process write at a time: two trainings that register at once would take the same number.

        MLflow writes a file in the folder for temporary files and then moves it into the store. If `/tmp` is another
        file system, the move is a copy, and a kill can cut it. So while the lock is held, temporary files are in
        `artifacts`.

        Raises:
            OSError: `artifacts` can't be written.
        """
        with registry_lock(self._artifacts), temporary.files_in(self._artifacts / ".registry.tmp"):
            yield
