"""The checks of the API: a client, and complete."""

import ast
import sys

from api_checks import runner
from tests.support.project import ROOT


def imported_packages(file: str) -> set[str]:
    """The packages that a file imports, anywhere in it."""
    packages: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            packages.add((node.module or "").partition(".")[0])
    return packages


def test_checks_are_a_client() -> None:
    """test_api.py and its checks import requests and the standard library, and nothing of the package."""
    files = ["test_api.py", *(str(file.relative_to(ROOT)) for file in (ROOT / "api_checks").glob("*.py"))]
    for file in files:
        assert imported_packages(file) <= {"api_checks", "requests", *sys.stdlib_module_names}, file


def test_every_check_has_a_promise() -> None:
    """Each check has a name of its own, and a docstring that is printed as its promise."""
    topics = {topic for own in runner.TOPICS.values() for topic in own}
    checks = [check for topic in topics for name, check in vars(topic).items() if name.startswith("test_")]
    assert len({check.__name__ for check in checks}) == len(checks)
    assert all((check.__doc__ or "").rstrip().endswith((".", ")")) for check in checks)
