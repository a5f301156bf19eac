"""Repair of a file store: what a killed training, or a full disk, left incomplete.

MLflow fails on every call of a kind while one incomplete entry of that kind is in the store. An entry that holds data
gets its `meta.yaml` rewritten; one that holds none moves to `<artifacts>/.broken/`. The caller holds the store's lock.
"""

import logging
import shutil
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from tabserve.registry.filestore.layout import (
    META,
    RUN_ID,
    holds,
    is_complete,
    is_complete_logged_model,
    is_complete_run,
    model_folder,
    models_folder,
    read_meta,
    replace_meta,
)

log = logging.getLogger("tabserve.registry.filestore")

BROKEN = ".broken"
"""Folder in `artifacts` for broken entries. It is outside the store because MLflow fails on folders it doesn't know."""

LOCAL, KILLED = 4, 5
"""MLflow's numbers for a run without a project, and for the status KILLED."""


class Repair:
    """Repairs the store in `folder`; broken entries move into `artifacts`."""

    def __init__(self, folder: Path, artifacts: Path) -> None:
        self._folder, self._artifacts = folder, artifacts

    def experiments(self) -> None:
        """Moves empty experiments without a complete `meta.yaml` aside. MLflow warns about one at each search for
        experiments, and makes a second one of the same name."""
        for experiment in self._folder.glob("[0-9]*"):
            if not experiment.is_dir():
                continue
            content = {entry.name for entry in experiment.iterdir()} - {META, "tags"}
            if not content and not holds(is_complete, experiment / META):
                self._move_aside(experiment)

    def runs(self) -> None:
        """Rewrites incomplete `meta.yaml` files of runs, and moves runs and logged models aside that stay incomplete.
        While one with an empty value file is there, MLflow lists no run of the experiment, and no logged model."""
        for run in self._folder.glob("[0-9]*/*"):
            if RUN_ID.fullmatch(run.name) and not holds(is_complete_run, run):
                self._rewrite_run(run)
                if not is_complete_run(run):
                    self._move_aside(run)
        for model in self._folder.glob("[0-9]*/models/m-*"):
            if not holds(is_complete_logged_model, model):
                self._move_aside(model)

    def _rewrite_run(self, run: Path) -> None:
        """Rewrites an incomplete `meta.yaml` of a run that has a name: a registered version may refer to the run."""
        location, name = read_meta(run.parent / META).get("artifact_location"), run / "tags" / "mlflow.runName"
        if is_complete(run / META) or not location or not name.is_file():
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
        replace_meta(run / META, content)
        log.warning("%s was incomplete and was rewritten", run / META)

    def datasets(self) -> None:
        """Moves datasets without a complete `meta.yaml` aside. MLflow names a dataset's folder after the dataset's
        content, so while the folder is broken it can never log that dataset again."""
        for dataset in self._folder.glob("*/datasets/*"):
            if dataset.is_dir() and not holds(is_complete, dataset / META):
                self._move_aside(dataset)

    def model(self, name: str, description: str) -> None:
        """Moves versions without a complete `meta.yaml` aside, and rewrites that of the registered model. MLflow fails
        on every call while one is incomplete. Such a version holds no data: run and release are elsewhere."""
        models, model = models_folder(self._folder), model_folder(self._folder, name)
        if not model.is_dir() or model.parent != models or not self._is_inside(model):
            return  # a name must not lead out of the store's models
        for version in model.glob("version-*"):
            if version.is_dir() and self._is_inside(version) and not holds(is_complete, version / META):
                self._move_version_aside(version)
        for unfinished in model.glob(".*.new"):
            unfinished.unlink()
        if not holds(is_complete, model / META):
            now = int(time.time() * 1000)
            versions = [read_meta(meta) for meta in model.glob(f"version-*/{META}") if is_complete(meta)]
            content = {
                "name": name,
                "description": description,
                "creation_timestamp": min([version.get("creation_timestamp", now) for version in versions] + [now]),
                "last_updated_timestamp": now,
            }
            replace_meta(model / META, content)
            log.warning("%s was incomplete and was rewritten", model / META)

    def versions(self, run_ids: Collection[str], tags: Iterable[str]) -> None:
        """Moves versions of these runs aside that lack one of the tags: their registration was cut."""
        for version in models_folder(self._folder).glob("*/version-*"):
            if is_complete(version / META) and read_meta(version / META).get("run_id") in run_ids:
                files = [version / "tags" / tag for tag in tags]
                if not all(file.is_file() and file.stat().st_size for file in files):
                    self._move_version_aside(version)

    def _move_version_aside(self, version: Path) -> None:
        # the aliases first: the next version gets this number, and must not get the aliases with it
        for alias in version.parent.glob("aliases/*"):
            if alias.is_file() and alias.read_text().strip() == version.name.removeprefix("version-"):
                self._move_aside(alias)
        self._move_aside(version)

    def _is_inside(self, path: Path) -> bool:
        """Whether the path is really in the store: no link and no `..` leads out of it."""
        return path.resolve() == self._folder.resolve() / path.relative_to(self._folder)

    def _move_aside(self, path: Path) -> None:
        if self._is_inside(path):
            broken = self._artifacts / BROKEN
            broken.mkdir(parents=True, exist_ok=True)
            target = broken / f"{time.time_ns()}-{path.name}"
            shutil.move(path, target)
            log.warning("%s was broken and was moved to %s", path, target)
