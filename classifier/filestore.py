"""The files of MLflow's file store, where they need more care than MLflow takes.

The only module that knows how MLflow lays them out: `<store>/<experiment>/meta.yaml`, `<store>/<experiment>/datasets/`,
`<store>/models/<name>/version-<n>/` and `.../aliases/`. A file store has no transactions, so whoever writes several
files holds `lock`, and what a killed training left half written is mended before the next one. Nothing is deleted: it
is moved to `<artifacts>/.broken/`. Makes no call to MLflow and knows no release.
"""

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import yaml
from filelock import FileLock

log = logging.getLogger("classifier.filestore")

META = "meta.yaml"
BROKEN = ".broken"
PATIENCE = 0.2
"""Seconds after which a file that isn't whole is looked at again: MLflow's UI takes no lock, and may be writing it."""


@dataclass(frozen=True)
class Version:
    """A registered version, as its files have it."""

    number: str
    run_id: str
    tags: dict[str, str]


class FileStore:
    """The store in `folder`. Its lock, and what is moved aside, are in `artifacts`: MLflow trips over odd folders."""

    def __init__(self, folder: Path, artifacts: Path) -> None:
        self.folder, self._artifacts = folder, artifacts

    def has_model(self, name: str) -> bool:
        return (self.folder / "models" / name).is_dir()

    def aliased(self, name: str, alias: str, tags: Iterable[str]) -> Version | None:
        """The version of a model that carries the alias, with those of the named tags that it has.

        None where a file isn't as MLflow leaves it: then ask MLflow, which says what is wrong. Asking it at once would
        take a server that only wants to know this a second and 90 MB more to start.
        """
        model = self.folder / "models" / name
        try:
            number = (model / "aliases" / alias).read_text(encoding="utf-8").strip()
            version = model / f"version-{int(number)}"
            meta = yaml.safe_load((version / META).read_text(encoding="utf-8"))
            found = {tag: version / "tags" / tag for tag in tags}
            kept = {tag: file.read_text(encoding="utf-8") for tag, file in found.items() if file.is_file()}
        except (OSError, ValueError, yaml.YAMLError):
            return None
        if not isinstance(meta, dict) or (meta.get("name"), str(meta.get("version"))) != (name, number):
            return None
        if meta.get("current_stage") == "Deleted_Internal" or not isinstance(meta.get("run_id"), str):
            return None
        return Version(number, meta["run_id"], kept)

    def has_alias(self, name: str, alias: str) -> bool:
        """Whether the model carries the alias; True too where that can't be said."""
        model = self.folder / "models" / name
        return (model / "aliases" / alias).exists() or not _is_whole(model / META)

    def model_tags(self, name: str, prefix: str) -> dict[str, str]:
        """Those tags of the registered model whose keys begin so."""
        found = {}
        for file in (self.folder / "models" / name / "tags").glob(f"{prefix}*"):
            with contextlib.suppress(OSError, ValueError):  # a tag may go meanwhile
                found[file.name] = file.read_text(encoding="utf-8")
        return found

    def add_model_tag(self, name: str, key: str, text: str) -> None:
        """Adds a tag to the registered model, as MLflow would."""
        tags = self.folder / "models" / name / "tags"
        tags.mkdir(exist_ok=True)
        with (tags / key).open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def path(self, location: str) -> Path:
        """The folder that a relative artifact location means."""
        return self.folder.parent / unquote(location)

    @contextlib.contextmanager
    def lock(self, patience: float = -1) -> Iterator[None]:
        """Lets one process at a time write: two trainings that register at once would take the same number.

        MLflow replaces a file by one from the folder for temporary files. From a `/tmp` that is another file system
        that is a copy, which a kill can cut; so meanwhile that folder is one in `artifacts`.

        Raises:
            OSError: another one still has it after `patience` seconds (-1: never), or the folder can't be written.
        """
        self._artifacts.mkdir(parents=True, exist_ok=True)
        with FileLock(self._artifacts / ".registry.lock", timeout=patience):
            own, before = self._artifacts / ".registry.tmp", tempfile.tempdir
            own.mkdir(exist_ok=True)
            tempfile.tempdir = str(own)
            try:
                yield
            finally:
                tempfile.tempdir = before
                shutil.rmtree(own, ignore_errors=True)

    def make_movable(self, experiment_id: str) -> None:
        """Makes an experiment's artifact location relative, if nothing has been logged to it yet.

        MLflow stores the absolute path, hands it down to every run, and then nothing is found once the folder is
        renamed, moved or mounted elsewhere. All that is logged afterwards inherits the relative one.
        """
        meta = self.folder / experiment_id / META
        content = yaml.safe_load(meta.read_text(encoding="utf-8"))
        movable = f"{quote(self.folder.name)}/{experiment_id}"  # quoted, for MLflow takes it for a part of a URI
        untouched = not any(entry.is_dir() for entry in meta.parent.iterdir() if entry.name != "tags")
        if untouched and content["artifact_location"] != movable:
            _replace(meta, content | {"artifact_location": movable})

    def mend_datasets(self) -> None:
        """Moves datasets without a whole `meta.yaml` aside. MLflow names a dataset's folder after its content, and
        refuses ever after to log one whose folder is broken."""
        for dataset in self.folder.glob("*/datasets/*"):
            if dataset.is_dir() and not _stays_whole(dataset / META):
                self._move_aside(dataset)

    def mend_model(self, name: str, description: str) -> None:
        """Moves versions without a whole `meta.yaml` aside, and writes that of the model anew if it isn't whole. MLflow
        fails on every call as long as one is there. Such a version holds nothing: run and release are elsewhere."""
        models = self.folder / "models"
        model = models / name
        if not model.is_dir() or model.parent != models or not self._is_own(model):
            return  # no name leads out of the store's models
        for version in model.glob("version-*"):
            if version.is_dir() and self._is_own(version) and not _stays_whole(version / META):
                # first the aliases: the number is given away again, and they must not go with it
                for alias in model.glob("aliases/*"):
                    if alias.is_file() and alias.read_text().strip() == version.name.removeprefix("version-"):
                        self._move_aside(alias)
                self._move_aside(version)
        if not _stays_whole(model / META):
            now = int(time.time() * 1000)
            metas = [meta for meta in model.glob(f"version-*/{META}") if _is_whole(meta)]
            versions = [yaml.safe_load(meta.read_text(encoding="utf-8")) for meta in metas]
            content = {
                "name": name,
                "description": description,
                "creation_timestamp": min([version.get("creation_timestamp", now) for version in versions] + [now]),
                "last_updated_timestamp": now,
            }
            _replace(model / META, content)
            log.warning("%s was not whole and was written anew", model / META)

    def _is_own(self, entry: Path) -> bool:
        """Whether it is where it seems to be: no link and no `..` leads from the store to somewhere else."""
        return entry.resolve() == self.folder.resolve() / entry.relative_to(self.folder)

    def _move_aside(self, entry: Path) -> None:
        if self._is_own(entry):
            broken = self._artifacts / BROKEN
            broken.mkdir(parents=True, exist_ok=True)
            target = broken / f"{time.time_ns()}-{entry.name}"
            shutil.move(entry, target)
            log.warning("%s was left broken and was moved to %s", entry, target)


def _replace(file: Path, content: dict[str, Any]) -> None:
    aside = file.with_name(f".{file.name}.new")
    aside.write_text(yaml.safe_dump(content), encoding="utf-8")
    aside.replace(file)


def _stays_whole(meta: Path) -> bool:
    if _is_whole(meta):
        return True
    time.sleep(PATIENCE)
    return _is_whole(meta)


def _is_whole(meta: Path) -> bool:
    try:
        content = yaml.safe_load(meta.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, yaml.YAMLError, ValueError):
        return False
    return isinstance(content, dict) and "name" in content
