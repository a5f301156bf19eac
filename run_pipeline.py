"""From nothing to a tested, running service with one command. Needs Python 3.11 or newer and nothing installed.

    python run_pipeline.py            environment → train → serve → test → addresses, then serves until Ctrl-C
    python run_pipeline.py --exit     the same, and stops after the tests; status 0 only if all passed
    python run_pipeline.py --data penguins.csv --target species    the same with a table of your own
    python run_pipeline.py --check    lint, types, import rules and tests of the project itself

Up to the installed environment this file lives on the standard library alone.
"""

from __future__ import annotations

import argparse
import collections
import importlib.metadata
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent
LOCK, DEV_LOCK = ROOT / "requirements.txt", ROOT / "requirements-dev.txt"
OLDEST = (3, 11)
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks the server itself, whatever proxy the environment names."""


class StepError(Exception):
    """A step failed, and has said why itself unless there is a message."""

    def __init__(self, message: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Set up the environment, train, serve, test over HTTP, print every address, and go on serving.",
        epilog="Ctrl-C stops everything. Training options: python train_model.py --help",
    )
    parser.add_argument("--host", help="address to serve on (default: the setting TABSERVE_HOST, 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to serve on (default: the setting TABSERVE_PORT, 8000)")
    parser.add_argument("--data", type=Path, metavar="FILE", help="table to train on, with --target (default: Iris)")
    parser.add_argument("--target", metavar="COLUMN", help="its column that is to be told from the others")
    for option in ("--drop", "--id", "--categorical"):
        parser.add_argument(option, nargs="+", default=[], metavar="COLUMN", help="as train_model.py has it")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--exit", action="store_true", help="stop after the tests instead of serving on")
    mode.add_argument("--check", action="store_true", help="check the project itself: lint, types, imports, tests")
    options = parser.parse_args()
    if (options.data is None) != (options.target is None):
        parser.error("--data and --target go together")
    return options


# -- environment


def enter_environment() -> None:
    """Goes on in a virtual environment: the active one (or conda's), else `.venv` beside this file, made if need be."""
    if sys.prefix != sys.base_prefix or (Path(sys.prefix) / "conda-meta").is_dir():
        return
    folder = ROOT / ".venv"
    python = folder / "bin" / "python"
    if not works(python):
        say("environment", f"making {folder}")
        command = [sys.executable, "-m", "venv", "--clear", str(folder)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode or not works(python):
            hint = " (on Debian and Ubuntu: apt install python3-venv)" if "ensurepip" in made.stdout else ""
            raise StepError(f"{folder} can't be made{hint}: {(made.stderr or made.stdout).strip()[-300:]}")
    sys.stdout.flush()
    os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])


def works(python: Path) -> bool:
    """Whether this is an interpreter that is new enough and has pip; a half-made or outdated environment has not."""
    probe = f"import pip, sys; sys.exit(sys.version_info < {OLDEST})"
    try:
        return subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def install(lock: Path) -> None:
    """Installs what the lock names and this environment lacks, by version and hash. Nothing missing: no network."""
    missing = missing_requirements(lock)
    if not missing:
        say("environment", f"{sys.prefix} has everything in {lock.name}")
        return
    say("environment", f"installing {len(missing)} packages of {lock.name} into {sys.prefix}")
    try:
        folder = tempfile.TemporaryDirectory(prefix=".pip-", dir=sys.prefix)
    except OSError as error:
        raise StepError(f"{sys.prefix} can't be written: {error.strerror}. Activate an environment of yours") from None
    with folder as temporary:
        wanted = Path(temporary) / "wanted.txt"
        wanted.write_text("\n".join(missing), encoding="utf-8")
        # the lock is complete, so pip need not look for dependencies of its own
        pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "--disable-pip-version-check"]
        process = subprocess.Popen(
            [*pip, "-r", str(wanted)],
            env=os.environ | {"TMPDIR": temporary},  # an interrupted pip leaves what it unpacked
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said = show_progress(process.stdout or (), len(missing))
            if process.wait():
                raise StepError(f"{''.join(said)}\nenvironment: pip could not install the packages; it says why above")
        finally:
            stop(process)


def show_progress(lines: Iterable[str], packages: int) -> list[str]:
    """Boils pip's lines down to a count, and gives the last of them back for whoever must know why it failed."""
    kept: collections.deque[str] = collections.deque(maxlen=20)
    fetched = 0
    for line in lines:
        kept.append(line)
        if line.startswith(("Collecting ", "Processing ")):
            fetched += 1
            if fetched % 10 == 0 or fetched == packages:
                say("environment", f"  {fetched} of {packages} fetched")
        elif line.startswith("Installing collected packages"):
            say("environment", "  installing them, which takes a while")
    return list(kept)


def missing_requirements(lock: Path) -> list[str]:
    """The entries of a lock, hashes and all, that apply here and are not installed in just that version."""
    try:
        from pip._vendor.packaging.requirements import Requirement
    except ImportError:
        added = subprocess.run([sys.executable, "-m", "ensurepip"], capture_output=True, check=False)
        if added.returncode:
            raise StepError(f"{sys.prefix} has no pip, and ensurepip can't add it: install pip there") from None
        from pip._vendor.packaging.requirements import Requirement

    installed = {normal(found.name): found.version for found in importlib.metadata.distributions()}
    missing = []
    for entry in re.findall(
        r"^[a-zA-Z0-9].*?(?=^[a-zA-Z0-9]|\Z)", lock.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        requirement = Requirement(entry.partition("\\")[0].strip())
        if requirement.marker and not requirement.marker.evaluate():
            continue
        if str(requirement.specifier) != f"=={installed.get(normal(requirement.name))}":
            missing.append(re.sub(r"^\s*#.*\n?", "", entry, flags=re.MULTILINE).strip())
    return missing


def normal(name: str) -> str:
    """A package's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# -- steps


def say(step: str, what: str) -> None:
    print(f"[{step}] {what}", flush=True)


def step(name: str, *command: str) -> None:
    """Runs one of the project's scripts; its failure stops the pipeline, and our end is its end."""
    started = time.perf_counter()
    say(name, " ".join(("python", *command)))
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, start_new_session=True)
    try:
        status = process.wait()
    finally:
        stop(process)
    if status:
        raise StepError(f"{name} {ending(status)}", max(status, 1))
    say(name, f"{time.perf_counter() - started:.1f} s")


def ending(status: int) -> str:
    """How a process ended, in words."""
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def stop(process: subprocess.Popen[Any], seconds: float = 15) -> int:
    """Asks a process to end, and ends it and all it started if it doesn't. Returns its status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


class Server:
    """The API as a process of its own. Its log is kept back until `follow`, and shown if it fails before."""

    def __init__(self, host: str, port: int) -> None:
        command = [sys.executable, str(ROOT / "api.py"), "--host", host, "--port", str(port)]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True)
        self._kept: collections.deque[bytes] = collections.deque(maxlen=50)
        self._following = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            if self._following:
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()
            else:
                self._kept.append(line)

    def follow(self) -> None:
        """From now on the server's log goes to stderr as it comes."""
        self._following = True

    def wait_until_ready(self, url: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        reason = "it doesn't answer"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self._reader.join(5)
                raise StepError(f"{self.log()}\nserve: the server {ending(self.process.returncode)}")
            try:
                with DIRECT.open(f"{url}/readyz", timeout=5):
                    return
            except urllib.error.HTTPError as error:
                reason = error.read().decode()
            except OSError as error:
                reason = str(error)
            time.sleep(0.05)
        raise StepError(f"{self.log()}\nserve: not ready after {seconds:.0f} s: {reason}")

    def log(self) -> str:
        return b"".join(self._kept).decode(errors="replace").strip()


def serve_and_test(host: str, port: int, url: str, mlflow: str, exit_after: bool) -> None:
    started = time.perf_counter()
    server = Server(host, port)
    try:
        server.wait_until_ready(url)
        say("serve", f"{time.perf_counter() - started:.1f} s until ready")
        step("test", "test_api.py", "--no-server", "--url", url)
        if exit_after:
            return
        print(addresses(url, mlflow, example(url)), flush=True)
        print("Serving until Ctrl-C.", flush=True)
        server.follow()
        try:
            status = server.process.wait()
        except KeyboardInterrupt:
            return
        raise StepError(f"serve: the server {ending(status)}, and not by our doing", max(status, 1))
    finally:
        stop(server.process)


def mlflow_ui(tracking_uri: str) -> str:
    """Where MLflow's UI is: at the tracking server, or at the command that starts one on this store."""
    from tabserve.store_uri import redacted, store_folder

    if tracking_uri.startswith("http"):
        return redacted(tracking_uri)
    folder = store_folder(tracking_uri)
    # the locations in a file store are relative to the folder that it is in
    home, store = (folder.parent, f"file:./{quote(folder.name)}") if folder else (ROOT, redacted(tracking_uri))
    return (
        f"http://localhost:5000 once this runs:\n              cd {shlex.quote(str(home))} && "
        f"MLFLOW_ALLOW_FILE_STORE=true {shlex.quote(sys.executable)} -m mlflow ui --workers 1 "
        f"--backend-store-uri {shlex.quote(store)}"
    )


def example(url: str) -> str:
    """The documentation's example of a row, for a shell."""
    with DIRECT.open(f"{url}/openapi.json", timeout=30) as reply:
        document = json.load(reply)
    row = document["components"]["schemas"]["PredictRequest"]["examples"][0]
    return shlex.quote(json.dumps(row, ensure_ascii=False))


def addresses(url: str, mlflow: str, row: str) -> str:
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
    if Path(sys.prefix) != ROOT / ".venv" or "VIRTUAL_ENV" in os.environ:
        return text
    activate = f"cd {shlex.quote(str(ROOT))} && . .venv/bin/activate"
    return f"{text}\n  The other scripts, and mlflow, work after this:\n  {activate}\n"


def pipeline(options: argparse.Namespace) -> None:
    install(LOCK)
    from tabserve.cli import addresses
    from tabserve.errors import SettingsError
    from tabserve.settings import Settings

    try:
        settings = Settings.load(ROOT, table=options.data)
    except SettingsError as error:
        raise StepError(f"settings: {error}") from None
    host = options.host or settings.host
    port = settings.port if options.port is None else options.port
    if reason := addresses.listen_problem(host, port):
        raise StepError(f"serve: {reason}")
    port = port or addresses.free_port(host)

    table = []
    if options.data:
        os.environ["TABSERVE_MODEL_NAME"] = settings.model_name  # for the server, too
        table = ["--data", str(options.data.absolute()), "--target", options.target]
    for name in ("drop", "id", "categorical"):
        table += [f"--{name}", *getattr(options, name)] if getattr(options, name) else []
    step("train", "train_model.py", *table)
    serve_and_test(host, port, addresses.client_url(host, port), mlflow_ui(settings.tracking_uri), options.exit)


def check() -> None:
    """Everything that the project holds about itself. All of it runs, then what failed is named."""
    install(DEV_LOCK)
    linter = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    commands = {
        "lint": ["-m", "ruff", "check", "."],
        "format": ["-m", "ruff", "format", "--check", "."],
        "types": ["-m", "mypy"],
        "import rules": ["-c", linter],
        "tests": ["-m", "pytest", "-n", "2", "--dist", "loadfile"],  # most of them wait for one process at a time
    }
    failed = []
    for name, command in commands.items():
        try:
            step(name, *command)
        except StepError:
            failed.append(name)
    if failed:
        raise StepError(f"failed: {', '.join(failed)}")
    say("check", f"{', '.join(commands)}: all good")


def main() -> int:
    options = parse()
    if sys.version_info < OLDEST:
        sys.exit("run_pipeline.py: Python 3.11 or newer is needed, and this is " + sys.version.split()[0])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish is kept
            signal.signal(number, signal.default_int_handler)  # whoever asks us to end, we end as at Ctrl-C
    try:
        enter_environment()
        check() if options.check else pipeline(options)
    except StepError as error:
        if str(error):
            print(f"run_pipeline.py: {error}" if "\n" not in str(error) else error, file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("run_pipeline.py: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
