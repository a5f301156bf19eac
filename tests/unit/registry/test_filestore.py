"""The file store: what is broken is repaired, and nothing outside the store is touched."""

import tempfile
from pathlib import Path

import pytest
import yaml

from tabserve.registry.filestore import FileStore, layout
from tabserve.registry.filestore.repair import BROKEN


@pytest.fixture(autouse=True)
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SECOND_LOOK", 0)


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    (tmp_path / "mlruns" / "models" / "iris").mkdir(parents=True)
    return FileStore(tmp_path / "mlruns", tmp_path / "artifacts")


def moved_aside(files: FileStore) -> list[str]:
    """The names of the entries that were moved aside."""
    return sorted(path.name.partition("-")[2] for path in (files.folder.parent / "artifacts" / BROKEN).glob("*"))


@pytest.mark.parametrize("name", ["..", ".", "../..", "../../precious", "link"])
def test_repair_stays_in_the_store(files: FileStore, name: str) -> None:
    """Whatever the model's name or a link says, a repair touches nothing outside the store's own models."""
    for folder in (files.folder, files.folder.parent, files.folder.parent / "precious", files.folder / "models"):
        (folder / "version-1").mkdir(parents=True)
        (folder / "version-1" / "mine").touch()
    (files.folder / "models" / "link").symlink_to(files.folder.parent / "precious")
    before = sorted(files.folder.parent.rglob("*"))
    files.repair.model(name, "")
    assert sorted(files.folder.parent.rglob("*")) == before


def test_linked_version_is_not_moved(files: FileStore, tmp_path: Path) -> None:
    """Neither the link nor the folder that it leads to."""
    (tmp_path / "elsewhere").mkdir()
    link = files.folder / "models" / "iris" / "version-1"
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "meta.yaml").touch()
    files.repair.model("iris", "")
    assert link.is_dir()
    assert moved_aside(files) == []


def test_broken_version_is_moved_aside_with_its_alias(files: FileStore) -> None:
    """The next version gets its number, and must not get its alias."""
    model = files.folder / "models" / "iris"
    for number in (1, 2):
        (model / f"version-{number}").mkdir()
    (model / "version-1" / "meta.yaml").write_text("{name: iris, creation_timestamp: 5}")
    (model / "version-2" / "meta.yaml").touch()
    (model / "aliases").mkdir()
    (model / "aliases" / "champion").write_text("2")
    (model / "aliases" / "stable").write_text("1")
    files.repair.model("iris", "what it is")
    assert moved_aside(files) == ["champion", "version-2"]
    assert [path.name for path in (model / "aliases").iterdir()] == ["stable"]
    meta = yaml.safe_load((model / "meta.yaml").read_text())
    assert (meta["name"], meta["description"], meta["creation_timestamp"]) == ("iris", "what it is", 5)


def test_version_that_is_being_written_is_not_moved(files: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An incomplete file is read a second time before anything is moved."""
    version = files.folder / "models" / "iris" / "version-1"
    version.mkdir()
    monkeypatch.setattr("time.sleep", lambda _: (version / "meta.yaml").write_text("name: iris"))
    files.repair.model("iris", "")
    assert version.is_dir()
    assert moved_aside(files) == []


def test_stray_file_among_the_datasets_is_not_moved(files: FileStore) -> None:
    """Only folders are datasets; a file manager may leave a file beside them."""
    datasets = files.folder / "1" / "datasets"
    datasets.mkdir(parents=True)
    (datasets / ".DS_Store").touch()
    (datasets / "abc").mkdir()
    files.repair.datasets()
    assert [path.name for path in datasets.iterdir()] == [".DS_Store"]
    assert moved_aside(files) == ["abc"]


def test_temporary_files_are_in_artifacts_while_the_store_is_locked(files: FileStore, tmp_path: Path) -> None:
    """Afterwards they are where they were before, and only the lock's file is left."""
    before = tempfile.gettempdir()
    with files.lock():
        assert tmp_path / "artifacts" in Path(tempfile.gettempdir()).parents
    assert tempfile.gettempdir() == before
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == [".registry.lock"]


def test_aliases_are_read_without_mlflow(files: FileStore) -> None:
    """Before the first alias there are none."""
    assert files.aliases("iris") == {}
    files.set_alias("iris", "champion", "2")
    files.set_alias("iris", "challenger", "10")
    assert files.aliases("iris") == {"champion": "2", "challenger": "10"}


def test_alias_that_is_being_written_is_read_a_second_time(files: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow empties the file before it writes it. One that stays empty is no alias."""
    files.set_alias("iris", "champion", "2")
    alias = files.folder / "models" / "iris" / "aliases" / "champion"
    alias.write_text("")
    assert files.aliases("iris") == {}
    monkeypatch.setattr("time.sleep", lambda _: alias.write_text("3"))
    assert files.aliases("iris") == {"champion": "3"}


def test_versions_are_located_where_the_store_is(files: FileStore) -> None:
    """The location is absolute and holds for the folder as it is now. One that isn't in this store, or that can't be
    written, stays."""
    model = f"m-{'0' * 32}"
    for folder in ("a #1", "b"):
        (files.folder / folder / "models" / model / "artifacts").mkdir(parents=True)
    locations = {
        "1": f"mlruns/b/models/{model}/artifacts",
        "2": f"file:///somewhere/else/b/models/{model}/artifacts",
        "3": f"mlruns/gone/models/{model}/artifacts",
        "4": "s3://bucket/model",
    }
    versions = {number: files.folder / "models" / "iris" / f"version-{number}" for number in locations}
    for number, location in locations.items():
        versions[number].mkdir()
        (versions[number] / "meta.yaml").write_text(f"name: iris\nstorage_location: {location}\nversion: {number}\n")
    files.locate_versions("iris")
    here = (files.folder / "b" / "models" / model / "artifacts").as_uri()
    metas = {number: yaml.safe_load((folder / "meta.yaml").read_text()) for number, folder in versions.items()}
    assert metas["1"] == {"name": "iris", "storage_location": here, "version": 1}
    assert {number: meta["storage_location"] for number, meta in metas.items()} == locations | {"1": here, "2": here}
    written = {folder / "meta.yaml": (folder / "meta.yaml").stat().st_mtime_ns for folder in versions.values()}
    files.locate_versions("iris")
    assert {meta: meta.stat().st_mtime_ns for meta in written} == written
