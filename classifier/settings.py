"""Settings: read once from the environment and `.env`, frozen, and handed to whoever needs them.

The only reader of the environment. Knows names, defaults and bounds; does not know what the values are used for.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from classifier.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder. Relative paths in settings are relative to it, whatever the working directory is."""

PREFIX = "CLASSIFIER_"


class Settings(BaseSettings):
    """Everything that can be set, by the name `CLASSIFIER_<NAME>` unless an alias says otherwise."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    tracking_uri: str = Field("file:./mlruns", validation_alias="MLFLOW_TRACKING_URI", description="the MLflow store")
    artifacts_dir: Path = Field(Path("artifacts"), description="folder of the releases, one sub-folder a model version")
    model_name: str = Field("iris-classifier", pattern=r"^[\w.-]{1,100}$", description="registered model to follow")
    model_alias: str = Field("champion", pattern=r"^[A-Za-z][\w-]{0,99}$", description="alias that says what is live")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for every interface")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 for any free one")
    follow_seconds: float = Field(2.0, ge=0.1, le=3600, description="pause between two looks at the registry")
    max_body_bytes: int = Field(1024 * 1024, ge=1024, le=2**30, description="largest body of /predict")
    max_batch_bytes: int = Field(64 * 1024 * 1024, ge=1024, le=2**32, description="largest body of /predict/batch")
    max_batch_rows: int = Field(100_000, ge=1, le=10_000_000, description="most rows in one /predict/batch")
    shutdown_seconds: int = Field(10, ge=1, le=600, description="how long a stop waits for requests in flight")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug logs every request")
    log_format: Literal["text", "json"] = Field("text", description="text for a terminal, json for a collector")

    @classmethod
    def load(cls, root: Path = ROOT) -> "Settings":
        """Reads the environment, then `root/.env` for what the environment leaves open; makes paths absolute.

        Raises:
            SettingsError: naming the first setting that is unknown or has a value that can't be used.
        """
        dotenv = root / ".env"
        if not os.access(dotenv, os.R_OK):
            dotenv = root / os.devnull
        names = {name for name in (*os.environ, *dotenv_values(dotenv)) if name.upper().startswith(PREFIX)}
        unknown = sorted(name for name in names if name.upper() not in set(setting_names()))
        if unknown:
            raise SettingsError(f"{unknown[0]}: there is no such setting. Known: {', '.join(setting_names())}")
        try:
            settings = cls(_env_file=dotenv)
        except ValidationError as error:
            first = error.errors()[0]
            name = setting_name(str(first["loc"][0]))
            raise SettingsError(f"{name}: {first['msg']} (it is {str(first['input'])[:80]!r})") from None
        return settings.model_copy(
            update={
                "artifacts_dir": (root / settings.artifacts_dir.expanduser()).resolve(),
                "tracking_uri": absolute_store(settings.tracking_uri, root),
            }
        )


def setting_name(field: str) -> str:
    """The environment's name of a field; of an alias, the alias itself."""
    alias = Settings.model_fields[field].validation_alias if field in Settings.model_fields else field
    return str(alias) if alias else f"{PREFIX}{field.upper()}"


def setting_names() -> Iterable[str]:
    """The environment's names of all settings, in the order in which they are declared."""
    return [setting_name(field) for field in Settings.model_fields]


def absolute_store(uri: str, root: Path = ROOT) -> str:
    """Makes a relative file or SQLite store absolute, so that it is the same one from every working directory.

    `file:./mlruns` and `mlruns` become the folder below `root`, `sqlite:///mlflow.db` the file below it; anything else
    stays as it is.
    """
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        return f"sqlite:///{(root / uri.removeprefix('sqlite:///')).resolve()}"
    if uri.startswith("file://"):
        return uri
    if uri.startswith("file:") or ":" not in uri:
        return f"file://{(root / Path(uri.removeprefix('file:')).expanduser()).resolve()}"
    return uri


def store_folder(uri: str) -> Path | None:
    """The folder of a file-based store whose URI `absolute_store` has been through; None for every other store."""
    return Path(uri.removeprefix("file://")) if uri.startswith("file://") else None
