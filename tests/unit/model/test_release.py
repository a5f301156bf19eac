"""A release on disk: read back as it was written, and refused when it is not what was written."""

import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from tabserve.errors import ReleaseError
from tabserve.model import Release, release
from tabserve.model.release import MANIFEST, MODEL
from tabserve.training import compiler
from tests.support.damage import edit_manifest, flip_last_bit, set_scikit_learn
from tests.support.models import Trained


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    trained.release(tmp_path / "release")
    return tmp_path / "release"


def test_release_is_read_back_as_written(trained: Trained, folder: Path) -> None:
    """The model and the schema are read back to the last bit, and the golden outputs are probabilities."""
    read_back = release.read(folder)
    assert read_back.model == compiler.compile_pipeline(trained.pipeline, trained.schema).to_bytes()
    assert read_back.schema == trained.schema
    assert np.array_equal(read_back.golden_outputs.sum(axis=1).round(9), np.ones(len(read_back.golden_rows)))


@pytest.mark.parametrize(
    "damage",
    [
        shutil.rmtree,
        lambda folder: (folder / MODEL).unlink(),
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: flip_last_bit(folder / MODEL),
        lambda folder: (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-100]),
        lambda folder: (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:-100]),
        lambda folder: (folder / MANIFEST).write_bytes(b"\x80\x04K\x01."),
        lambda folder: edit_manifest(folder, lambda manifest: manifest.update(format=1)),
        lambda folder: edit_manifest(folder, lambda manifest: manifest.pop("golden")),
        lambda folder: edit_manifest(folder, lambda manifest: manifest.update(extra=1)),
        lambda folder: edit_manifest(folder, lambda manifest: manifest.update(metadata={})),
        lambda folder: edit_manifest(
            folder, lambda manifest: manifest["metadata"].update(feature_importances={"x": 1.0})
        ),
        lambda folder: edit_manifest(folder, lambda manifest: manifest["golden"]["rows"].pop()),
        lambda folder: edit_manifest(folder, lambda manifest: manifest["golden"]["rows"].append([1.0])),
        lambda folder: edit_manifest(folder, lambda manifest: manifest["golden"]["rows"].append(["1", "2", "3", "4"])),
        lambda folder: edit_manifest(folder, lambda manifest: manifest.update(model_version="../../up")),
        lambda folder: edit_manifest(folder, lambda manifest: manifest.update(files={"../model.safetensors": "0"})),
        lambda folder: (folder / "model.pkl").write_bytes(b"\x80\x04K\x01."),
        lambda folder: (folder / "code").mkdir(),
        lambda folder: set_scikit_learn(folder, None),
    ],
)
def test_damaged_release_is_refused(folder: Path, damage: Callable[[Path], object]) -> None:
    """A release with a missing, altered, truncated or additional file, or of another format or shape, is refused, and
    the error names its folder."""
    damage(folder)
    with pytest.raises(ReleaseError, match=str(folder)):
        release.read(folder)


@pytest.mark.parametrize("name", [MANIFEST, MODEL])
def test_too_large_file_is_refused(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file above its size limit is refused, and the error says how to make it smaller."""
    monkeypatch.setitem(release.MAX_BYTES, name, 100)
    message = rf"{name} is larger than 100 bytes.* fewer trees, leaves or categories"
    with pytest.raises(ReleaseError, match=message):
        release.read(folder)


def test_release_of_another_scikit_learn_is_refused(folder: Path) -> None:
    """A release of another major or minor version of scikit-learn than the installed one is refused, and the error
    names both versions. The patch version may differ."""
    installed = version("scikit-learn")
    major, minor, *_ = installed.split(".")
    for other_version in (f"{major}.{int(minor) + 1}.0", f"{int(major) + 1}.{minor}.0", f"{major}.{minor}0.1", major):
        set_scikit_learn(folder, other_version)
        message = rf"scikit-learn {other_version}, but {installed} is installed: train again"
        with pytest.raises(ReleaseError, match=message):
            release.read(folder)
    for same_minor in (f"{major}.{minor}.99", f"{major}.{minor}.0rc1", f"{major}.{minor}"):
        set_scikit_learn(folder, same_minor)
        release.read(folder)


def test_hidden_files_are_ignored(folder: Path) -> None:
    """A hidden file of a file manager in the folder doesn't make the release invalid."""
    (folder / ".DS_Store").write_text("")
    release.read(folder)


def test_other_release_than_the_registered_one_is_refused(folder: Path) -> None:
    """A valid release whose checksum isn't the registered one is refused."""
    checksum = release.read(folder).checksum
    assert release.read(folder, checksum).checksum == checksum
    edit_manifest(folder, lambda manifest: manifest.update(model_version="20991231_235959"))
    release.read(folder)
    with pytest.raises(ReleaseError, match="altered"):
        release.read(folder, checksum)


def test_release_is_immutable(release: Release) -> None:
    """The attributes of a release in memory can't be set."""
    for name in ("checksum", "schema", "model"):
        with pytest.raises(AttributeError):
            setattr(release, name, "")
