"""A release: one immutable folder per model version that holds all that serving needs. The contract of the two wings.

    <artifacts>/<model_version>/release/
        manifest.json       schema, golden rows, provenance, and the SHA-256 of every other file
        model.safetensors   the compiled model

JSON and numbers: reading a release runs no code. The checksum of the manifest stands for the whole release.
A folder of artifacts appears whole or not at all: it is written aside as a `Draft` and renamed. Knows files and
checksums; does not know how a model is computed (`tabserve.model.predictor`) or where releases come from
(`tabserve.registry.registry`).
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from tabserve.errors import ReleaseError
from tabserve.model import temporary
from tabserve.model.compiled import Link
from tabserve.model.schema import Matrix, Schema

TOLERANCE: dict[Link, float] = {"mean": 1e-7, "softmax": 1e-6}
"""Largest difference of a probability to scikit-learn's with which a model is published, and served."""

FORMAT = 3
"""Version of the layout above. A release of another format is refused, not guessed at."""

MANIFEST, MODEL = "manifest.json", "model.safetensors"
MAX_BYTES = {MANIFEST: 16 * 2**20, MODEL: 2**30}
VERSION_FORMAT = "%Y%m%d_%H%M%S"
VERSION_PATTERN = r"[0-9]{8}_[0-9]{6}"

LIBRARY = "scikit-learn"
"""Whose answers a release holds. One made with another major or minor version of it is refused."""


class Golden(BaseModel):
    """Rows, as the model takes them, with the probabilities that scikit-learn gave for them: whoever serves the release
    must give them too. A missing value is null."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rows: tuple[tuple[FiniteFloat | None, ...], ...] = Field(min_length=1)
    probabilities: tuple[tuple[FiniteFloat, ...], ...] = Field(min_length=1)


class Info(BaseModel):
    """Provenance for people, as `metadata.json` has it and `/model/info` shows it; more keys may stand beside these.

    Attributes:
        by_class: class → its rows, and how good the model is with them.
        left_out: columns of the table that are no features, and why.
        limits: what the model is not good for, in sentences.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    model_type: str
    trained_at: str
    parameters: dict[str, Any]
    metrics: dict[str, FiniteFloat]
    feature_importances: dict[str, FiniteFloat]
    dataset: dict[str, Any]
    by_class: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    limits: list[str] = []
    libraries: dict[str, str]
    git_commit: str


class Form(BaseModel):
    """What a manifest of any format says of itself."""

    format: int


class Manifest(BaseModel):
    """What `manifest.json` holds.

    Attributes:
        link: how the model's sums become probabilities.
        files: SHA-256 of every other file of the release, in hex.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int
    model_version: str = Field(pattern=f"^{VERSION_PATTERN}$")
    data_schema: Schema
    link: Link
    golden: Golden
    info: Info
    files: dict[str, str]

    @model_validator(mode="after")
    def _shapes_agree(self) -> "Manifest":
        features, classes = len(self.data_schema.features), len(self.data_schema.classes)
        shapes = [(row, features) for row in self.golden.rows]
        shapes += [(row, classes) for row in self.golden.probabilities]
        if any(len(values) != length for values, length in shapes):
            raise ValueError(f"a row doesn't fit {features} features and {classes} classes")
        if set(self.info.feature_importances) != set(self.data_schema.feature_names):
            raise ValueError("the importances are not those of the features")
        if len(self.golden.rows) != len(self.golden.probabilities):
            raise ValueError("golden rows and probabilities differ in number")
        return self


@dataclass(frozen=True)
class Release:
    """A release in memory whose files are those that its manifest names."""

    manifest: Manifest
    model: bytes
    checksum: str

    @property
    def model_version(self) -> str:
        return self.manifest.model_version

    @property
    def schema(self) -> Schema:
        return self.manifest.data_schema

    @property
    def link(self) -> Link:
        return self.manifest.link

    @property
    def golden_rows(self) -> Matrix:
        return np.array(self.manifest.golden.rows, dtype=np.float64)

    @property
    def golden_probabilities(self) -> Matrix:
        return np.array(self.manifest.golden.probabilities, dtype=np.float64)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(
    folder: Path,
    *,
    model_version: str,
    schema: Schema,
    golden_rows: Matrix,
    golden_probabilities: Matrix,
    model: bytes,
    link: Link,
    info: dict[str, Any],
) -> Release:
    """Writes a release into `folder`, which must not exist, and reads it back.

    `golden_rows` has shape (n, features), `golden_probabilities` (n, classes).

    Raises:
        ReleaseError: what was written can't be read back.
    """
    manifest = Manifest(
        format=FORMAT,
        model_version=model_version,
        data_schema=schema,
        link=link,
        golden=Golden(
            rows=tuple(tuple(None if math.isnan(value) else value for value in row) for row in golden_rows.tolist()),
            probabilities=tuple(map(tuple, golden_probabilities.tolist())),
        ),
        info=Info.model_validate(info),
        files={MODEL: sha256(model)},
    )
    folder.mkdir(parents=True)
    (folder / MODEL).write_bytes(model)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return read(folder)


def read(folder: Path, checksum: str | None = None) -> Release:
    """Reads a release and verifies every checksum; with `checksum`, that it is the very release that was registered.

    Raises:
        ReleaseError: a file is missing, too large, altered, of another format or too many, or it was made with another
            scikit-learn.
    """
    raw = _read_bounded(folder / MANIFEST)
    actual = sha256(raw)
    if checksum is not None and actual != checksum:
        raise ReleaseError(f"{folder / MANIFEST} was altered: its SHA-256 is {actual[:12]}…, not {checksum[:12]}…")
    try:
        form = Form.model_validate_json(raw).format
        if form != FORMAT:
            raise ReleaseError(f"{folder} has format {form}; this program reads {FORMAT}: train again")
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ReleaseError(
            f"{folder / MANIFEST} is not a manifest of format {FORMAT}: {where}: {first['msg']}"
        ) from None
    if set(manifest.files) != {MODEL}:
        raise ReleaseError(f"{folder / MANIFEST} must name {MODEL} and nothing else")
    if strangers := _visible(folder) - {MANIFEST, MODEL}:
        raise ReleaseError(f"{folder} holds {', '.join(sorted(strangers))}, which is no part of a release")
    made_with = manifest.info.libraries.get(LIBRARY, "unknown")
    if _minor(made_with) != _minor(_installed()):
        raise ReleaseError(f"{folder} was made with {LIBRARY} {made_with}; here is {_installed()}: train again")
    model = _read_bounded(folder / MODEL)
    if sha256(model) != manifest.files[MODEL]:
        raise ReleaseError(f"{folder / MODEL} was altered: its SHA-256 is not the one in {MANIFEST}")
    return Release(manifest=manifest, model=model, checksum=actual)


def _visible(folder: Path) -> set[str]:
    """What is in it, without the hidden files that file managers leave."""
    try:
        return {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
    except OSError as error:
        raise ReleaseError(f"{folder} can't be read: {error.strerror}") from error


@functools.cache
def _installed() -> str:
    return importlib.metadata.version(LIBRARY)  # reads a file: importing it would take a second


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _read_bounded(file: Path) -> bytes:
    limit = MAX_BYTES[file.name]
    try:
        with file.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise ReleaseError(f"{file} can't be read: {error.strerror}") from error
    if len(content) > limit:
        raise ReleaseError(
            f"{file} is larger than the {limit:,} bytes that it may have: train with fewer trees, leaves or categories"
        )
    return content


@dataclass(frozen=True)
class Draft:
    """A folder of artifacts in the making: `folder` is where to write, `final` where `publish` puts it. `token` is its
    own, whoever else may claim the same version elsewhere."""

    model_version: str
    folder: Path
    final: Path
    token: str = ""

    @property
    def started(self) -> datetime:
        """When it was claimed, to the second, UTC: the model version as a time."""
        return datetime.strptime(self.model_version, VERSION_FORMAT).replace(tzinfo=UTC)

    def publish(self) -> Path:
        """Makes the folder appear under its final name, in one step, with its content on disk before."""
        for file in self.folder.rglob("*"):
            _fsync(file)
        _fsync(self.folder)
        self.folder.rename(self.final)
        _fsync(self.final.parent)
        return self.final


@contextmanager
def draft(
    artifacts: Path,
    taken: Callable[[str], bool] = lambda _: False,
    died: Callable[[str, str], None] = lambda _, __: None,
) -> Iterator[Draft]:
    """Claims a new model version, the UTC second of now, and a folder to write it in; sweeps what dead ones left.

    A second that another training has claimed is waited out, so the name stays true. `taken` says whether a version
    exists elsewhere, for a store that several machines share. `died` is told the version and the token of each draft
    whose training didn't come to its end, before that is swept. The folder is gone on exit unless it was published.
    Until then temporary files, as of the model that MLflow logs, go beside it, and are swept with it.

    Raises:
        ReleaseError: `artifacts` can't be written.
    """
    try:
        artifacts.mkdir(parents=True, exist_ok=True)
        with FileLock(artifacts / ".lock"):
            _sweep(artifacts, died)
            version = datetime.now(UTC).strftime(VERSION_FORMAT)
            while _paths(artifacts, version)[1].exists() or _paths(artifacts, version)[0].exists() or taken(version):
                time.sleep(0.02)  # the clock is what is waited for
                version = datetime.now(UTC).strftime(VERSION_FORMAT)
            folder, final = _paths(artifacts, version)
            lock = FileLock(folder.with_suffix(".lock"))
            lock.acquire()
            token = secrets.token_hex(8)
            Path(lock.lock_file).write_text(token, encoding="ascii")
            folder.mkdir()
    except OSError as error:
        raise ReleaseError(
            f"{artifacts} can't be written: {error.strerror}. Make it writable for this user, or choose another"
        ) from error
    try:
        with temporary.files_in(folder.with_suffix(".tmp")):
            yield Draft(version, folder, final, token)
        Path(lock.lock_file).unlink(missing_ok=True)
    finally:  # after a failure the file of the lock stays: it says so to the next training
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def cache(artifacts: Path, model_version: str, folder: Path) -> None:
    """Makes a release that came from elsewhere appear in `artifacts` under its name, in one step; not if it is there,
    somebody else is at it, or nothing can be written."""
    partial, final = _paths(artifacts, model_version)
    with contextlib.suppress(OSError):
        artifacts.mkdir(parents=True, exist_ok=True)
        with FileLock(partial.with_suffix(".lock"), timeout=0) as lock:
            shutil.rmtree(partial, ignore_errors=True)  # what a killed one left
            try:
                shutil.copytree(folder, partial / folder.name)
                Draft(model_version, partial, final).publish()
            finally:
                shutil.rmtree(partial, ignore_errors=True)
                Path(lock.lock_file).unlink(missing_ok=True)


def remove(artifacts: Path, model_version: str) -> int:
    """Makes a version disappear from `artifacts`, in one step; how many bytes it had, 0 if it wasn't there."""
    partial, final = _paths(artifacts, model_version)
    if not final.is_dir():
        return 0
    size = sum(file.stat().st_size for file in final.rglob("*") if file.is_file())
    with FileLock(partial.with_suffix(".lock")) as lock:  # as of a draft, so that a killed removal is swept like one
        final.rename(partial)
        shutil.rmtree(partial)
        Path(lock.lock_file).unlink(missing_ok=True)
    return size


def _paths(artifacts: Path, version: str) -> tuple[Path, Path]:
    return artifacts / f".{version}.partial", artifacts / version


def _sweep(artifacts: Path, died: Callable[[str, str], None]) -> None:
    """Removes the drafts whose training has ended: their lock can be had. Its file goes last, if one is killed here."""
    for file in {left.with_suffix(".lock") for left in artifacts.glob(".[0-9]*_[0-9]*.*")}:
        with contextlib.suppress(Timeout), FileLock(file, timeout=0):
            died(file.stem.removeprefix("."), file.read_text(encoding="ascii"))
            for suffix in (".partial", ".tmp"):
                shutil.rmtree(file.with_suffix(suffix), ignore_errors=True)
            file.unlink()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
