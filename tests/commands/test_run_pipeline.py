"""run_pipeline.py: one command, every address, no process left behind."""

import ast
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import requests

import run_pipeline
from tabserve.cli import addresses, environment
from tests.support.project import PENGUINS, PYTHON, ROOT
from tests.support.waiting import LIMIT
from tests.support.workspaces import Workspace


def children(marker: str) -> list[str]:
    """Command lines of the processes whose environment contains this text."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                if marker in (process / "environ").read_text(errors="replace"):
                    found.append((process / "cmdline").read_text(errors="replace").replace("\0", " "))
            except OSError:
                continue
    return found


def test_pipeline_trains_serves_and_tests(empty_workspace: Workspace) -> None:
    """--exit ends with status 0 after training, serving and all checks; it prints no address and leaves no process."""
    port = str(addresses.free_port("127.0.0.1"))
    done = empty_workspace.run("run_pipeline.py", "--exit", "--port", port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout
    assert f"http://localhost:{port}/docs\n" not in done.stdout  # nothing listens there any more
    assert len(empty_workspace.versions()) == 1
    assert not children(str(empty_workspace.folder))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pipeline_serves_until_it_is_stopped(workspace: Workspace, number: signal.Signals) -> None:
    """Without --exit it prints every address and goes on serving; Ctrl-C or SIGTERM stops everything with status 0."""
    port = addresses.free_port("127.0.0.1")
    with workspace.start("run_pipeline.py", "--port", str(port)) as process:
        assert process.stdout is not None
        lines = [next(process.stdout)]
        while "Serving until Ctrl-C." not in lines[-1]:
            lines.append(next(process.stdout))
        output = "".join(lines)
        for path in ("", "/docs", "/health", "/metrics", "/predictions/history", "/model/info"):
            assert f"http://localhost:{port}{path}\n" in output
        assert "mlflow ui --workers 1 --backend-store-uri file:./mlruns" in output
        assert requests.get(f"http://localhost:{port}/health", timeout=LIMIT).json()["status"] == "healthy"
        process.send_signal(number)
        assert process.wait(LIMIT) == 0
    assert not children(str(workspace.folder))


def test_pipeline_trains_on_a_table(tmp_path: Path) -> None:
    """With a table, whose path is relative to the working directory, it trains on that table by the options of the
    training, and serves and tests its model, which is named after the file."""
    shutil.copy(PENGUINS, tmp_path / "birds.csv")
    workspace = Workspace(tmp_path)
    options = ["--exit", "--port", "0", "--data", "birds.csv", "--target", "species", "--drop", "year"]
    options += ["--encode", "one-hot", "--n-estimators", "12"]
    done = workspace.run("run_pipeline.py", *options, TABSERVE_MODEL_NAME="")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^  year +--drop +not used", done.stdout, re.MULTILINE)
    assert " passed, 0 failed" in done.stdout
    assert "fit 12 trees" in done.stdout
    assert Workspace(tmp_path, model_name="birds").store().champion().registry_version == "1"


def test_port_in_use_is_reported_before_the_training(empty_workspace: Workspace) -> None:
    """A port in use ends the pipeline before the training, with one line that says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = empty_workspace.run("run_pipeline.py", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "in use" in line
    assert "--port" in line
    assert not list(empty_workspace.folder.iterdir())


def test_failing_step_stops_the_pipeline(empty_workspace: Workspace) -> None:
    """A training that fails ends the pipeline with its own message and status, and leaves no process."""
    store = "file:/proc/nowhere/mlruns"
    done = empty_workspace.run("run_pipeline.py", "--exit", "--port", "0", MLFLOW_TRACKING_URI=store)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("train_model.py: ")
    assert "/proc/nowhere" in first
    assert second == "run_pipeline.py: train ended with status 1"
    assert not children(str(empty_workspace.folder))


def test_wrong_setting_stops_the_pipeline(empty_workspace: Workspace) -> None:
    """A wrong setting ends the pipeline with one line that names it."""
    done = empty_workspace.run("run_pipeline.py", "--exit", TABSERVE_FOLLOW_SECONDS="often")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "TABSERVE_FOLLOW_SECONDS" in line


def test_pipeline_makes_and_enters_an_environment(tmp_path: Path) -> None:
    """In an active virtual environment it continues there; otherwise it makes `.venv` once and enters it."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from tabserve.cli import environment\n"
        "environment.enter(Path(__file__).parent, Path(__file__), sys.argv[1:])\n"
        "print('inside', sys.prefix, *sys.argv[1:])\n"
    )
    inside = subprocess.run([PYTHON, script, "--exit"], cwd="/", capture_output=True, text=True, check=True)
    assert inside.stdout == f"inside {sys.prefix} --exit\n"
    assert not (tmp_path / ".venv").exists()
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    for first in (True, False):
        outside = subprocess.run([base, script, "--exit"], cwd="/", capture_output=True, text=True, check=True)
        assert outside.stdout.endswith(f"inside {tmp_path}/.venv --exit\n")
        assert ("making" in outside.stdout) == first


def test_pipeline_starts_with_nothing_installed() -> None:
    """Without any installed package run_pipeline.py shows its help."""
    command = [PYTHON, "-I", "-S", str(ROOT / "run_pipeline.py"), "--help"]
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runpy; runpy.run_path({command[3]!r}, None, '__main__')"
    )
    done = subprocess.run([*command[:3], "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--check" in done.stdout


@pytest.mark.parametrize("script", ["train_model.py", "api.py", "test_api.py"])
def test_script_without_its_packages_says_how_to_get_them(script: str, tmp_path: Path) -> None:
    """Run by a Python that has nothing installed, a script ends with one line that says what to do."""
    bare = tmp_path / "bare"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(bare)], check=True)
    done = subprocess.run([bare / "bin" / "python", ROOT / script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{script}: No module named ")
    assert ".venv/bin/activate" in line
    assert "python run_pipeline.py" in line


def test_older_python_is_refused_in_one_line() -> None:
    """A Python older than 3.11 can read run_pipeline.py, imports nothing of the package, and gets one line."""
    script = ROOT / "run_pipeline.py"
    ast.parse(script.read_text(), feature_version=(3, 7))
    code = f"import runpy, sys; sys.version_info = (3, 10, 13); runpy.run_path({str(script)!r}, None, '__main__')"
    done = subprocess.run([PYTHON, "-c", code], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("run_pipeline.py: Python 3.11 or newer is needed")


def test_oldest_python_is_the_same_everywhere() -> None:
    """The script, the environment and the package's metadata need the same version of Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={'.'.join(map(str, environment.OLDEST_PYTHON))}"
    assert run_pipeline.OLDEST_PYTHON == environment.OLDEST_PYTHON
