"""How MLflow lays out a file store, and how its files are read and written here.

<store>/<experiment>/meta.yaml              an experiment; its runs, datasets and logged models are beside it
<store>/<experiment>/<run>/
<store>/<experiment>/datasets/<dataset>/
<store>/<experiment>/models/<logged model>/
<store>/models/<name>/meta.yaml             a registered model; its tags, aliases and versions are beside it
<store>/models/<name>/version-<n>/
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

META = "meta.yaml"
IDENTIFYING_KEYS = frozenset({"name", "run_name", "source_id"})
"""Every complete `meta.yaml` has one of these: of experiments, models, versions and datasets, of runs, of inputs."""

RUN_ID = re.compile(r"[0-9a-f]{32}")

SECOND_LOOK = 0.2
"""Seconds after which an incomplete file is read a second time. MLflow empties a file before it writes it, and MLflow's
UI takes no lock, so the file may be in the middle of a write."""


def models_folder(store: Path) -> Path:
    return store / "models"


def model_folder(store: Path, name: str) -> Path:
    return store / "models" / name


def read_meta(file: Path) -> dict[str, Any]:
    """The content of a `meta.yaml`; empty if the file is missing or incomplete."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, yaml.YAMLError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_complete(meta: Path) -> bool:
    return not IDENTIFYING_KEYS.isdisjoint(read_meta(meta))


def is_complete_logged_model(model: Path) -> bool:
    metrics = [file for file in model.glob("metrics/**/*") if file.is_file()]
    return is_complete(model / META) and all(metric.stat().st_size for metric in metrics)


def is_complete_run(run: Path) -> bool:
    """Whether MLflow can read the run. To find it by its id, MLflow needs its last folder, `artifacts`."""
    parts = [*run.glob("inputs/*"), *run.glob("outputs/*")]
    has_artifacts = (run / "artifacts").is_dir()
    return is_complete_logged_model(run) and has_artifacts and all(is_complete(part / META) for part in parts)


def holds(condition: Callable[[Path], bool], path: Path) -> bool:
    """Whether the condition is true of the path now, or after `SECOND_LOOK` seconds."""
    if condition(path):
        return True
    time.sleep(SECOND_LOOK)
    return condition(path)


def write_atomically(file: Path, text: str, aside: Path) -> None:
    """Replaces a file in one step: writes `aside`, waits until its content is on the disk, renames it."""
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(file)


def replace_meta(file: Path, content: dict[str, Any]) -> None:
    write_atomically(file, yaml.safe_dump(content), file.with_name(f".{file.name}.new"))
