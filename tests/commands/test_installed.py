"""The installed package: `pip install .` gives a command that works in any folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tabserve import __version__
from tabserve.cli import addresses
from tabserve.cli.main import COMMANDS
from tests.support.client import status
from tests.support.project import PYTHON, ROOT
from tests.support.waiting import LIMIT, LONG_LIMIT, until


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed from a copy of the project in an environment of its own, which gets its dependencies from
    this one: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("installed")
    python = folder / "environment" / "bin" / "python"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", python.parent.parent], check=True)
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (site_packages(python) / "dependencies.pth").write_text("\n".join(dependencies))
    source = folder / "source"  # a build leaves files in its source
    for package in ("tabserve", "api_checks"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "requirements.in", "README.md", "LICENSE", "train_model.py"):
        shutil.copy(ROOT / file, source)
    pip = [PYTHON, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    run(folder, *pip, *offline, source)
    return python.with_name("tabserve")


def site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())


def clean_environment() -> dict[str, str]:
    """The environment without settings, and without the project's folder."""
    foreign = ("TABSERVE_", "MLFLOW_", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def run(folder: Path, *arguments: "str | Path") -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        arguments, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=LONG_LIMIT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@contextmanager
def serving(folder: Path, command: Path) -> Iterator[str]:
    """The command's server on the models in `folder`; its URL."""
    port = addresses.free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    with (
        (folder / "server.log").open("w") as log,
        subprocess.Popen(
            [command, "serve", "--port", str(port)], cwd=folder, env=clean_environment(), stdout=log, stderr=log
        ) as process,
    ):
        try:
            until(lambda: status(f"{url}/readyz") == 200)
            yield url
        finally:
            process.terminate()
        assert process.wait(LIMIT) == 0


def test_command_has_the_version_of_the_package(command: Path, tmp_path: Path) -> None:
    """`tabserve --version` and the metadata of the installed package have the version in `tabserve.__version__`."""
    assert run(tmp_path, command, "--version").stdout == f"tabserve {__version__}\n"
    code = "from importlib.metadata import version; print(version('tabserve'))"
    assert run(tmp_path, command.with_name("python"), "-c", code).stdout == f"{__version__}\n"


def test_package_has_its_files_and_no_others(command: Path) -> None:
    """The two packages, with all their files, and the recipe of the training are installed, and nothing else."""
    packages = site_packages(command.with_name("python"))
    names = {path.name.partition("-")[0] for path in packages.iterdir()} - {"__pycache__", "dependencies.pth"}
    assert names == {"tabserve", "api_checks", "train_model.py"}
    for package in ("tabserve", "api_checks"):
        files = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*") if path.suffix in {".py", ".ll"}}
        assert not [file for file in files if not (packages / file).is_file()]


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_a_help(name: str, command: Path, tmp_path: Path) -> None:
    """Each command shows its options under its own name, and writes no file."""
    assert run(tmp_path, command, name, "--help").stdout.startswith(f"usage: tabserve {name} ")
    assert not list(tmp_path.iterdir())


def test_command_trains_serves_and_tests(command: Path, tmp_path: Path) -> None:
    """In an empty folder the command trains, serves, tests and lists a model; all files are in that folder."""
    run(tmp_path, command, "train", "--n-estimators", "10")
    assert {path.name for path in tmp_path.iterdir()} == {"mlruns", "artifacts"}
    with serving(tmp_path, command) as url:
        assert " 0 failed" in run(tmp_path, command, "test", "--no-server", "--url", url).stdout
    (version,) = (path.name for path in (tmp_path / "artifacts").iterdir() if not path.name.startswith("."))
    assert version in run(tmp_path, command, "promote").stdout


def test_command_runs_the_whole_pipeline(command: Path, tmp_path: Path) -> None:
    """In an empty folder `tabserve run --exit` trains, serves and tests; settings are read from the folder's `.env`."""
    (tmp_path / ".env").write_text("TABSERVE_MODEL_NAME=flowers\n")
    done = run(tmp_path, command, "run", "--exit", "--port", "0")
    assert " 0 failed" in done.stdout
    assert (tmp_path / "mlruns" / "models" / "flowers").is_dir()
