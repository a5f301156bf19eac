"""run_pipeline.py: one command, every address, nothing left behind."""

import ast
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import run_pipeline
from tabserve.cli import addresses
from tests.support.project import PENGUINS, PYTHON, ROOT
from tests.support.workspaces import Workspace


def children(marker: str) -> list[str]:
    """Command lines of the processes that work for this workspace, told by a word of their environment."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                if marker in (process / "environ").read_text(errors="replace"):
                    found.append((process / "cmdline").read_text(errors="replace").replace("\0", " "))
            except OSError:
                continue
    return found


def test_one_command_trains_serves_and_tests(empty_workspace: Workspace) -> None:
    """--exit ends with 0 after training, serving and all checks; no address is printed, and no process is left."""
    port = str(addresses.free_port("127.0.0.1"))
    done = empty_workspace.run("run_pipeline.py", "--exit", "--port", port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout
    assert f"http://localhost:{port}/docs\n" not in done.stdout  # it is gone when this is read
    assert len(empty_workspace.versions()) == 1
    assert not children(str(empty_workspace.folder))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop(workspace: Workspace, number: signal.Signals) -> None:
    """Without --exit it prints every address and goes on serving; Ctrl-C, or a service manager's SIGTERM, stops
    everything with status 0."""
    port = addresses.free_port("127.0.0.1")
    with workspace.start("run_pipeline.py", "--port", str(port)) as process:
        assert process.stdout is not None
        lines = [next(process.stdout)]
        while "Serving until Ctrl-C." not in lines[-1]:
            lines.append(next(process.stdout))
        said = "".join(lines)
        for path in ("", "/docs", "/health", "/metrics", "/predictions/history", "/model/info"):
            assert f"http://localhost:{port}{path}\n" in said
        assert "mlflow ui --workers 1 --backend-store-uri file:./mlruns" in said
        assert requests.get(f"http://localhost:{port}/health", timeout=10).json()["status"] == "healthy"
        process.send_signal(number)
        assert process.wait(30) == 0
    assert not children(str(workspace.folder))


def test_a_table_is_trained_on_and_served(tmp_path: Path) -> None:
    """With a table it trains on that, named from wherever the pipeline was started, serves its model, which is named
    after the file, and tests that."""
    shutil.copy(PENGUINS, tmp_path / "birds.csv")
    workspace = Workspace(tmp_path)
    options = ["--exit", "--port", "0", "--data", "birds.csv", "--target", "species", "--drop", "year"]
    done = workspace.run("run_pipeline.py", *options, TABSERVE_MODEL_NAME="")
    assert done.returncode == 0, done.stderr
    assert "  year               left out           --drop" in done.stdout
    assert " passed, 0 failed" in done.stdout
    assert Workspace(tmp_path, model_name="birds").store().champion().registry_version == "1"


def test_a_port_in_use_is_said_before_anything_is_trained(empty_workspace: Workspace) -> None:
    """A port in use ends the pipeline with one line and the way out, and nothing has been trained."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = empty_workspace.run("run_pipeline.py", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "in use" in line
    assert "--port" in line
    assert not list(empty_workspace.folder.iterdir())


def test_a_failing_step_stops_the_pipeline(empty_workspace: Workspace) -> None:
    """A training that fails ends the pipeline with its own message and a status, and leaves no process behind."""
    store = "file:/proc/nowhere/mlruns"
    done = empty_workspace.run("run_pipeline.py", "--exit", "--port", "0", MLFLOW_TRACKING_URI=store)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("train_model.py: ")
    assert "/proc/nowhere" in first
    assert second == "run_pipeline.py: train ended with status 1"
    assert not children(str(empty_workspace.folder))


def test_a_wrong_setting_stops_the_pipeline(empty_workspace: Workspace) -> None:
    """A wrong setting ends the pipeline with one line that names it."""
    done = empty_workspace.run("run_pipeline.py", "--exit", TABSERVE_FOLLOW_SECONDS="often")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "TABSERVE_FOLLOW_SECONDS" in line


def test_only_what_is_missing_is_installed(tmp_path: Path) -> None:
    """Of a lock, what is installed in that very version and what isn't for this platform is left out; the rest stays
    with its hashes."""
    assert run_pipeline.missing_requirements(ROOT / "requirements-dev.txt") == []
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "# a comment\n"
        "NumPy==0.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via pandas\n"
        f"requests=={requests.__version__} \\\n    --hash=sha256:cc\n"
        "pywin32==1 ; sys_platform == 'win32' \\\n    --hash=sha256:dd\n"
        "not-there==2 ; python_version >= '3.11' \\\n    --hash=sha256:ee\n"
    )
    assert run_pipeline.missing_requirements(lock) == [
        "NumPy==0.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb",
        "not-there==2 ; python_version >= '3.11' \\\n    --hash=sha256:ee",
    ]


def test_an_active_environment_is_used(tmp_path: Path) -> None:
    """Run inside a virtual environment it goes on in that one; run outside it makes one of its own and enters that."""
    copy = tmp_path / "run_pipeline.py"
    copy.write_text((ROOT / "run_pipeline.py").read_text().partition('if __name__ == "__main__"')[0])
    enter = "import run_pipeline, sys; run_pipeline.enter_environment(); print('inside', sys.prefix)"
    inside = subprocess.run([PYTHON, "-c", enter], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert inside.stdout == f"inside {sys.prefix}\n"
    assert not (tmp_path / ".venv").exists()

    copy.write_text(copy.read_text() + "\nenter_environment()\nprint('inside', sys.prefix)\n")
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    for made in (True, False):
        outside = subprocess.run([base, copy], cwd="/", capture_output=True, text=True, check=True)
        assert outside.stdout.endswith(f"inside {tmp_path}/.venv\n")
        assert ("making" in outside.stdout) == made


def test_a_half_made_environment_is_made_anew(tmp_path: Path) -> None:
    """An environment that has no working interpreter, or one without pip, doesn't count as one."""
    python = tmp_path / "bin" / "python"
    assert not run_pipeline.works(python)
    python.parent.mkdir()
    python.symlink_to("/nowhere")
    assert not run_pipeline.works(python)
    assert run_pipeline.works(Path(PYTHON))


def imported(script: str) -> set[str]:
    """The modules that a script imports at its top level."""
    tree = ast.parse((ROOT / script).read_text())
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_the_pipeline_starts_with_nothing_installed() -> None:
    """Before its environment stands, run_pipeline.py imports the standard library only."""
    assert imported("run_pipeline.py") <= set(sys.stdlib_module_names)


def test_the_api_check_is_a_client() -> None:
    """test_api.py imports requests and the standard library, and nothing of the package, at no place in it."""
    assert imported("test_api.py") <= set(sys.stdlib_module_names) | {"requests"}
    assert "import tabserve" not in (ROOT / "test_api.py").read_text()
    assert "from tabserve" not in (ROOT / "test_api.py").read_text()


@pytest.mark.parametrize("script", ["train_model.py", "api.py", "test_api.py"])
def test_a_script_without_its_packages_says_how_to_get_them(script: str, tmp_path: Path) -> None:
    """Run by a Python that has nothing installed, a script ends with one line that names the way out."""
    bare = tmp_path / "bare"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(bare)], check=True)
    done = subprocess.run([bare / "bin" / "python", ROOT / script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{script}: No module named ")
    assert ".venv/bin/activate" in line
    assert "python run_pipeline.py" in line


def test_a_tracking_server_is_its_own_ui() -> None:
    """With a tracking server the UI's address is the server's, without its password; no command is needed."""
    assert run_pipeline.mlflow_ui("http://me:secret@host:5000") == "http://host:5000"
