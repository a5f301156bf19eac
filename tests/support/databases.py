"""SQLite files with MLflow's tables. MLflow takes more than a second to make them, so it makes them once."""

import functools
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path


def database(folder: Path) -> str:
    """The address of a new database of MLflow, in this folder."""
    file = folder / "mlflow.db"
    file.write_bytes(_empty_database())
    return f"sqlite:///{file}"


@functools.cache
def _empty_database() -> bytes:
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/mlflow.db"
        MlflowClient(f"sqlite:///{file}").search_experiments()
        with closing(sqlite3.connect(file)) as connection:
            return connection.serialize()
