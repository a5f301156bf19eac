"""Settings: read once, bounded, named when wrong."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from classifier.errors import SettingsError
from classifier.settings import Settings, absolute_store, setting_names, store_folder


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


def test_the_environment_comes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` sets what the environment leaves open, and an empty value counts as left open."""
    (tmp_path / ".env").write_text("CLASSIFIER_PORT=8001\nCLASSIFIER_LOG_FORMAT=json\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("CLASSIFIER_PORT", "8002")
    monkeypatch.setenv("CLASSIFIER_LOG_FORMAT", "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    settings = Settings.load(tmp_path)
    assert (settings.port, settings.log_format, settings.tracking_uri) == (8002, "json", "http://tracking:5000")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLASSIFIER_PORT", "eight"),
        ("CLASSIFIER_PORT", "70000"),
        ("CLASSIFIER_FOLLOW_SECONDS", "0"),
        ("CLASSIFIER_FOLLOW_SECONDS", "nan"),
        ("CLASSIFIER_LOG_LEVEL", "loud"),
        ("CLASSIFIER_MODEL_NAME", "../up"),
        ("CLASSIFIER_PROT", "8000"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value out of bounds, and a name that doesn't exist, are refused in one line that names the setting."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: [^\n]+$"):
        Settings.load(tmp_path)


def test_settings_do_not_change(tmp_path: Path) -> None:
    """Settings are frozen."""
    settings = Settings.load(tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]  # the very thing that must fail


@pytest.mark.parametrize(
    ("uri", "absolute"),
    [
        ("file:./mlruns", "file:///root/mlruns"),
        ("mlruns", "file:///root/mlruns"),
        ("./a b", "file:///root/a b"),
        ("file:/abs/mlruns", "file:///abs/mlruns"),
        ("file:///abs/mlruns", "file:///abs/mlruns"),
        ("sqlite:///mlflow.db", "sqlite:////root/mlflow.db"),
        ("sqlite:////abs/mlflow.db", "sqlite:////abs/mlflow.db"),
        ("http://tracking:5000", "http://tracking:5000"),
    ],
)
def test_a_store_is_the_same_from_everywhere(uri: str, absolute: str) -> None:
    """A relative store is taken from the root, whatever the working directory is; others stay as they are."""
    assert absolute_store(uri, Path("/root")) == absolute
    assert store_folder(absolute) == (Path(absolute[7:]) if absolute.startswith("file:") else None)
