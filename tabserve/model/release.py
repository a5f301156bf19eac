"""A release: one immutable folder per model version with everything that serving needs. Training and serving meet here.

    <artifacts>/<model_version>/release/
        manifest.json       schema, golden rows, metadata, and the SHA-256 of every other file
        model.safetensors   the compiled model

The files hold JSON and numbers, so reading a release runs no code. The checksum of the manifest stands for the whole
release. This module knows files and checksums. It doesn't know how a model is computed (`tabserve.model.predictor`),
how a folder of artifacts is published (`tabserve.model.artifacts`), or where releases come from (the registry).
"""

import functools
import hashlib
import importlib.metadata
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from tabserve.errors import ReleaseError, ReleaseFault
from tabserve.model.arrays import Matrix
from tabserve.model.compiled import Link
from tabserve.model.metadata import ModelMetadata
from tabserve.model.schema import Schema

TOLERANCE: dict[Link, float] = {"mean": 1e-7, "softmax": 1e-6, "identity": 1e-9, "exp": 1e-9}
"""The largest difference from scikit-learn's outputs with which a model is published and served, as a share of the
task's `output_scale`: of probabilities 1, of a number the spread of the target."""

FORMAT = 5
"""Version of the layout above. A release of another format is refused."""

MANIFEST, MODEL = "manifest.json", "model.safetensors"
MAX_BYTES = {MANIFEST: 16 * 2**20, MODEL: 2**30}
VERSION_FORMAT = "%Y%m%d_%H%M%S"
VERSION_PATTERN = r"[0-9]{8}_[0-9]{6}"

LIBRARY = "scikit-learn"
"""A release holds the outputs of this library. One made with another major or minor version of it is refused."""


class GoldenRows(BaseModel):
    """Rows as the model takes them, with the outputs that scikit-learn gave for them. Whoever serves the release must
    give the same. A missing value is null."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rows: tuple[tuple[FiniteFloat | None, ...], ...] = Field(min_length=1)
    outputs: tuple[tuple[FiniteFloat, ...], ...] = Field(min_length=1)


class FormatHeader(BaseModel):
    """The part of a manifest that every format has."""

    format: int


class Manifest(BaseModel):
    """The content of `manifest.json`.

    Attributes:
        link: how the sums that the model computes become its outputs.
        files: file name → SHA-256 in hex, of every other file of the release.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int
    model_version: str = Field(pattern=f"^{VERSION_PATTERN}$")
    data_schema: Schema
    link: Link
    golden: GoldenRows
    metadata: ModelMetadata
    files: dict[str, str]

    @model_validator(mode="after")
    def _shapes_agree(self) -> "Manifest":
        features, outputs = len(self.data_schema.model_features), self.data_schema.task.outputs
        lengths = [(row, features) for row in self.golden.rows] + [(row, outputs) for row in self.golden.outputs]
        if any(len(values) != length for values, length in lengths):
            raise ValueError(f"a golden row doesn't fit {features} features and {outputs} outputs")
        if len(self.golden.rows) != len(self.golden.outputs):
            raise ValueError("golden rows and outputs differ in number")
        if set(self.metadata.feature_importances) != {feature.name for feature in self.data_schema.model_features}:
            raise ValueError("the importances don't name the features of the schema")
        return self


@dataclass(frozen=True)
class Release:
    """A release in memory. Its files have the checksums that its manifest names."""

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
    def metadata(self) -> ModelMetadata:
        return self.manifest.metadata

    @property
    def link(self) -> Link:
        return self.manifest.link

    @property
    def tolerance(self) -> float:
        """The largest difference from scikit-learn's outputs."""
        return TOLERANCE[self.link] * self.schema.task.output_scale

    @property
    def golden_rows(self) -> Matrix:
        """Shape (golden rows, model features)."""
        return np.array(self.manifest.golden.rows, dtype=np.float64)

    @property
    def golden_outputs(self) -> Matrix:
        """Shape (golden rows, outputs)."""
        return np.array(self.manifest.golden.outputs, dtype=np.float64)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(
    folder: Path, *, schema: Schema, golden_rows: Matrix, golden_outputs: Matrix, model: bytes, link: Link,
    metadata: ModelMetadata,
) -> Release:  # fmt: skip
    """Writes a release into `folder`, which must not exist, and reads it back.

    `golden_rows` has shape (n, model features), `golden_outputs` (n, outputs).

    Raises:
        ReleaseError: what was written can't be read back.
    """
    rows = tuple(tuple(None if math.isnan(value) else value for value in row) for row in golden_rows.tolist())
    manifest = Manifest(
        format=FORMAT,
        model_version=metadata.model_version,
        data_schema=schema,
        link=link,
        golden=GoldenRows(rows=rows, outputs=tuple(map(tuple, golden_outputs.tolist()))),
        metadata=metadata,
        files={MODEL: sha256(model)},
    )
    folder.mkdir(parents=True)
    (folder / MODEL).write_bytes(model)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return read(folder)


def read(folder: Path, checksum: str | None = None) -> Release:
    """Reads a release and verifies every checksum. With `checksum`, it must be the release that was registered.

    Raises:
        ReleaseError: a file is missing, too large, altered or unexpected, the format is another one, or the release was
            made with another scikit-learn.
    """
    raw = _read_bounded(folder / MANIFEST)
    actual = sha256(raw)
    if checksum is not None and actual != checksum:
        raise ReleaseError(f"{folder / MANIFEST} was altered: its SHA-256 is {actual[:12]}…, not {checksum[:12]}…")
    manifest = _parse(folder, raw)
    if set(manifest.files) != {MODEL}:
        raise ReleaseError(f"{folder / MANIFEST} must name {MODEL} and nothing else")
    if unexpected := _visible(folder) - {MANIFEST, MODEL}:
        raise ReleaseError(f"{folder} holds {', '.join(sorted(unexpected))}, which is not part of a release")
    made_with = manifest.metadata.libraries.get(LIBRARY, "unknown")
    if _minor(made_with) != _minor(_installed()):
        raise ReleaseError(
            f"{folder} was made with {LIBRARY} {made_with}, but {_installed()} is installed: train again",
            "incompatible",
        )
    model = _read_bounded(folder / MODEL)
    if sha256(model) != manifest.files[MODEL]:
        raise ReleaseError(f"{folder / MODEL} was altered: its SHA-256 is not the one in {MANIFEST}")
    return Release(manifest=manifest, model=model, checksum=actual)


def _parse(folder: Path, raw: bytes) -> Manifest:
    try:
        found = FormatHeader.model_validate_json(raw).format
        if found != FORMAT:
            raise ReleaseError(
                f"{folder} has format {found}, but this program reads format {FORMAT}: train again", "incompatible"
            )
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ReleaseError(
            f"{folder / MANIFEST} is not a manifest of format {FORMAT}: {where}: {first['msg']}"
        ) from None


def _visible(folder: Path) -> set[str]:
    """The names in a folder, without the hidden files that file managers leave."""
    try:
        return {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
    except OSError as error:
        raise ReleaseError(f"{folder} can't be read: {error.strerror}") from error


@functools.cache
def _installed() -> str:
    return importlib.metadata.version(LIBRARY)  # reads a file; importing the library would take a second


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _read_bounded(file: Path) -> bytes:
    limit = MAX_BYTES[file.name]
    try:
        with file.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        fault: ReleaseFault = "missing" if isinstance(error, FileNotFoundError) else "damaged"
        raise ReleaseError(f"{file} can't be read: {error.strerror}", fault) from error
    if len(content) > limit:
        raise ReleaseError(f"{file} is larger than {limit:,} bytes: train with fewer trees, leaves or categories")
    return content
