"""The URI of a store: absolute, readable, without secrets."""

from pathlib import Path

import pytest

from tabserve.store_uri import absolute_store, database_file, redacted, store_folder, without_secrets


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
def test_relative_store_is_relative_to_the_root(uri: str, absolute: str) -> None:
    """A relative path is relative to the root, whatever the working directory is; other URIs stay as they are."""
    assert absolute_store(uri, Path("/checkout")) == absolute
    assert absolute_store(absolute, Path("/elsewhere")) == absolute


def test_store_on_this_machine_has_a_path() -> None:
    """The folder of a file store and the file of a SQLite store are found; a server has neither."""
    folder = Path("/checkout/c# %41 d")
    assert store_folder(absolute_store(str(folder), Path("/checkout"))) == folder
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
def test_uri_is_shown_without_credentials(uri: str, shown: str) -> None:
    """The URI of a server or a database is shown without user, password and query; a path is shown whole."""
    assert redacted(uri) == shown


def test_message_of_another_library_loses_the_credentials() -> None:
    """The URI, its user and its password, quoted or not, are removed from a message of another library."""
    uri = "postgresql://user:p%40w@host/db?password=hidden"
    assert without_secrets(f"no {uri}; user:p%40w@host; p%40w, p@w, hidden", uri) == (
        "no postgresql://host/db; ***@host; ***, ***, ***"
    )
    assert without_secrets("no file at a", "file:///a") == "no file at a"
