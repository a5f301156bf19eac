"""The URI of an MLflow store: made absolute, read, and shown without secrets. Knows no settings and no MLflow."""

import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

SCHEMES = ("file", "sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
"""The stores that MLflow has. The scheme of a database may name a driver, as in `mysql+pymysql`."""


def absolute_store(uri: str, root: Path) -> str:
    """The URI of the same store, but with an absolute path: it then means the same in every working directory.

    `mlruns` and `file:./mlruns` become the URI of that folder in `root`, `sqlite:///mlflow.db` that of the file in
    `root`. The URI of a server stays as it is. A path without a scheme is literal; after `file:`, `%41` means A.

    Raises:
        ValueError: MLflow has no such store, or the URI has no path.
    """
    match = re.match(r"([A-Za-z][\w.+-]*):", uri)
    scheme = match[1].lower() if match else "file"
    if uri == "databricks":
        return uri
    if scheme.partition("+")[0] not in SCHEMES:
        raise ValueError(f"MLflow has no store '{scheme}:'. Use a folder, or one of {', '.join(SCHEMES)}")
    rest = uri[match.end() :] if match else uri
    if scheme == "file":
        path = unquote(rest.removeprefix("//")) if match else rest
        if not path or (rest.startswith("//") and not path.startswith("/")):
            raise ValueError(f"{uri!r} names no folder. Use file:./mlruns or file:///absolute/path")
        return (root / Path(path).expanduser()).resolve().as_uri()
    if scheme.startswith("sqlite"):
        path = rest.removeprefix("///")
        if path in ("", rest):
            raise ValueError(f"{uri!r} names no file. Use sqlite:///mlflow.db or sqlite:////absolute/path.db")
        return f"{scheme}:///{(root / path).resolve()}"
    return uri


def store_folder(absolute_uri: str) -> Path | None:
    """The folder of a file store; None for every other store. The URI comes from `absolute_store`."""
    return Path(unquote(urlsplit(absolute_uri).path)) if absolute_uri.startswith("file:") else None


def database_file(absolute_uri: str) -> Path | None:
    """The file of a SQLite store; None for every other store. The URI comes from `absolute_store`."""
    if not absolute_uri.startswith("sqlite"):
        return None
    return Path(absolute_uri.partition(":///")[2].partition("?")[0])


def redacted(uri: str) -> str:
    """The URI without user, password and query, to be shown. The path of a file is shown whole."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme.startswith(("file", "sqlite")):
        return uri
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def without_secrets(text: str, uri: str) -> str:
    """A message of another library without the user and the password that the URI contains."""
    if redacted(uri) == uri:
        return text
    user_info = uri.partition("://")[2].rpartition("@")[0]
    password = user_info.partition(":")[2]
    text = text.replace(uri, redacted(uri))
    for secret in (user_info, password, unquote(password), *parse_qs(uri.partition("?")[2]).get("password", ())):
        text = text.replace(secret, "***") if secret else text
    return text
