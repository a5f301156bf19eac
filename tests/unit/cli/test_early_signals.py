"""A signal that comes while the server starts. Process 1 of a container ignores one that has no handler yet."""

import os
import shutil
import signal
import subprocess
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from fastapi import FastAPI

from tabserve.cli import addresses
from tabserve.cli import main as command
from tabserve.web import serve
from tests.support.project import PYTHON, ROOT, unmeasured_environment
from tests.support.waiting import LIMIT

BOTH = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """The handlers of the process that runs the tests are what they were before."""
    before = {number: signal.getsignal(number) for number in BOTH}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", BOTH)
def test_script_obeys_a_signal_before_it_imports_the_package(number: signal.Signals, tmp_path: Path) -> None:
    """`api.py` ends with status 0. The package is one here whose import gets the signal."""
    shutil.copy(ROOT / "api.py", tmp_path)
    package = tmp_path / "tabserve" / "cli"
    package.mkdir(parents=True)
    (package / "serve.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\nprint('survived')\n")
    done = subprocess.run(
        [PYTHON, tmp_path / "api.py"],
        cwd=tmp_path,
        env=unmeasured_environment(),  # the package here is gone when coverage is reported
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("name", "status"), [("serve", 0), ("train", 143), ("promote", 143)])
def test_command_obeys_a_signal_before_it_imports_its_module(
    name: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is stopped has done its work; a training has not."""

    def terminated(_: str) -> types.ModuleType:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("survived")

    monkeypatch.setattr("importlib.import_module", terminated)
    with pytest.raises(SystemExit) as ended:
        command.main([name])
    assert ended.value.code == status


@pytest.mark.parametrize("number", BOTH)
def test_signal_before_uvicorn_has_its_handlers_is_obeyed(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same after a clean stop, when uvicorn raises the signal that stopped it again."""

    def run(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    with addresses.listening("127.0.0.1", 0) as listeners, pytest.raises(SystemExit) as ended:
        serve(cast("FastAPI", None), listeners, 1)
    assert ended.value.code == 0
