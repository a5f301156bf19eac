"""The files of MLflow's file store, where they need more care than MLflow takes.

The only module that knows how MLflow lays them out: `<store>/<experiment>/meta.yaml`, `<store>/<experiment>/datasets/`,
`.../<run>/`, `.../models/<logged model>/`, `<store>/models/<name>/version-<n>/` and `.../aliases/`. A file store has no
transactions, so whoever writes several files holds `lock`, and what a killed training left half written is repaired
before the next one. Nothing is deleted: it is moved to `<artifacts>/.broken/`. Makes no call to MLflow and knows no
release.
"""

import contextlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import yaml
from filelock import FileLock

from tabserve.model import temporary

log = logging.getLogger("tabserve.registry.filestore")

META = "meta.yaml"
KEYS = frozenset({"name", "run_name", "source_id"})
"""A whole `meta.yaml` has one of these: those of experiments, models and versions, of runs, and of what runs used."""

RUN = re.compile(r"[0-9a-f]{32}")
LOCAL, KILLED = 4, 5
"""How MLflow writes that a run has no project, and that it was killed."""

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

    def models(self) -> list[str]:
        """The names of the registered models."""
        folder = self.folder / "models"
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []

    def aliased(self, name: str, alias: str, tags: Collection[str]) -> Version | None:
        """The version of a model that carries the alias, with those of the named tags that it has.

        None where a file isn't as MLflow leaves it, and stays so: then ask MLflow, which says what is wrong. Asking it
        at once would take a server that only wants to know this a second and 150 MB.
        """
        found = self._aliased(name, alias, tags)
        if found is None:
            time.sleep(PATIENCE)  # MLflow empties a file before it writes it
            found = self._aliased(name, alias, tags)
        return found

    def _aliased(self, name: str, alias: str, tags: Collection[str]) -> Version | None:
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

    def has_tag(self, key: str, value: str) -> bool:
        """Whether a registered version of any model has this tag."""
        files = (self.folder / "models").glob(f"*/version-*/tags/{key}")
        return any(file.read_text(encoding="utf-8") == value for file in files)

    def add_model_tag(self, name: str, key: str, text: str) -> None:
        """Adds a tag to the registered model, as MLflow would, but at once."""
        self._put(name, Path("tags") / key, text)

    def set_alias(self, name: str, alias: str, number: str) -> None:
        """Gives the alias to a version, as MLflow would, but at once. MLflow empties the file before it writes it:
        after a kill or on a full disk the model would be left without the alias."""
        self._put(name, Path("aliases") / alias, number)

    def _put(self, name: str, file: Path, text: str) -> None:
        model = self.folder / "models" / name
        (model / file.parent).mkdir(exist_ok=True)
        # aside, and not in the folder itself: MLflow takes every file there for an alias or a tag
        _write(model / file, text, model / ".file.new")

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
        lock = FileLock(self._artifacts / ".registry.lock", timeout=patience)
        with lock, temporary.files_in(self._artifacts / ".registry.tmp"):
            yield

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

    def repair_experiments(self) -> None:
        """Moves experiments without a whole `meta.yaml` aside that hold nothing yet. MLflow complains of one whenever
        it looks for experiments, and makes another of the same name."""
        for experiment in self.folder.glob("[0-9]*"):
            held = {entry.name for entry in experiment.iterdir()} - {META, "tags"} if experiment.is_dir() else {META}
            if not held and not _stays(_is_whole, experiment / META):
                self._move_aside(experiment)

    def repair_runs(self) -> None:
        """Writes the `meta.yaml` of runs anew that isn't whole, and moves runs and logged models aside that are more
        broken than that. MLflow shows no run of an experiment, and no logged model, as long as one is there that has an
        empty file where it wants a value."""
        for run in self.folder.glob("[0-9]*/*"):
            if RUN.fullmatch(run.name) and not _stays(_is_whole_run, run):
                self._write_anew(run)
                if not _is_whole_run(run):
                    self._move_aside(run)
        for model in self.folder.glob("[0-9]*/models/m-*"):
            if not _stays(_is_whole_model, model):
                self._move_aside(model)

    def _write_anew(self, run: Path) -> None:
        """Writes the `meta.yaml` of a run that has a name, if that isn't whole: a version may be made of the run."""
        location, name = _read(run.parent / META).get("artifact_location"), run / "tags" / "mlflow.runName"
        if _is_whole(run / META) or not location or not name.is_file():
            return
        content = {
            "artifact_uri": f"{location}/{run.name}/artifacts",
            "end_time": int(time.time() * 1000),
            "entry_point_name": "",
            "experiment_id": run.parent.name,
            "lifecycle_stage": "active",
            "run_id": run.name,
            "run_name": name.read_text(encoding="utf-8"),
            "source_name": "",
            "source_type": LOCAL,
            "source_version": "",
            "start_time": int(name.stat().st_mtime * 1000),
            "status": KILLED,
            "tags": [],
            "user_id": "",
        }
        _replace(run / META, content)
        log.warning("%s was not whole and was written anew", run / META)

    def repair_datasets(self) -> None:
        """Moves datasets without a whole `meta.yaml` aside. MLflow names a dataset's folder after its content, and
        refuses ever after to log one whose folder is broken."""
        for dataset in self.folder.glob("*/datasets/*"):
            if dataset.is_dir() and not _stays(_is_whole, dataset / META):
                self._move_aside(dataset)

    def repair_model(self, name: str, description: str) -> None:
        """Moves versions without a whole `meta.yaml` aside, and writes that of the model anew if it isn't whole. MLflow
        fails on every call as long as one is there. Such a version holds nothing: run and release are elsewhere."""
        models = self.folder / "models"
        model = models / name
        if not model.is_dir() or model.parent != models or not self._is_own(model):
            return  # no name leads out of the store's models
        for version in model.glob("version-*"):
            if version.is_dir() and self._is_own(version) and not _stays(_is_whole, version / META):
                self._move_version_aside(version)
        for unfinished in model.glob(".*.new"):
            unfinished.unlink()
        if not _stays(_is_whole, model / META):
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

    def repair_versions(self, run_ids: Collection[str], tags: Iterable[str]) -> None:
        """Moves versions of these runs aside that lack one of the tags: they were being registered."""
        for version in (self.folder / "models").glob("*/version-*"):
            if _is_whole(version / META) and _read(version / META).get("run_id") in run_ids:
                files = [version / "tags" / tag for tag in tags]
                if not all(file.is_file() and file.stat().st_size for file in files):
                    self._move_version_aside(version)

    def _move_version_aside(self, version: Path) -> None:
        # first the aliases: the number is given away again, and they must not go with it
        for alias in version.parent.glob("aliases/*"):
            if alias.is_file() and alias.read_text().strip() == version.name.removeprefix("version-"):
                self._move_aside(alias)
        self._move_aside(version)

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
    _write(file, yaml.safe_dump(content), file.with_name(f".{file.name}.new"))


def _write(file: Path, text: str, aside: Path) -> None:
    """Writes a file in one step, its content on disk before."""
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(file)


def _stays(condition: Callable[[Path], bool], entry: Path) -> bool:
    if condition(entry):
        return True
    time.sleep(PATIENCE)
    return condition(entry)


def _is_whole(meta: Path) -> bool:
    return not KEYS.isdisjoint(_read(meta))


def _is_whole_run(run: Path) -> bool:
    """Whether MLflow can read it, and finds it by its id, for which it needs the last of the folders that it makes."""
    parts = [*run.glob("inputs/*"), *run.glob("outputs/*")]
    return _is_whole_model(run) and (run / "artifacts").is_dir() and all(_is_whole(part / META) for part in parts)


def _is_whole_model(model: Path) -> bool:
    metrics = [file for file in model.glob("metrics/**/*") if file.is_file()]
    return _is_whole(model / META) and all(metric.stat().st_size for metric in metrics)


def _read(meta: Path) -> dict[str, Any]:
    """What a `meta.yaml` says; nothing if it is missing or cut."""
    try:
        content = yaml.safe_load(meta.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, yaml.YAMLError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
