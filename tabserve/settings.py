"""The settings: read once from the environment and `.env`, frozen, and passed on.

No other module reads the environment. This one knows names, defaults and bounds; it doesn't know how they are used.
"""

import io
import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv.parser import parse_stream
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, SettingsConfigDict
from pydantic_settings import PydanticBaseSettingsSource as Source

from tabserve.errors import SettingsError
from tabserve.store_uri import absolute_store, redacted, store_folder

PREFIX = "TABSERVE_"

OLD_PREFIX = "CLASSIFIER_"
RENAMED = (
    "ARTIFACTS_DIR", "BATCH_THREADS", "CHALLENGER_ALIAS", "CHALLENGER_SHARE", "FOLLOW_SECONDS", "HOST", "LOG_FORMAT",
    "LOG_LEVEL", "MAX_BATCH_BYTES", "MAX_BATCH_ROWS", "MAX_BODY_BYTES", "MODEL_ALIAS", "MODEL_NAME", "PORT",
    "SHUTDOWN_SECONDS", "UNKNOWN_CATEGORIES",
)  # fmt: skip
"""The settings that once had the old prefix. A value under an old name would be ignored, so it stops the start."""

_SERVICE_LINK = re.compile(
    rf"(?:{PREFIX}|{OLD_PREFIX})(?:\w+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_PORT_LINK = re.compile(rf"(?:{PREFIX}|{OLD_PREFIX})(?:\w+_)?PORT")


def _is_service_link(name: str, value: str | None) -> bool:
    """Whether Kubernetes made this variable, for a Service whose name begins as our prefix does.

    Kubernetes tells every pod of a namespace where its Services are. Of a Service called `tabserve` one variable has
    the name of a setting, the port: there the value decides, which is a URL such as `tcp://10.0.0.1:8000`.
    """
    upper = name.upper()
    is_port_link = _PORT_LINK.fullmatch(upper) and re.match(r"(?:tcp|udp|sctp)://", value or "")
    return bool(is_port_link or _SERVICE_LINK.fullmatch(upper))


def _valid_name(name: str) -> str:
    # in a file store the name is the name of a folder: it must not lead out of the store
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]{0,99}", name):
        raise PydanticCustomError(
            "name", "use letters, digits and _ - . only, not . or - first, at most 100 characters"
        )
    return name


def _valid_alias(alias: str) -> str:
    if not re.fullmatch(r"[A-Za-z][\w-]{0,99}", alias):
        raise PydanticCustomError("alias", "use letters, digits and _ - only, a letter first, at most 100 characters")
    if re.fullmatch(r"latest|v[0-9]+", alias, re.IGNORECASE):
        raise PydanticCustomError("alias", "MLflow reserves 'latest' and 'v<number>'; choose another alias")
    return alias


def _split(value: object) -> object:
    """The texts between the commas of a text."""
    return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


def _valid_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if origin != "*" and not re.fullmatch(
            r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]+)?", origin
        ):
            raise PydanticCustomError(
                "origin", "write origins as a browser does, https://app.example.com, separated by commas; or *"
            )
    return origins


UNIX = "unix"
"""Among the trusted proxies: whoever connects to a unix socket."""


def _valid_proxies(proxies: tuple[str, ...]) -> tuple[str, ...]:
    for proxy in proxies:
        try:
            if proxy != UNIX:
                ipaddress.ip_network(proxy)
        except ValueError as error:
            raise PydanticCustomError(
                "proxies",
                "write addresses, networks like 10.0.0.0/8, or unix, separated by commas: {error}",
                {"error": str(error)},
            ) from None
    return proxies


PATH_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+){1,20}")
"""A path prefix: it is shown in pages, so it has no character that means something there."""


def _valid_prefix(prefix: str) -> str:
    prefix = prefix.rstrip("/")
    if prefix and not PATH_PREFIX.fullmatch(prefix):
        raise PydanticCustomError("prefix", "write it like /ml/iris: letters, digits and _ - . ~ only, / first")
    return prefix or "/"


LowerCase = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)


class Settings(BaseSettings):
    """All settings. The environment sets a field as `TABSERVE_<FIELD>`, or under its alias if it has one."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    tracking_uri: str = Field("file:./mlruns", validation_alias="MLFLOW_TRACKING_URI", description="the MLflow store")
    artifacts_dir: Path = Field(
        Path("artifacts"), description="folder of the releases, with a folder for each model version"
    )
    model_name: Annotated[str, AfterValidator(_valid_name)] = Field(
        "iris-classifier", description="the registered model that is served"
    )
    model_alias: Annotated[str, AfterValidator(_valid_alias)] = Field(
        "champion", description="the alias of the live version"
    )
    challenger_alias: Annotated[str, AfterValidator(_valid_alias)] = Field(
        "challenger", description="the alias of the challenger, a candidate that is compared with the live version"
    )
    challenger_share: float = Field(
        0.0, ge=0, le=1, description="the share of the callers of /predict that the challenger answers"
    )
    unknown_categories: Annotated[Literal["warn", "refuse"], LowerCase] = Field(
        "warn", description="what a category does that training has not seen: warn in the reply, or refuse the row"
    )
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for every interface")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 for any free port")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_valid_proxies)] = (
        Field((), description="addresses and networks of proxies whose X-Forwarded-... headers are believed")
    )
    root_path: Annotated[str, AfterValidator(_valid_prefix)] = Field(
        "/", description="the path prefix under which a proxy publishes the service"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_valid_origins)] = Field(
        (), description="origins of web pages that may call the service from a browser, or * for any"
    )
    uds: Path | None = Field(None, description="unix socket to listen on, instead of host and port")
    follow_seconds: float = Field(2.0, ge=0.1, le=3600, description="seconds between two polls of the registry")
    max_body_bytes: int = Field(1024 * 1024, ge=1024, le=2**30, description="largest body of /predict")
    max_batch_bytes: int = Field(16 * 1024 * 1024, ge=1024, le=2**32, description="largest body of /predict/batch")
    max_batch_rows: int = Field(100_000, ge=1, le=10_000_000, description="most rows in one /predict/batch")
    # batches of 100,000 rows on two cores: 610,000 rows/s with one thread, 960,000 with two, 1,150,000 with three or
    # four. Each thread takes processor time from single predictions, and the memory of a batch: with two, more than
    # half of both is left
    batch_threads: int = Field(2, ge=1, le=64, description="how many batches are computed at the same time")
    rate_limit: float = Field(
        0.0, ge=0, le=1_000_000, description="requests per second of one client, on the average; 0 for no limit"
    )
    rate_burst: int = Field(100, ge=1, le=1_000_000, description="requests of one client at once, with a rate limit")
    max_batches: int = Field(
        64, ge=1, le=10_000, description="how many batches may be computed and wait at the same time; more get 503"
    )
    max_connections: int = Field(
        1000, ge=1, le=1_000_000, description="how many connections may be open at the same time"
    )
    head_seconds: float = Field(
        10.0, ge=0.1, le=3600, description="seconds for the head of a request; also how long a caller may read nothing"
    )
    body_seconds: float = Field(10.0, ge=0.1, le=3600, description="seconds for the body of a request")
    body_bytes_per_second: int = Field(
        10_000, ge=1, le=2**30, description="a body gets a second more for each so many bytes that have come"
    )
    shutdown_seconds: int = Field(8, ge=1, le=600, description="seconds that a stop waits for requests in flight")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], LowerCase] = Field(
        "info", description="debug logs every request"
    )
    log_format: Annotated[Literal["text", "json"], LowerCase] = Field(
        "text", description="text for a terminal, json for a collector"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        _settings_cls: type[BaseSettings],
        init_settings: Source,
        env_settings: Source,
        dotenv_settings: Source,
        file_secret_settings: Source,
    ) -> tuple[Source, ...]:
        """Takes what Kubernetes made out of the environment, so that `.env` and the defaults apply."""
        if isinstance(env_settings, EnvSettingsSource):
            env_settings.env_vars = {
                name: value for name, value in env_settings.env_vars.items() if not _is_service_link(name, value)
            }
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @classmethod
    def load(cls, root: Path, *, table: Path | None = None, **options: str | None) -> "Settings":
        """Reads the environment, and `root/.env` for what the environment doesn't set.

        Args:
            root: folder to which relative paths are relative, whatever the working directory is.
            table: file of a table; its name becomes the model's name, unless a setting or an option names the model.
            options: fields that the command line sets; None for those that it doesn't. They have the same bounds as the
                settings, and override them.

        Raises:
            SettingsError: naming the first setting or option that is unknown or has an unusable value.
        """
        set_by_option = {field: value for field, value in options.items() if value is not None}
        option_names = {setting_name(field): f"--{field.replace('_', '-')}" for field in set_by_option}

        def refusal(field: str, reason: object) -> SettingsError:
            name = setting_name(field)
            return SettingsError(f"{option_names.get(name, name)}: {reason}")

        dotenv = root / ".env"
        names_in_file = _names_in(dotenv)
        in_environment = [name for name, value in os.environ.items() if not _is_service_link(name, value)]
        _refuse_wrong_names([*in_environment, *(names_in_file or ())])
        values: dict[str, Any] = {
            str(cls.model_fields[field].validation_alias or field): value for field, value in set_by_option.items()
        }
        try:
            settings = cls(_env_file=None if names_in_file is None else dotenv, **values)
        except ValidationError as error:
            first = error.errors()[0]
            value = redacted(str(first["input"]))[:80]
            raise refusal(str(first["loc"][0]), f"{first['msg']} (it is {value!r})") from None
        try:
            store = absolute_store(settings.tracking_uri, root)
            if folder := store_folder(store):
                _expect_folder(folder)
        except (ValueError, OSError) as error:
            raise refusal("tracking_uri", error) from None
        artifacts = (root / settings.artifacts_dir.expanduser()).resolve()
        try:
            _expect_folder(artifacts)
        except (ValueError, OSError) as error:
            raise refusal("artifacts_dir", error) from None
        if settings.challenger_alias.lower() == settings.model_alias.lower():
            raise refusal(
                "challenger_alias",
                f"{settings.model_alias!r} is the alias of the live version; choose another alias",
            )
        uds = settings.uds and (root / settings.uds.expanduser()).absolute()
        resolved: dict[str, Any] = {"artifacts_dir": artifacts, "tracking_uri": store, "uds": uds}
        if table and "model_name" not in settings.model_fields_set:
            resolved["model_name"] = _model_name_of(table)
        return settings.model_copy(update=resolved)


def setting_name(field: str) -> str:
    """The name of a field in the environment. Its alias stands for itself."""
    alias = Settings.model_fields[field].validation_alias if field in Settings.model_fields else field
    return str(alias) if alias else f"{PREFIX}{field.upper()}"


def setting_names() -> Iterable[str]:
    """The names of all settings in the environment, in the order of the fields."""
    return [setting_name(field) for field in Settings.model_fields]


def _names_in(dotenv: Path) -> set[str] | None:
    """The names that a `.env` sets; None if there is no such file.

    Raises:
        SettingsError: the file can't be read, or a line of it sets nothing.
    """
    try:
        content = dotenv.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{dotenv}: it can't be read: {getattr(error, 'strerror', None) or error}") from None
    names = set()
    for binding in parse_stream(io.StringIO(content)):
        if binding.error or (binding.key and binding.value is None):
            blank_lines = len(binding.original.string) - len(binding.original.string.lstrip("\n"))
            line = binding.original.line + blank_lines
            raise SettingsError(f"{dotenv}, line {line}: this sets nothing; write NAME=value, or # before a comment")
        names.add(binding.key or "")
    return names


def _refuse_wrong_names(names: Iterable[str]) -> None:
    """Raises SettingsError for the first name that is the old one of a setting, or has the prefix of one and isn't."""
    known = set(setting_names())
    for name in sorted(names):
        field = name.upper().removeprefix(OLD_PREFIX)
        if name.upper().startswith(OLD_PREFIX) and field in RENAMED:
            raise SettingsError(f"{name}: this setting is called {PREFIX}{field} now; rename it")
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise SettingsError(f"{name}: there is no such setting. Known: {', '.join(setting_names())}")


def _expect_folder(path: Path) -> None:
    """Raises ValueError if a file is in the place of this folder or of one that leads to it."""
    for place in (path, *path.parents):
        if place.is_dir():
            return
        if place.exists() or place.is_symlink():
            raise ValueError(f"{place} is a file, not a folder. Choose another place")


def _model_name_of(table: Path) -> str:
    """The file's name without its endings, in letters that a folder may have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", table.name.split(".")[0]).strip("-_") or "model"
