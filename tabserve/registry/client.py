"""MLflow's client: imported on first use, with defaults for what the environment leaves open, and translated errors.

The import takes a second, so nothing here imports MLflow at the top. A caller may do other work meanwhile.
"""

import contextlib
import importlib
import logging
import os
import re
import textwrap
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tabserve.errors import TabserveError, TrackingError
from tabserve.store_uri import database_file, without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULTS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # since 3.13 MLflow refuses a folder as its store without it
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",  # this one and the next avoid stalls on a machine without a network
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # with MLflow's own 7 it takes 4 minutes to report an unreachable server
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the summary of a training has the addresses
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # a bar for each fetched release would fill the server's log
}
"""Values for MLflow's settings that the environment doesn't set."""

_UNAUTHENTICATED = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")
"""MLflow's error codes for the status 401."""

TRACKING_URI = "MLFLOW_TRACKING_URI"
DATABASE_MODULE = "mlflow.store.db.utils"

HOW_TO_AUTHENTICATE = (
    "the server asks who you are (401). Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN, to an account that it knows"
)

PAUSES = (0.1, 0.3, 0.7)
"""Seconds between the attempts to connect to a database."""


def import_mlflow(uri: str) -> Any:
    """The module `mlflow`, with what it needs for a store of this kind: this is the slow part of opening a store."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    mlflow = importlib.import_module("mlflow")
    if _is_database(uri):
        # brings SQLAlchemy and Alembic, which take a sixth of a short training and which no other store needs
        importlib.import_module(DATABASE_MODULE)
    for name in ("mlflow", "urllib3"):  # after the import, which sets the level too
        # urllib3 warns at every retry while a server is away
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


def open_client(uri: str) -> "MlflowClient":
    """A client of this store. In an empty database MLflow makes its tables.

    Raises:
        Exception: of MLflow, a database or the system; `translate_errors` translates it.
    """
    mlflow = import_mlflow(uri)
    is_database = _is_database(uri)
    if is_database:
        _reach_database(uri)
    client: MlflowClient = mlflow.MlflowClient(uri)
    if is_database:
        # MLflow connects again at the first question about models: better now, while the database is reachable
        client.search_registered_models(max_results=1)
    return client


def set_default_store(uri: str) -> None:
    """Makes this the store of MLflow's functions that take no client.

    Two things need it, and everything else goes through a client. MLflow's file store looks logged models up in the
    default store whenever it reads a registered version. And a run is logged to it, because `mlflow.sklearn.log_model`
    has no argument for the store.
    """
    mlflow = import_mlflow(uri)
    before = os.environ.get(TRACKING_URI)
    mlflow.set_tracking_uri(uri)
    # MLflow sets the variable too, for child processes. Then `Settings` would no longer see what the user has set
    if before is None:
        os.environ.pop(TRACKING_URI, None)
    else:
        os.environ[TRACKING_URI] = before


def _is_database(uri: str) -> bool:
    return re.split("[+:]", uri)[0] in importlib.import_module("mlflow.store.db.db_types").DATABASE_ENGINES


def _reach_database(uri: str) -> None:
    """Connects to a database, in four attempts within a second, and disconnects. Raises the last error.

    MLflow itself makes ten attempts, which take 105 s. Their number is a constant of its module (`MAX_RETRY_COUNT` in
    MLflow 3.17) that no setting and no argument changes. So MLflow connects only after this has succeeded.
    """
    if file := database_file(uri):
        file.parent.mkdir(parents=True, exist_ok=True)  # as MLflow does
    engine = importlib.import_module(DATABASE_MODULE).create_sqlalchemy_engine(uri)
    try:
        for pause in (*PAUSES, None):
            try:
                with engine.connect():
                    return
            except Exception:
                if pause is None:
                    raise
                time.sleep(pause)
    finally:
        engine.dispose()


@contextlib.contextmanager
def translate_errors(doing: str, uri: str) -> Iterator[None]:
    """Turns what MLflow, its database or the file system raises into a TrackingError that says what was being done. The
    message holds no credentials of the store."""
    try:
        yield
    except TabserveError:
        raise
    except Exception as error:
        raise TrackingError(f"{doing} failed: {without_secrets(_reason(error), uri)}") from error


def _reason(error: Exception) -> str:
    """The first line of an error. The system's message about its cause comes first, because a long line is cut."""
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if getattr(error, "error_code", None) in _UNAUTHENTICATED or "401 Client Error" in first_line:
        return HOW_TO_AUTHENTICATE
    message = textwrap.shorten(first_line, 300, placeholder=" …")
    cause: BaseException = error
    while deeper := cause.__cause__ or cause.__context__:
        cause = deeper
    system = (cause.strerror or str(cause)) if isinstance(cause, OSError) and cause is not error else None
    return message if not system or system in message else f"{system}: {message}"


@contextlib.contextmanager
def ignore_missing() -> Iterator[None]:
    """Ignores that MLflow doesn't have something, or has it no longer."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
