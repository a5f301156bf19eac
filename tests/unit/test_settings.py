"""Settings: read once, within bounds, and named in an error."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from tabserve.errors import SettingsError
from tabserve.settings import OLD_PREFIX, PREFIX, RENAMED, Settings, setting_names


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the shell that runs the tests."""
    for name in [name for name in os.environ if name.upper() in set(setting_names())]:
        monkeypatch.delenv(name)


def test_defaults_apply_where_nothing_is_set(tmp_path: Path) -> None:
    """With an empty environment the store and the artifacts are in the root, and the port is 8000."""
    settings = Settings.load(tmp_path)
    assert settings.tracking_uri == f"file://{tmp_path}/mlruns"
    assert settings.artifacts_dir == tmp_path / "artifacts"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_challenger_alias_must_differ_from_the_live_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alias of the live version is refused as the challenger's: a challenger would be live without verification."""
    monkeypatch.setenv("TABSERVE_CHALLENGER_ALIAS", "Champion")
    with pytest.raises(SettingsError, match="TABSERVE_CHALLENGER_ALIAS"):
        Settings.load(tmp_path)


def test_environment_overrides_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` sets what the environment doesn't set; an empty value counts as not set."""
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
        ("TABSERVE_TRUSTED_PROXIES", "*"),
        ("TABSERVE_TRUSTED_PROXIES", "10.0.0.0/8, 10.0.0.1/8"),
        ("TABSERVE_TRUSTED_PROXIES", "proxy.example.com"),
        ("TABSERVE_ROOT_PATH", "ml/iris"),
        ("TABSERVE_ROOT_PATH", "//evil.example"),
        ("TABSERVE_ROOT_PATH", "/a/../b"),
        ("TABSERVE_ROOT_PATH", '/"><script>'),
        ("TABSERVE_CORS_ORIGINS", "app.example.com"),
        ("TABSERVE_CORS_ORIGINS", "https://app.example.com, https://app.example.com/page"),
        ("TABSERVE_PROT", "8000"),
    ],
)
def test_wrong_setting_is_named(name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unusable value, or an unknown name, is refused in one line that names the setting."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: [^\n]+$"):
        Settings.load(tmp_path)


@pytest.mark.parametrize("place", ["environment", "file"])
def test_old_name_of_a_setting_is_refused(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting under its old name, in the environment or in `.env`, is refused in one line with its new name."""
    for field in RENAMED:
        if place == "environment":
            monkeypatch.setenv(f"{OLD_PREFIX}{field}", "value")
        else:
            (tmp_path / ".env").write_text(f"{OLD_PREFIX}{field}=value\n")
        with pytest.raises(SettingsError) as refusal:
            Settings.load(tmp_path)
        assert str(refusal.value) == (f"{OLD_PREFIX}{field}: this setting is called {PREFIX}{field} now; rename it")
        monkeypatch.delenv(f"{OLD_PREFIX}{field}", raising=False)


@pytest.mark.parametrize("service", ["tabserve", "classifier", "tabserve-api"])
def test_variables_that_kubernetes_makes_for_a_service_are_no_settings(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pod of a namespace gets where its Services are. For one whose name begins as the prefix of the settings
    does, today's or the old one, the variables are ignored: the port is that of `.env`, or the default."""
    prefix = service.upper().replace("-", "_")
    for name, value in {
        "SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "8000", "SERVICE_PORT_HTTP": "8000", "PORT": "tcp://10.0.0.1:8000",
        "PORT_8000_TCP": "tcp://10.0.0.1:8000", "PORT_8000_TCP_PROTO": "tcp", "PORT_8000_TCP_PORT": "8000",
        "PORT_8000_TCP_ADDR": "10.0.0.1", "PORT_53_UDP": "udp://10.0.0.1:53",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"{prefix}_{name}", value)
    assert (Settings.load(tmp_path).host, Settings.load(tmp_path).port) == ("127.0.0.1", 8000)
    (tmp_path / ".env").write_text("TABSERVE_PORT=8001\n")
    assert Settings.load(tmp_path).port == 8001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TABSERVE_PORT", "http://localhost:8000"),
        ("TABSERVE_API_PORT", "8000"),
        ("TABSERVE_PORT_8000", "tcp://10.0.0.1:8000"),
        ("CLASSIFIER_PORT", "8000"),
    ],
)
def test_names_that_kubernetes_does_not_make_are_refused(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong port, and a name that is only similar, are still a mistake that stops the start."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: "):
        Settings.load(tmp_path)


def test_old_names_are_names_of_settings() -> None:
    """Every old name leads to a setting that exists."""
    assert {f"{PREFIX}{field}" for field in RENAMED} <= set(setting_names())


def test_other_names_with_the_old_prefix_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with the old prefix that was never the name of a setting belongs to another program, and is ignored."""
    monkeypatch.setenv(f"{OLD_PREFIX}COLOUR", "blue")
    monkeypatch.setenv(f"{OLD_PREFIX}TRACKING_URI", "http://tracking:5000")
    assert Settings.load(tmp_path).tracking_uri == f"file://{tmp_path}/mlruns"


@pytest.mark.parametrize("line", ["TABSERVE_PORT 8001", "export", '="8001"', "TABSERVE_HOST='cut"])
def test_line_that_sets_nothing_is_named(line: str, tmp_path: Path) -> None:
    """A line of `.env` that isn't NAME=value is refused by its number, not ignored."""
    (tmp_path / ".env").write_text(f"# a comment\nTABSERVE_PORT=8001\n\n{line}\n")
    with pytest.raises(SettingsError, match=r"^[^\n]*\.env, line 4: [^\n]+NAME=value[^\n]*$"):
        Settings.load(tmp_path)


def test_words_may_be_in_capitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log level and a log format mean the same in capitals."""
    monkeypatch.setenv("TABSERVE_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("TABSERVE_LOG_FORMAT", "Json")
    settings = Settings.load(tmp_path)
    assert (settings.log_level, settings.log_format) == ("debug", "json")


def test_lists_are_separated_by_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies and origins are lists with commas, with blanks or without; a prefix may end with a slash."""
    monkeypatch.setenv("TABSERVE_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7,unix,::1,")
    monkeypatch.setenv("TABSERVE_CORS_ORIGINS", "http://localhost:3000,https://app.example.com, http://[::1]:80")
    monkeypatch.setenv("TABSERVE_ROOT_PATH", "/ml/iris/")
    settings = Settings.load(tmp_path)
    assert settings.trusted_proxies == ("10.0.0.0/8", "192.0.2.7", "unix", "::1")
    assert settings.cors_origins == ("http://localhost:3000", "https://app.example.com", "http://[::1]:80")
    assert settings.root_path == "/ml/iris"


def test_unix_socket_is_relative_to_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path of the unix socket is one in the root, as every other path."""
    monkeypatch.setenv("TABSERVE_UDS", "run/api.sock")
    assert Settings.load(tmp_path).uds == tmp_path / "run" / "api.sock"
    assert Settings.load(tmp_path, uds="/run/api.sock").uds == Path("/run/api.sock")


def test_settings_are_frozen(tmp_path: Path) -> None:
    """A setting can't be changed after it was read."""
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
        ("root_path", "ml/iris"),
    ],
)
def test_option_has_the_bounds_of_its_setting(option: str, value: str, tmp_path: Path) -> None:
    """A value from the command line is validated like the setting, and refused in one line that names the option."""
    with pytest.raises(SettingsError, match=f"^--{option.replace('_', '-')}: [^\n]+$"):
        Settings.load(tmp_path, table=None, **{option: value})


@pytest.mark.parametrize(
    ("file", "name"),
    [("penguins.csv", "penguins"), ("my table (1).csv.gz", "my-table-1"), ("../Ä.csv", "model"), (".csv", "model")],
)
def test_model_is_named_after_its_table(file: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If neither a setting nor an option names the model, its name is that of the table's file, in letters that a
    folder may have."""
    monkeypatch.delenv("TABSERVE_MODEL_NAME", raising=False)
    assert Settings.load(tmp_path, table=Path(file)).model_name == name
    assert Settings.load(tmp_path, table=Path(file), model_name="mine").model_name == "mine"
    monkeypatch.setenv("TABSERVE_MODEL_NAME", "theirs")
    assert Settings.load(tmp_path, table=Path(file)).model_name == "theirs"


def test_option_overrides_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option overrides the environment; an option that isn't given changes nothing."""
    monkeypatch.setenv("TABSERVE_MODEL_NAME", "theirs")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    settings = Settings.load(tmp_path, model_name=None, tracking_uri="other")
    assert (settings.model_name, settings.tracking_uri) == ("theirs", f"file://{tmp_path}/other")
    assert Settings.load(tmp_path, model_name="ours").model_name == "ours"


def test_unreadable_env_file_is_named(tmp_path: Path) -> None:
    """A `.env` that exists and can't be read is an error that names it; it doesn't count as empty."""
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match=r"\.env: it can't be read: Is a directory$"):
        Settings.load(tmp_path)
    (tmp_path / ".env").rmdir()
    (tmp_path / ".env").write_bytes(b"TABSERVE_PORT=\xff")
    with pytest.raises(SettingsError, match=r"\.env: it can't be read"):
        Settings.load(tmp_path)
