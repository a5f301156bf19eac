"""Settings: read once from the environment and `.env`, frozen, and handed to whoever needs them.

The only reader of the environment. Knows names, defaults and bounds; does not know what the values are used for.
"""

import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from dotenv.parser import parse_stream
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tabserve.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder. Relative paths in settings are relative to it, whatever the working directory is."""

PREFIX = "TABSERVE_"

STORES = ("file", "sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
"""Schemes of the stores that MLflow knows; those of databases may carry a driver, as in `mysql+pymysql`."""


def _plain_name(name: str) -> str:
    # in a file store the name is a folder's: it must not lead out of it
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]{0,99}", name):
        raise PydanticCustomError(
            "name", "use letters, digits and _ - . only, not . or - first, at most 100 characters"
        )
    return name


def _plain_alias(alias: str) -> str:
    if not re.fullmatch(r"[A-Za-z][\w-]{0,99}", alias):
        raise PydanticCustomError("alias", "use letters, digits and _ - only, a letter first, at most 100 characters")
    if re.fullmatch(r"latest|v[0-9]+", alias, re.IGNORECASE):
        raise PydanticCustomError("alias", "MLflow keeps 'latest' and 'v<number>' for itself; choose another word")
    return alias


LowerCase = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)


class Settings(BaseSettings):
    """Everything that can be set, by the name `TABSERVE_<NAME>` unless an alias says otherwise."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    tracking_uri: str = Field("file:./mlruns", validation_alias="MLFLOW_TRACKING_URI", description="the MLflow store")
    artifacts_dir: Path = Field(Path("artifacts"), description="folder of the releases, one sub-folder a model version")
    model_name: Annotated[str, AfterValidator(_plain_name)] = Field(
        "iris-classifier", description="registered model to follow"
    )
    model_alias: Annotated[str, AfterValidator(_plain_alias)] = Field(
        "champion", description="alias that says what is live"
    )
    challenger_alias: Annotated[str, AfterValidator(_plain_alias)] = Field(
        "challenger", description="alias that marks a candidate"
    )
    challenger_share: float = Field(
        0.0, ge=0, le=1, description="share of the callers of /predict that the challenger answers"
    )
    unknown_categories: Annotated[Literal["warn", "refuse"], LowerCase] = Field(
        "warn", description="a category that wasn't seen in training: answer with a warning, or refuse the row"
    )
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for every interface")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 for any free one")
    follow_seconds: float = Field(2.0, ge=0.1, le=3600, description="pause between two looks at the registry")
    max_body_bytes: int = Field(1024 * 1024, ge=1024, le=2**30, description="largest body of /predict")
    max_batch_bytes: int = Field(16 * 1024 * 1024, ge=1024, le=2**32, description="largest body of /predict/batch")
    max_batch_rows: int = Field(100_000, ge=1, le=10_000_000, description="most rows in one /predict/batch")
    # batches of 100,000 rows on two cores: 610,000 rows/s with one thread, 960,000 with two, 1,150,000 with three or
    # four. Each takes processor time from single predictions, and a batch's memory: two leave more than half of both
    batch_threads: int = Field(2, ge=1, le=64, description="how many batches are computed at a time")
    shutdown_seconds: int = Field(8, ge=1, le=600, description="how long a stop waits for requests in flight")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], LowerCase] = Field(
        "info", description="debug logs every request"
    )
    log_format: Annotated[Literal["text", "json"], LowerCase] = Field(
        "text", description="text for a terminal, json for a collector"
    )

    @classmethod
    def load(cls, root: Path = ROOT, *, table: Path | None = None, **options: str | None) -> "Settings":
        """Reads the environment, then `root/.env` for what the environment leaves open; makes paths absolute. The model
        of a `table` is named after its file where nothing names it.

        `options` are fields that a command line sets, None where it doesn't; they come first, and are held to the same
        bounds.

        Raises:
            SettingsError: naming the first setting, or option, that is unknown or has a value that can't be used.
        """
        given = {field: value for field, value in options.items() if value is not None}
        shown = {setting_name(field): f"--{field.replace('_', '-')}" for field in given}

        def refusal(name: str, reason: object) -> SettingsError:
            return SettingsError(f"{shown.get(name, name)}: {reason}")

        dotenv = root / ".env"
        there, in_file = _names_in(dotenv)
        names = {name for name in (*os.environ, *in_file) if name.upper().startswith(PREFIX)}
        unknown = sorted(name for name in names if name.upper() not in set(setting_names()))
        if unknown:
            raise SettingsError(f"{unknown[0]}: there is no such setting. Known: {', '.join(setting_names())}")
        init: dict[str, Any] = {str(cls.model_fields[name].validation_alias or name): given[name] for name in given}
        try:
            settings = cls(_env_file=dotenv if there else None, **init)
        except ValidationError as error:
            first = error.errors()[0]
            value = redacted(str(first["input"]))[:80]
            raise refusal(setting_name(str(first["loc"][0])), f"{first['msg']} (it is {value!r})") from None
        artifacts = (root / settings.artifacts_dir.expanduser()).resolve()
        try:
            store = absolute_store(settings.tracking_uri, root)
            if folder := store_folder(store):
                _expect_folder(folder)
        except (ValueError, OSError) as error:
            raise refusal(setting_name("tracking_uri"), error) from None
        try:
            _expect_folder(artifacts)
        except (ValueError, OSError) as error:
            raise refusal(setting_name("artifacts_dir"), error) from None
        if settings.challenger_alias.lower() == settings.model_alias.lower():
            raise refusal(
                setting_name("challenger_alias"), f"it is what is live ({settings.model_alias!r}); choose another"
            )
        made = {"artifacts_dir": artifacts, "tracking_uri": store}
        if table and "model_name" not in settings.model_fields_set:
            made["model_name"] = re.sub(r"[^A-Za-z0-9_-]+", "-", table.name.split(".")[0]).strip("-_") or "model"
        return settings.model_copy(update=made)


def _names_in(dotenv: Path) -> tuple[bool, set[str]]:
    """Whether there is a `.env`, and the names that it sets. One that can't be read is an error, not an empty one."""
    try:
        content = dotenv.read_text(encoding="utf-8")
    except FileNotFoundError:
        return False, set()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{dotenv}: it can't be read: {getattr(error, 'strerror', None) or error}") from None
    names = set()
    for binding in parse_stream(io.StringIO(content)):
        if binding.error or (binding.key and binding.value is None):
            blank_lines = len(binding.original.string) - len(binding.original.string.lstrip("\n"))
            line = binding.original.line + blank_lines
            raise SettingsError(f"{dotenv}, line {line}: this is no setting; write NAME=value, or # before a remark")
        names.add(binding.key or "")
    return True, names


def _expect_folder(path: Path) -> None:
    """Raises ValueError if a file is where this folder is, or should come to be."""
    for place in (path, *path.parents):
        if place.is_dir():
            return
        if place.exists() or place.is_symlink():
            raise ValueError(f"{place} is a file, not a folder. Choose another place")


def setting_name(field: str) -> str:
    """The environment's name of a field; of an alias, the alias itself."""
    alias = Settings.model_fields[field].validation_alias if field in Settings.model_fields else field
    return str(alias) if alias else f"{PREFIX}{field.upper()}"


def setting_names() -> Iterable[str]:
    """The environment's names of all settings, in the order in which they are declared."""
    return [setting_name(field) for field in Settings.model_fields]


def absolute_store(uri: str, root: Path = ROOT) -> str:
    """Makes a relative file or SQLite store absolute, so that it is the same one from every working directory.

    `mlruns` and `file:./mlruns` become the URI of the folder below `root`, `sqlite:///mlflow.db` that of the file below
    it; any other store stays as it is. A path alone is taken literally; behind `file:` a `%41` means an A.

    Raises:
        ValueError: MLflow knows no such store, or it names no path.
    """
    kind = re.match(r"([A-Za-z][\w.+-]*):", uri)
    scheme = kind[1].lower() if kind else "file"
    if uri == "databricks":
        return uri
    if scheme.partition("+")[0] not in STORES:
        raise ValueError(f"MLflow knows no store '{scheme}:'. Use a folder, or one of {', '.join(STORES)}")
    rest = uri[kind.end() :] if kind else uri
    if scheme == "file":
        path = unquote(rest.removeprefix("//")) if kind else rest
        if not path or (rest.startswith("//") and not path.startswith("/")):
            raise ValueError(f"{uri!r} names no folder. Use file:./mlruns or file:///the/whole/path")
        return (root / Path(path).expanduser()).resolve().as_uri()
    if scheme.startswith("sqlite"):
        path = rest.removeprefix("///")
        if path in ("", rest):
            raise ValueError(f"{uri!r} names no file. Use sqlite:///mlflow.db or sqlite:////the/whole/path.db")
        return f"{scheme}:///{(root / path).resolve()}"
    return uri


def store_folder(uri: str) -> Path | None:
    """The folder of a file-based store whose URI `absolute_store` has been through; None for every other store."""
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file:") else None


def database_file(uri: str) -> Path | None:
    """The file of a SQLite store whose URI `absolute_store` has been through; None for every other store."""
    return Path(uri.partition(":///")[2].partition("?")[0]) if uri.startswith("sqlite") else None


def redacted(uri: str) -> str:
    """A store's URI as it may be shown: without user, password and query."""
    scheme, there, rest = uri.partition("://")
    if not there or scheme.startswith(("file", "sqlite")):
        return uri
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def without_secrets(text: str, uri: str) -> str:
    """Text from elsewhere, without the user info and the password that a store's URI holds."""
    if redacted(uri) == uri:
        return text
    user_info = uri.partition("://")[2].rpartition("@")[0]
    password = user_info.partition(":")[2]
    text = text.replace(uri, redacted(uri))
    for secret in (user_info, password, unquote(password), *parse_qs(uri.partition("?")[2]).get("password", ())):
        text = text.replace(secret, "***") if secret else text
    return text
