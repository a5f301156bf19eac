"""A release on disk: whole or not at all, and refused when it isn't what was written."""

import shutil
import tempfile
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from tabserve.errors import ReleaseError
from tabserve.model import artifacts, release
from tabserve.model.release import MANIFEST, MODEL, Release
from tabserve.training import compiler
from tests.support.damage import edit, flip_last_bit, made_with
from tests.support.models import Trained


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    trained.release(tmp_path / "release")
    return tmp_path / "release"


def test_what_is_read_is_what_was_written(trained: Trained, folder: Path) -> None:
    """Forest, schema and golden rows come back to the last bit."""
    found = release.read(folder)
    assert found.model == compiler.compile_pipeline(trained.pipeline, trained.schema).to_bytes()
    assert found.schema == trained.schema
    assert np.array_equal(found.golden_outputs.sum(axis=1).round(9), np.ones(len(found.golden_rows)))


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
        lambda folder: edit(folder, lambda manifest: manifest.update(format=1)),
        lambda folder: edit(folder, lambda manifest: manifest.pop("golden")),
        lambda folder: edit(folder, lambda manifest: manifest.update(extra=1)),
        lambda folder: edit(folder, lambda manifest: manifest.update(metadata={})),
        lambda folder: edit(folder, lambda manifest: manifest["metadata"].update(feature_importances={"x": 1.0})),
        lambda folder: edit(folder, lambda manifest: manifest["golden"]["rows"].pop()),
        lambda folder: edit(folder, lambda manifest: manifest["golden"]["rows"].append([1.0])),
        lambda folder: edit(folder, lambda manifest: manifest["golden"]["rows"].append(["1", "2", "3", "4"])),
        lambda folder: edit(folder, lambda manifest: manifest.update(model_version="../../up")),
        lambda folder: edit(folder, lambda manifest: manifest.update(files={"../model.safetensors": "0"})),
        lambda folder: (folder / "model.pkl").write_bytes(b"\x80\x04K\x01."),
        lambda folder: (folder / "code").mkdir(),
        lambda folder: made_with(folder, None),
    ],
)
def test_a_damaged_release_is_refused(folder: Path, damage: Callable[[Path], object]) -> None:
    """A release with a file missing, altered, cut, of another format or shape or too many is refused, and named."""
    damage(folder)
    with pytest.raises(ReleaseError, match=str(folder)):
        release.read(folder)


@pytest.mark.parametrize("name", [MANIFEST, MODEL])
def test_an_endless_file_is_not_read_to_its_end(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is larger than its limit is refused, and it is said what makes it smaller."""
    monkeypatch.setitem(release.MAX_BYTES, name, 100)
    with pytest.raises(ReleaseError, match=rf"{name} is larger than 100 bytes.* fewer trees, leaves or categories"):
        release.read(folder)


def test_another_scikit_learn_is_refused(folder: Path) -> None:
    """A release of another major or minor version of scikit-learn than the installed one is refused, and both are
    named; the patch may differ."""
    installed = version("scikit-learn")
    major, minor, *_ = installed.split(".")
    for other in (f"{major}.{int(minor) + 1}.0", f"{int(major) + 1}.{minor}.0", f"{major}.{minor}0.1", major):
        made_with(folder, other)
        with pytest.raises(ReleaseError, match=rf"scikit-learn {other}, but {installed} is installed: train again"):
            release.read(folder)
    for other in (f"{major}.{minor}.99", f"{major}.{minor}.0rc1", f"{major}.{minor}"):
        made_with(folder, other)
        release.read(folder)


def test_what_a_file_manager_leaves_is_no_matter(folder: Path) -> None:
    """A hidden file beside the release's own changes nothing."""
    (folder / ".DS_Store").write_text("")
    release.read(folder)


def test_another_release_in_the_same_place_is_refused(folder: Path) -> None:
    """A release that is sound in itself but not the one that was registered is refused."""
    checksum = release.read(folder).checksum
    assert release.read(folder, checksum).checksum == checksum
    edit(folder, lambda manifest: manifest.update(model_version="20991231_235959"))
    release.read(folder)
    with pytest.raises(ReleaseError, match="altered"):
        release.read(folder, checksum)


def test_a_draft_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """Nothing stands under the version's name until it is published, and nothing is left of a draft that failed."""
    with artifacts.draft(tmp_path) as draft:
        (draft.folder / "file").write_text("content")
        assert not draft.final.exists()
        published = draft.publish()
        assert (published / "file").read_text() == "content"
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == [draft.model_version]

    def fail() -> None:
        with artifacts.draft(tmp_path) as failing:
            (failing.folder / "file").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == [draft.model_version]


def test_the_next_draft_is_told_of_one_that_failed(tmp_path: Path) -> None:
    """Version and token of a draft that failed are told to the next one, once; of one that lives or was published
    nothing is told."""
    told: list[tuple[str, str]] = []

    def mark_killed(version: str, token: str) -> None:
        told.append((version, token))

    with pytest.raises(ZeroDivisionError), artifacts.draft(tmp_path) as failed:
        raise ZeroDivisionError
    for _ in range(2):
        with (
            artifacts.draft(tmp_path, mark_killed=mark_killed) as published,
            artifacts.draft(tmp_path, mark_killed=mark_killed),
        ):
            published.publish()
    assert told == [(failed.model_version, failed.token)]


def test_trainings_of_the_same_second_get_different_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four claims at once, and one more second that is taken elsewhere, give five versions in the one format."""
    monkeypatch.setattr(tempfile, "tempdir", None)  # a process has one, and these are threads
    claimed: list[str] = []
    elsewhere: list[str] = []

    def taken(version: str) -> bool:
        if not elsewhere:
            elsewhere.append(version)
        return version == elsewhere[0]

    def claim() -> None:
        with artifacts.draft(tmp_path, taken) as draft:
            claimed.append(draft.model_version)
            assert draft.started.strftime("%Y%m%d_%H%M%S") == draft.model_version
            draft.publish()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*claimed, *elsewhere}) == 5


def test_dead_drafts_are_swept_and_living_ones_are_not(tmp_path: Path) -> None:
    """The next training removes the draft and the temporary files of a killed one, and leaves alone those of one that
    is under way."""
    dead, living = tmp_path / ".20200101_000000.partial", tmp_path / ".20200101_000001.partial"
    for folder in (dead, dead.with_suffix(".tmp"), living, living.with_suffix(".tmp")):
        (folder / "plots").mkdir(parents=True)
    with FileLock(living.with_suffix(".lock")), artifacts.draft(tmp_path):
        assert not dead.exists()
        assert not dead.with_suffix(".tmp").exists()
        assert living.exists()
        assert living.with_suffix(".tmp").exists()


def test_temporary_files_are_made_where_they_are_swept(tmp_path: Path) -> None:
    """While a draft is written, temporary files are made beside it, and afterwards where they were before; then their
    folder is gone."""
    before = tempfile.gettempdir()
    with artifacts.draft(tmp_path) as draft:
        assert Path(tempfile.mkdtemp()).parent == draft.folder.with_suffix(".tmp")
        draft.publish()
    assert tempfile.gettempdir() == before
    assert {path.name for path in tmp_path.iterdir()} <= {".lock", draft.model_version}


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Where the artifacts' folder can't be made, the error names it and says what to do."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ReleaseError, match=r"file/artifacts.*writable"),
        artifacts.draft(tmp_path / "file" / "artifacts"),
    ):
        pass


def test_a_release_is_immutable(release: Release) -> None:
    """A release in memory can't be changed."""
    with pytest.raises(AttributeError):
        release.checksum = ""  # type: ignore[misc]  # the very thing that must fail
