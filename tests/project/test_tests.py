"""The tests themselves: test modules are independent, and the check runs all of them and adds them up."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import check
from tests.check import PARTS, Part
from tests.support.project import ROOT

TESTS = ROOT / "tests"
MODULES = sorted(TESTS.rglob("*.py"))
TEST_MODULES = [path for path in MODULES if path.name.startswith("test_")]


def imports(path: Path) -> Iterator[str]:
    """The full names that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide what is imported"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_module_imports_a_test_module() -> None:
    """What test modules share is in `tests/support`: no module imports a test module or a `conftest`."""
    for path in MODULES:
        parts = [part for name in imports(path) if name.startswith("tests.") for part in name.split(".")]
        assert not [part for part in parts if part.startswith("test_") or part == "conftest"], path


def test_every_limit_of_a_wait_scales() -> None:
    """No test sleeps, and no call has a number of seconds as its limit: limits come from `tests.support.waiting`."""
    for path in TEST_MODULES:
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            limits = [keyword.value for keyword in call.keywords if keyword.arg == "timeout"]
            limits += call.args[:1] if name in ("wait", "join", "settimeout") else []
            seconds = [limit.value for limit in limits if isinstance(limit, ast.Constant)]
            assert not [value for value in seconds if isinstance(value, int | float) and value >= 1], (
                path,
                call.lineno,
            )
            assert name != "sleep" or is_zero(call), (path, call.lineno)


def is_zero(call: ast.Call) -> bool:
    """Whether the call is `sleep(0)`, which only lets other tasks run."""
    return ast.unparse(call.args[0]) == "0"


def test_every_test_module_is_in_one_part_of_the_check() -> None:
    """The parts of the check name folders, and each test module is in exactly one of them."""
    places = [ROOT / argument for part in PARTS if part.is_tests for argument in part.arguments if argument[0] != "-"]
    folders = [place for place in places if place.is_dir()]
    for path in TEST_MODULES:
        assert len([folder for folder in folders if path.is_relative_to(folder)]) == 1, path


def test_check_runs_all_parts_and_adds_up_their_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every part runs, even after a failed one. The closing lines show each pytest run's own summary, what was skipped
    and why, which parts failed, and the sum of all tests; the status is 1."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -ra\n")
    (tmp_path / "test_one.py").write_text(
        "import pytest\n"
        "def test_a(): pass\n"
        "def test_b(): assert False\n"
        "@pytest.fixture\n"
        "def broken(): raise OSError\n"
        "def test_c(broken): pass\n"
        "def test_d(): pytest.skip('there is no moon')\n"
    )
    (tmp_path / "test_two.py").write_text("def test_e(): pass\ndef test_f(): pass\n")
    parts = [
        Part("lint", ("-c", "raise SystemExit(3)"), is_tests=False, lane="one"),
        Part("bad", (str(tmp_path / "test_one.py"),), lane="one"),
        Part("good", (str(tmp_path / "test_two.py"),), lane="two"),
        Part("no tests", (str(tmp_path / "missing.py"),), lane="two"),
        Part("types", ("-c", "print('fine')"), is_tests=False, lane="one"),
    ]
    environment = dict(os.environ)
    runs = check.run(parts, environment)
    assert {run.part.name for run in runs} == {part.name for part in parts}
    capsys.readouterr()
    assert check.report(runs, environment) == 1
    lines = capsys.readouterr().out.splitlines()
    table = {line[:8].strip(): line for line in lines}
    assert "failed with status 3" in table["lint"]
    assert "1 failed, 1 passed, 1 skipped, 1 error in " in table["bad"]
    assert "2 passed in " in table["good"]
    assert table["types"].endswith(" ok")
    assert "  1 of bad: there is no moon" in lines
    assert lines[-2:] == ["failed: lint, bad, no tests", "3 passed, 3 failed"]


def test_check_succeeds_if_nothing_failed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a failure the status is 0."""
    environment = dict(os.environ)
    runs = check.run([Part("types", ("-c", "pass"), is_tests=False)], environment)
    assert check.report(runs, environment) == 0
    assert capsys.readouterr().out.endswith("failed: nothing\n0 passed, 0 failed\n")
