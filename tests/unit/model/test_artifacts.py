"""The folder of artifacts: a version appears in one step, and the remains of failed trainings are removed."""

import tempfile
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from tabserve.errors import ReleaseError
from tabserve.model import artifacts


def test_draft_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """The folder of a version doesn't exist before the draft is published, and a draft that fails leaves no folder."""
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


def test_next_draft_reports_a_failed_one_once(tmp_path: Path) -> None:
    """The next draft calls `mark_killed` once, with the version and the token of the draft that failed. It isn't called
    for a draft that is being written or was published."""
    killed: list[tuple[str, str]] = []

    def mark_killed(version: str, token: str) -> None:
        killed.append((version, token))

    with pytest.raises(ZeroDivisionError), artifacts.draft(tmp_path) as failed:
        raise ZeroDivisionError
    for _ in range(2):
        with (
            artifacts.draft(tmp_path, mark_killed=mark_killed) as published,
            artifacts.draft(tmp_path, mark_killed=mark_killed),
        ):
            published.publish()
    assert killed == [(failed.model_version, failed.token)]


def test_drafts_of_the_same_second_get_different_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four drafts that start in one second, and a version that is taken in another place, make five different versions,
    and each version is the time at which its draft started."""
    monkeypatch.setattr(tempfile, "tempdir", None)  # there is one per process, and the drafts here are threads of one
    claimed: list[str] = []
    taken_elsewhere: list[str] = []

    def is_taken(version: str) -> bool:
        if not taken_elsewhere:
            taken_elsewhere.append(version)
        return version == taken_elsewhere[0]

    def claim() -> None:
        with artifacts.draft(tmp_path, is_taken) as draft:
            claimed.append(draft.model_version)
            assert draft.started.strftime("%Y%m%d_%H%M%S") == draft.model_version
            draft.publish()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*claimed, *taken_elsewhere}) == 5


def test_next_draft_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    """The next draft removes the folder and the temporary files of a killed one, and keeps those of a draft that is
    being written."""
    dead, living = tmp_path / ".20200101_000000.partial", tmp_path / ".20200101_000001.partial"
    for folder in (dead, dead.with_suffix(".tmp"), living, living.with_suffix(".tmp")):
        (folder / "plots").mkdir(parents=True)
    with FileLock(living.with_suffix(".lock")), artifacts.draft(tmp_path):
        assert not dead.exists()
        assert not dead.with_suffix(".tmp").exists()
        assert living.exists()
        assert living.with_suffix(".tmp").exists()


def test_temporary_files_are_made_beside_the_draft(tmp_path: Path) -> None:
    """While a draft is written, temporary files are made beside it. Afterwards their folder is removed, and the usual
    one is used again."""
    usual = tempfile.gettempdir()
    with artifacts.draft(tmp_path) as draft:
        assert Path(tempfile.mkdtemp()).parent == draft.folder.with_suffix(".tmp")
        draft.publish()
    assert tempfile.gettempdir() == usual
    assert {path.name for path in tmp_path.iterdir()} <= {".lock", draft.model_version}


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """When the artifacts' folder can't be made, the error names it and says what to do."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ReleaseError, match=r"file/artifacts.*writable"),
        artifacts.draft(tmp_path / "file" / "artifacts"),
    ):
        pass
