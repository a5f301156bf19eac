"""Settings: read once, bounded, named when wrong."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from tabserve.errors import SettingsError
from tabserve.settings import (
    Settings,
    absolute_store,
    database_file,
    redacted,
    setting_names,
    store_folder,
    without_secrets,
)


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper() in set(setting_names())]:
        monkeypatch.delenv(name)


def test_defaults_stand_where_nothing_is_set(tmp_path: Path) -> None:
    """With an empty environment the store and the artifacts are below the root, and the port is 8000."""
    settings = Settings.load(tmp_path)
    assert settings.tracking_uri == f"file://{tmp_path}/mlruns"
    assert settings.artifacts_dir == tmp_path / "artifacts"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_the_two_aliases_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A challenger under the alias of what is live would be live, unverified: that is refused and named."""
    monkeypatch.setenv("TABSERVE_CHALLENGER_ALIAS", "Champion")
    with pytest.raises(SettingsError, match="TABSERVE_CHALLENGER_ALIAS"):
        Settings.load(tmp_path)


def test_the_environment_comes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` sets what the environment leaves open, and an empty value counts as left open."""
    (tmp_path / ".env").write_text("TABSERVE_PORT=8001\nTABSERVE_LOG_FORMAT=json\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("TABSERVE_PORT", "8002")
    monkeypatch.setenv("TABSERVE_LOG_FORMAT", "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    settings = Settings.load(tmp_path)
    assert (settings.port, settings.log_format, settings.tracking_uri) == (8002, "json", "http://tracking:5000")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TABSERVE_PORT", "eight"),
        ("TABSERVE_PORT", "70000"),
        ("TABSERVE_FOLLOW_SECONDS", "0"),
        ("TABSERVE_FOLLOW_SECONDS", "nan"),
        ("TABSERVE_LOG_LEVEL", "loud"),
        ("TABSERVE_MODEL_NAME", "../up"),
        ("TABSERVE_MODEL_NAME", ".."),
        ("TABSERVE_MODEL_NAME", "."),
        ("TABSERVE_MODEL_NAME", ".hidden"),
        ("TABSERVE_MODEL_NAME", "a/b"),
        ("TABSERVE_MODEL_ALIAS", "latest"),
        ("TABSERVE_MODEL_ALIAS", "v1"),
        ("TABSERVE_MODEL_ALIAS", "V12"),
        ("TABSERVE_ARTIFACTS_DIR", __file__),
        ("TABSERVE_ARTIFACTS_DIR", f"{__file__}/below/it"),
        ("MLFLOW_TRACKING_URI", f"file:{__file__}"),
        ("MLFLOW_TRACKING_URI", "file:"),
        ("MLFLOW_TRACKING_URI", "file://"),
        ("MLFLOW_TRACKING_URI", "file://mlruns"),
        ("MLFLOW_TRACKING_URI", "sqlite://"),
        ("MLFLOW_TRACKING_URI", "sqlite:///"),
        ("MLFLOW_TRACKING_URI", "nonsense://host"),
        ("TABSERVE_PROT", "8000"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value out of bounds, and a name that doesn't exist, are refused in one line that names the setting."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: [^\n]+$"):
        Settings.load(tmp_path)


@pytest.mark.parametrize("line", ["TABSERVE_PORT 8001", "export", '="8001"', "TABSERVE_HOST='cut"])
def test_a_line_that_is_no_setting_is_named(line: str, tmp_path: Path) -> None:
    """A line of `.env` that can't be read as NAME=value is refused by its number, not passed over."""
    (tmp_path / ".env").write_text(f"# where we listen\nTABSERVE_PORT=8001\n\n{line}\n")
    with pytest.raises(SettingsError, match=r"^[^\n]*\.env, line 4: [^\n]+NAME=value[^\n]*$"):
        Settings.load(tmp_path)


def test_a_level_may_be_written_in_capitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log level and a log format mean the same in capitals."""
    monkeypatch.setenv("TABSERVE_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("TABSERVE_LOG_FORMAT", "Json")
    settings = Settings.load(tmp_path)
    assert (settings.log_level, settings.log_format) == ("debug", "json")


def test_settings_do_not_change(tmp_path: Path) -> None:
    """Settings are frozen."""
    settings = Settings.load(tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]  # the very thing that must fail


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("model_name", "../../precious"),
        ("model_name", ".."),
        ("model_name", ""),
        ("tracking_uri", ""),
        ("tracking_uri", "nonsense://host"),
    ],
)
def test_an_option_is_held_to_the_bounds_of_its_setting(option: str, value: str, tmp_path: Path) -> None:
    """What a command line gives is validated like the setting, and refused in one line that names the option."""
    with pytest.raises(SettingsError, match=f"^--{option.replace('_', '-')}: [^\n]+$"):
        Settings.load(tmp_path, table=None, **{option: value})


@pytest.mark.parametrize(
    ("file", "name"),
    [("penguins.csv", "penguins"), ("my table (1).csv.gz", "my-table-1"), ("../Ä.csv", "model"), (".csv", "model")],
)
def test_a_model_is_named_after_its_table(
    file: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no one names the model of a table, the table's file does, in letters that a folder may have."""
    monkeypatch.delenv("TABSERVE_MODEL_NAME", raising=False)
    assert Settings.load(tmp_path, table=Path(file)).model_name == name
    assert Settings.load(tmp_path, table=Path(file), model_name="mine").model_name == "mine"
    monkeypatch.setenv("TABSERVE_MODEL_NAME", "theirs")
    assert Settings.load(tmp_path, table=Path(file)).model_name == "theirs"


def test_an_option_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that is given wins over the environment, and one that isn't leaves it alone."""
    monkeypatch.setenv("TABSERVE_MODEL_NAME", "theirs")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    settings = Settings.load(tmp_path, model_name=None, tracking_uri="other")
    assert (settings.model_name, settings.tracking_uri) == ("theirs", f"file://{tmp_path}/other")
    assert Settings.load(tmp_path, model_name="ours").model_name == "ours"


def test_a_file_of_settings_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A `.env` that is there and can't be read is an error that names it, not an empty one."""
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match=r"\.env: it can't be read: Is a directory$"):
        Settings.load(tmp_path)
    (tmp_path / ".env").rmdir()
    (tmp_path / ".env").write_bytes(b"TABSERVE_PORT=\xff")
    with pytest.raises(SettingsError, match=r"\.env: it can't be read"):
        Settings.load(tmp_path)


@pytest.mark.parametrize(
    ("uri", "absolute"),
    [
        ("file:./mlruns", "file:///checkout/mlruns"),
        ("mlruns", "file:///checkout/mlruns"),
        ("./c# %41 d", "file:///checkout/c%23%20%2541%20d"),
        ("./a:b", "file:///checkout/a%3Ab"),
        ("file:c%23", "file:///checkout/c%23"),
        ("file:/abs/mlruns", "file:///abs/mlruns"),
        ("file:///abs/mlruns", "file:///abs/mlruns"),
        ("sqlite:///mlflow.db", "sqlite:////checkout/mlflow.db"),
        ("sqlite:////abs/mlflow.db", "sqlite:////abs/mlflow.db"),
        ("file:///a b", "file:///a%20b"),
        ("http://tracking:5000", "http://tracking:5000"),
        ("postgresql+psycopg://user:pw@host/db", "postgresql+psycopg://user:pw@host/db"),
        ("databricks", "databricks"),
    ],
)
def test_a_store_is_the_same_from_everywhere(uri: str, absolute: str) -> None:
    """A relative store is taken from the root, whatever the working directory is; others stay as they are."""
    assert absolute_store(uri, Path("/checkout")) == absolute
    assert absolute_store(absolute) == absolute


def test_a_store_on_this_machine_has_a_path() -> None:
    """The folder of a file store and the file of a SQLite store are those that their URIs mean."""
    folder = Path("/checkout/c# %41 d")
    assert store_folder(absolute_store(str(folder))) == folder
    assert database_file("sqlite:////abs/mlflow.db?timeout=5") == Path("/abs/mlflow.db")
    assert (store_folder("http://host"), database_file("http://host")) == (None, None)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://user:pw@host:5000/path", "http://host:5000/path"),
        ("https://token@host", "https://host"),
        ("postgresql+psycopg://user:p/w@x@host/db?password=pw", "postgresql+psycopg://host/db"),
        ("http://host:5000", "http://host:5000"),
        ("file:///home/me@work/mlruns", "file:///home/me@work/mlruns"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("databricks", "databricks"),
    ],
)
def test_a_uri_is_shown_without_credentials(uri: str, shown: str) -> None:
    """User, password and query stay out of what is shown of a server or a database; a path is shown whole."""
    assert redacted(uri) == shown


def test_a_foreign_message_loses_the_credentials() -> None:
    """The URI, its user info and its password, quoted or not, are taken out of text from elsewhere."""
    uri = "postgresql://user:p%40w@host/db?password=hidden"
    assert without_secrets(f"no {uri}; user:p%40w@host; p%40w, p@w, hidden", uri) == (
        "no postgresql://host/db; ***@host; ***, ***, ***"
    )
    assert without_secrets("no file at a", "file:///a") == "no file at a"
