"""The pipeline: train, serve, test over HTTP, print every address, go on serving.

`tabserve run` runs it with the installed command, `run_pipeline.py` with the scripts beside it. Only the standard
library is imported before `run` is called.
"""

import argparse
import collections
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast
from urllib.parse import quote

from tabserve import __version__
from tabserve.cli import addresses
from tabserve.cli.processes import Command, StepError, ending, report, run_step, stop
from tabserve.cli.table_options import require_model_name, table_source
from tabserve.cli.train_options import add_training_options, training_problem
from tabserve.training.source import TableSource

NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Reaches a server on this machine, even if the environment names a proxy."""


@dataclass(frozen=True)
class PipelineOptions:
    """The options of the pipeline.

    Attributes:
        host, port: where to serve; None for the settings.
        table: the table to train on; None for Iris.
        training: the options of the training as they were given, but for --data.
        model_name: the registered model; None for that of the settings, or of the table's file.
        exit: stop after the tests.
        check: check the project instead.
    """

    host: str | None
    port: int | None
    table: TableSource | None
    training: list[str]
    model_name: str | None
    exit: bool
    check: bool = False


@dataclass(frozen=True)
class Steps:
    """The commands that the pipeline runs."""

    train: Command
    serve: Command
    test: Command


def _installed(name: str) -> Command:
    # -P: a folder called tabserve in the working directory is no package
    return Command(f"tabserve {name}", ("-P", "-m", "tabserve", name))


INSTALLED = Steps(_installed("train"), _installed("serve"), _installed("test"))


def main(argv: Sequence[str] | None = None, *, root: Path, program: str) -> int:
    """`tabserve run`: the pipeline of the installed command, in the environment where it is installed."""
    options = parse(argv, program, "Train, serve, test over HTTP, print every address, and go on serving.")
    return exit_status(program, lambda: run(options, INSTALLED, root))


def parse(argv: Sequence[str] | None, program: str, description: str, *, with_check: bool = False) -> PipelineOptions:
    """The options of the pipeline; `with_check` adds --check."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--host", help="address to serve on (default: the setting TABSERVE_HOST, 127.0.0.1)")
    own.add_argument(
        "--port", type=int, help="port to serve on; 0 for any free port (default: the setting TABSERVE_PORT, 8000)"
    )
    own.add_argument(
        "--model-name",
        metavar="NAME",
        help="registered model (default: the setting, or else the name of the table's file)",
    )
    own.add_argument("--version", action="version", version=f"tabserve {__version__}")
    mode = own.add_mutually_exclusive_group()
    mode.add_argument("--exit", action="store_true", help="stop after the tests; status 0 only if all passed")
    if with_check:
        mode.add_argument("--check", action="store_true", help="check the project itself: lint, types, imports, tests")
    command = f"python {program}" if program.endswith(".py") else program
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f"{command} [options]",
        description=description,
        epilog="Ctrl-C stops everything. The options of publishing are those of the training alone: see its --help.",
        parents=[own],
        allow_abbrev=False,
    )
    add_training_options(parser)
    given = parser.parse_args(argv)
    if problem := training_problem(given):
        parser.error(problem)
    own.add_argument("--data")  # its place may be another one for another process, or hold a password
    _, training = own.parse_known_args(argv)
    return PipelineOptions(
        host=given.host,
        port=given.port,
        table=table_source(given),
        training=training,
        model_name=given.model_name,
        exit=given.exit,
        check=with_check and given.check,
    )


def exit_status(program: str, work: Callable[[], None]) -> int:
    """The exit status of `work`, whose failure is printed. SIGTERM and SIGHUP stop it as Ctrl-C does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, signal.default_int_handler)
    try:
        work()
    except StepError as error:
        if str(error):
            print(f"{program}: {error}" if "\n" not in str(error) else error, file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    return 0


def run(options: PipelineOptions, steps: Steps, root: Path) -> None:
    """Trains, serves and tests in `root`; then returns with `--exit`, or serves until it is interrupted.

    Raises:
        StepError: a setting is wrong, the address is taken, or a step failed.
    """
    from tabserve.errors import SettingsError
    from tabserve.settings import Settings

    try:
        file = options.table.file if options.table else None
        settings = Settings.load(root, table=file, model_name=options.model_name)
        require_model_name(options.table, settings)
    except SettingsError as error:
        raise StepError(f"settings: {error}") from None
    host = options.host or settings.host
    port = settings.port if options.port is None else options.port
    if problem := addresses.listen_problem(host, port):
        raise StepError(f"serve: {problem}")
    port = port or addresses.free_port(host)

    os.environ["TABSERVE_MODEL_NAME"] = settings.model_name  # for the server, too
    place, shown = [], []
    if options.table:
        place, shown = ["--data", options.table.place], ["--data", options.table.display_place]
    run_step("train", steps.train, *place, *options.training, folder=root, shown=[*shown, *options.training])

    started = time.perf_counter()
    server = Server([*steps.serve.process, "--host", host, "--port", str(port)], root)
    try:
        url = addresses.client_url(host, port)
        server.wait_until_ready(url)
        report("serve", f"{time.perf_counter() - started:.1f} s until ready")
        run_step("test", steps.test, "--no-server", "--url", url, folder=root)
        if not options.exit:
            print(overview(url, mlflow_ui(settings.tracking_uri, root), example_row(url), root), flush=True)
            server.follow()
    finally:
        server.stop()


class Server:
    """The API as a child process. Its log is held back until `follow`, and is shown if it fails before."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, start_new_session=True)
        self._held_back: collections.deque[bytes] = collections.deque(maxlen=50)
        self._following = False
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def _read_log(self) -> None:
        with cast("IO[bytes]", self._process.stderr) as log:
            for line in log:
                if self._following:
                    sys.stderr.buffer.write(line)
                    sys.stderr.buffer.flush()
                else:
                    self._held_back.append(line)

    def wait_until_ready(self, url: str, seconds: float = 60) -> None:
        """Waits until /readyz answers 200.

        Raises:
            StepError: it ended, or it wasn't ready in time; with its log.
        """
        deadline = time.monotonic() + seconds
        reason = "it doesn't answer"
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._reader.join(5)
                raise StepError(f"{self._log()}\nserve: the server {ending(self._process.returncode)}")
            try:
                with NO_PROXY.open(f"{url}/readyz", timeout=5):
                    return
            except urllib.error.HTTPError as error:
                reason = error.read().decode()
            except OSError as error:
                reason = str(error)
            time.sleep(0.05)
        raise StepError(f"{self._log()}\nserve: not ready after {seconds:.0f} s: {reason}")

    def follow(self) -> None:
        """Says that it serves, and writes the server's log to stderr as it comes, until Ctrl-C.

        Raises:
            StepError: the server ended by itself.
        """
        self._following = True
        try:
            print("Serving until Ctrl-C.", flush=True)
            status = self._process.wait()
        except KeyboardInterrupt:
            return
        raise StepError(f"serve: the server {ending(status)}; nobody asked it to stop", max(status, 1))

    def stop(self) -> None:
        """Stops it, and waits for the last lines of its log."""
        stop(self._process)
        self._reader.join(5)

    def _log(self) -> str:
        return b"".join(self._held_back).decode(errors="replace").strip()


# -- the addresses


def overview(url: str, mlflow: str, row: str, root: Path) -> str:
    """Every address, and a prediction to try. `row` is an example for a shell."""
    text = f"""
  API         {url}
  Docs        {url}/docs
  Health      {url}/health
  Metrics     {url}/metrics
  History     {url}/predictions/history
  Model info  {url}/model/info
  MLflow UI   {mlflow}

  curl -X POST {url}/predict -H 'Content-Type: application/json' -d {row}
"""
    if Path(sys.prefix) != root / ".venv" or "VIRTUAL_ENV" in os.environ:
        return text
    activate = f"cd {shlex.quote(str(root))} && . .venv/bin/activate"
    return f"{text}\n  The other commands, and mlflow, work after this:\n  {activate}\n"


def mlflow_ui(tracking_uri: str, root: Path) -> str:
    """Where MLflow's UI is: the address of the tracking server, or a command that starts the UI on this store."""
    from tabserve.store_uri import redacted, store_folder

    if tracking_uri.startswith("http"):
        return redacted(tracking_uri)
    folder = store_folder(tracking_uri)
    # the locations in a file store are relative to the folder that holds it
    home, store = (folder.parent, f"file:./{quote(folder.name)}") if folder else (root, redacted(tracking_uri))
    return (
        f"http://localhost:5000 once this runs:\n              cd {shlex.quote(str(home))} && "
        f"MLFLOW_ALLOW_FILE_STORE=true {shlex.quote(sys.executable)} -m mlflow ui --workers 1 "
        f"--backend-store-uri {shlex.quote(store)}"
    )


def example_row(url: str) -> str:
    """The row that the API's documentation gives as an example, quoted for a shell."""
    with NO_PROXY.open(f"{url}/openapi.json", timeout=30) as reply:
        document = json.load(reply)
    row = document["components"]["schemas"]["PredictRequest"]["examples"][0]
    return shlex.quote(json.dumps(row, ensure_ascii=False))
