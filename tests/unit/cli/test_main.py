"""The command `tabserve`: finds the sub-command, and is fast without one."""

import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest

from tabserve import __version__
from tabserve.cli import main as command
from tests.support.project import PYTHON, ROOT


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """--help lists the commands, with one line for each."""
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for name, (_, description) in command.COMMANDS.items():
        assert f"    {name:9} {description}" in lines


def test_help_needs_the_standard_library_only() -> None:
    """--help imports nothing but the standard library, so it is fast."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tabserve.cli.main import main; main()"
    done = subprocess.run([PYTHON, "-I", "-S", "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: tabserve COMMAND")


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the version of the package."""
    with pytest.raises(SystemExit, match="0"):
        command.main(["--version"])
    assert capsys.readouterr().out == f"tabserve {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["trian"], ["--prot"], ["--"]])
def test_unknown_command_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No command, an unknown command or an unknown option ends with status 2, and the usage on stderr."""
    try:
        status: object = command.main(arguments)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert "usage: tabserve COMMAND" in capsys.readouterr().err


def test_command_works_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command gets its options, the working directory and its full name; its status is returned."""
    calls: list[tuple[list[str], Path, str]] = []

    def main(argv: Sequence[str], *, root: Path, program: str) -> int:
        calls.append(([*argv], root, program))
        return 7

    module = types.ModuleType("fake_command")
    vars(module)["main"] = main
    monkeypatch.setitem(sys.modules, "fake_command", module)
    monkeypatch.setitem(command.COMMANDS, "serve", ("fake_command", "serve"))
    monkeypatch.chdir(tmp_path)
    assert command.main(["serve", "--port", "0"]) == 7
    assert calls == [(["--port", "0"], tmp_path, "tabserve serve")]
