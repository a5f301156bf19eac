"""`tabserve serve` and `api.py`: serves the live model over HTTP."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabserve import __version__
from tabserve.cli import addresses
from tabserve.cli.garbage import uncollected
from tabserve.errors import SettingsError
from tabserve.log import configure
from tabserve.settings import Settings

if TYPE_CHECKING:
    from tabserve.web import Application

log = logging.getLogger("tabserve.cli.serve")

ELSEWHERE = (
    "this server doesn't use tabserve's HTTP protocol: it may take headers of any size, wait for slow callers for "
    "ever, lose requests when it stops, and is slower. Run `python api.py`, `uvicorn api:app --http api:Protocol` or "
    "`gunicorn api:app -k api.Worker` instead"
)
"""For the log, where another server serves the application in its own way."""


@dataclass(frozen=True)
class ServeOptions:
    """Where to listen, and the path prefix; None for the settings."""

    host: str | None
    port: int | None
    uds: str | None
    root_path: str | None


def main(argv: Sequence[str] | None = None, *, root: Path, program: str) -> int:
    """Serves the model of the store that `root` and the settings name, until SIGINT or SIGTERM."""
    options = parse(argv, program)
    try:
        settings = Settings.load(root, uds=options.uds, root_path=options.root_path)
    except SettingsError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    host = options.host or settings.host
    port = settings.port if options.port is None else options.port
    # an address on the command line is meant even if .env names a unix socket
    uds = settings.uds if options.uds or (options.host is None and options.port is None) else None
    if problem := addresses.unix_problem(uds) if uds else addresses.listen_problem(host, port):
        print(f"{program}: {problem}", file=sys.stderr)
        return 1
    with uncollected():
        from tabserve.web import serve

        app = application(settings)
    with addresses.listening_on_unix(uds) if uds else addresses.listening(host, port) as listeners:
        address = f"unix:{uds}" if uds else addresses.client_url(host, listeners[0].getsockname()[1])
        log.info("listening", extra={"address": address, "root_path": settings.root_path})
        serve(app, listeners, settings.shutdown_seconds)
    return 0


def parse(argv: Sequence[str] | None, program: str) -> ServeOptions:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Serve the live model over HTTP.",
        epilog="Everything else is a setting: a variable TABSERVE_... of the environment or in .env. "
        "The documentation lists them.",
    )
    parser.add_argument("--host", help="address to listen on (default: the setting TABSERVE_HOST, 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, help="port to listen on; 0 for any free port (default: the setting TABSERVE_PORT, 8000)"
    )
    parser.add_argument(
        "--uds", metavar="PATH", help="unix socket to listen on instead (default: the setting TABSERVE_UDS, none)"
    )
    parser.add_argument(
        "--root-path",
        metavar="PREFIX",
        help="path prefix under which a proxy publishes the service, like /ml/iris (default: the setting "
        "TABSERVE_ROOT_PATH, none)",
    )
    parser.add_argument("--version", action="version", version=f"tabserve {__version__}")
    options = ServeOptions(**vars(parser.parse_args(argv)))
    if options.uds and (options.host is not None or options.port is not None):
        parser.error("--uds can't be combined with --host or --port: choose one place to listen")
    return options


def load_application(root: Path, program: str, *, has_own_protocol: Callable[[], bool]) -> "Application":
    """The application for a server that has options of its own, as `uvicorn api:app`. Exits if a setting is wrong.

    `has_own_protocol`: whether that server uses `load_protocol` or `load_worker`; otherwise the log says what can't be
    promised. It is asked when the server starts the application, which may be imported before the protocol.
    """

    def warn() -> None:
        if not has_own_protocol():
            log.warning(ELSEWHERE)

    return application(_settings(root, program), warn)


def load_protocol() -> type[Any]:
    """The HTTP protocol, for `uvicorn --http`."""
    from tabserve.web import FastProtocol

    return FastProtocol


def load_worker(root: Path, program: str) -> type[Any]:
    """The class of workers, for `gunicorn --worker-class`. Exits without uvicorn-worker, or if a setting is wrong."""
    from tabserve.web import gunicorn_worker

    try:
        return gunicorn_worker(_settings(root, program).shutdown_seconds)
    except ModuleNotFoundError as error:
        sys.exit(f"{program}: {error}: run `pip install gunicorn uvicorn-worker`")


def _settings(root: Path, program: str) -> Settings:
    try:
        return Settings.load(root)
    except SettingsError as error:
        sys.exit(f"{program}: {error}")


def application(settings: Settings, on_start: Callable[[], None] | None = None) -> "Application":
    """The application, which gets its models from the registry, and a log in the style of the settings."""
    from tabserve.registry import open_registry
    from tabserve.web import create_app

    configure(settings.log_level, settings.log_format)
    log.info("starting", extra={"tabserve": __version__})
    return create_app(settings, open_registry(settings), on_start=on_start)
