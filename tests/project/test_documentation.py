"""README.md and docs/ describe what there is: dependencies, packages, files. Links lead somewhere, snippets parse."""

import ast
import itertools
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tabserve.web.app import create_app
from tests.project import draw_packages
from tests.support.models import SETTINGS
from tests.support.pages import PAGES, README, blocks, section, text
from tests.support.project import ROOT
from tests.support.sources import FakeSource

MOST_LINES = 200
"""Of README.md."""


# -- dependencies


def test_every_dependency_is_locked_and_has_its_reason() -> None:
    """Each direct dependency is in the lock with its hashes, and has a row in docs/decisions/environment.md."""
    table = section(ROOT / "docs" / "decisions" / "environment.md", "Dependencies")
    rows = re.findall(r"^\| (`.*?`) \| \S.* \|$", table, re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    direct = set()
    for listed, lock in (("requirements.in", "requirements.txt"), ("requirements-dev.in", "requirements-dev.txt")):
        locked = text(ROOT / lock)
        for name in re.findall(r"^[a-z][\w-]*", text(ROOT / listed), re.MULTILINE):
            assert re.search(rf"^{name}==\S+( ;[^\n]*)? \\\n    --hash=sha256:", locked, re.MULTILINE), name
            direct.add(name)
    assert direct <= explained


def test_both_locks_agree() -> None:
    """The lock for development holds the lock for running, version by version."""
    run, develop = (
        set(re.findall(r"^\S+==\S+", text(ROOT / lock), re.MULTILINE))
        for lock in ("requirements.txt", "requirements-dev.txt")
    )
    assert run < develop


# -- the packages


def test_the_diagram_shows_every_import_between_packages() -> None:
    """The diagram of docs/architecture.md has an arrow for each import between packages, and no other."""
    (diagram,) = blocks(draw_packages.PAGE, "mermaid")
    assert draw_packages.drawn_imports(diagram) == draw_packages.imports(), (
        "run `python -m tests.project.draw_packages`, which draws docs/architecture.md again"
    )


def test_the_serving_side_has_no_arrow_to_training_or_registry() -> None:
    """No arrow of the diagram leads from a package that serves to one that trains or knows MLflow."""
    (diagram,) = blocks(draw_packages.PAGE, "mermaid")
    serving, training = {"web", "serving", "monitoring", "inference", "model"}, {"registry", "training", "reporting"}
    arrows = draw_packages.drawn_imports(diagram)
    assert arrows
    assert not [(one, other) for one, other in arrows if one in serving and other in training]


def test_every_package_is_described() -> None:
    """Each package has a row in docs/architecture.md and a line in the README's tree of files."""
    rows = re.findall(r"^\| (`.*?`) \|", text(draw_packages.PAGE), re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert draw_packages.packages() <= described
    assert {f"{name}/" for name in draw_packages.packages() - {"settings"}} <= set(tree_entries("  "))


def test_the_tree_of_files_shows_what_there_is() -> None:
    """Each file and folder in the README's tree exists, except the folders that training makes."""
    made_by_training = {"mlruns/", "artifacts/"}
    top = set(tree_entries(""))
    assert made_by_training < top
    assert not [name for name in top - made_by_training if not (ROOT / name).exists()]
    assert not [name for name in tree_entries("  ") if not (ROOT / "tabserve" / name).exists()]


def tree_entries(indent: str) -> list[str]:
    """The names in the README's tree that are indented by this much."""
    tree = next(block for block in blocks(README, "") if block.startswith("run_pipeline.py "))
    lines = re.findall(rf"^{indent}(\S.*?)  ", tree, re.MULTILINE)
    return [name for line in lines for name in line.split(", ")]


# -- every page


def test_the_readme_is_short() -> None:
    """README.md has at most 200 lines."""
    assert len(text(README).splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and picture exists, and a link to a heading finds it."""
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", text(page)):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    """Following links from README.md leads to every page."""
    reached, ahead = set(), [README]
    while ahead:
        page = ahead.pop()
        if page not in reached:
            reached.add(page)
            links = (page.parent / link for link in re.findall(r"\]\(([^)#:\s]+\.md)", text(page)))
            ahead += [link.resolve() for link in links]
    assert not set(PAGES) - reached


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_snippets_are_valid(page: Path) -> None:
    """JSON parses, Python compiles, and a shell can read the commands, including the JSON that they send."""
    for block in blocks(page, "json"):
        json.loads(block)
    for block in blocks(page, "python"):
        ast.parse(block)
    for block in blocks(page, "bash"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
        words = shlex.split(block, comments=True)
        for option, value in itertools.pairwise(words):
            if option == "-d":
                json.loads(value)


def test_routes_in_commands_exist() -> None:
    """Every `curl` on this service asks for a route that it has."""
    routes = {*create_app(SETTINGS, FakeSource()).openapi()["paths"], "/docs"}
    called = [
        (page.name, path) for page in PAGES for path in re.findall(r"curl [^#\n]*?localhost:8000(/[\w/]*)", text(page))
    ]
    assert len(called) > 10
    assert not [(page, path) for page, path in called if path not in routes]


# -- the changelog and the workflow


def test_the_changelog_has_the_current_version() -> None:
    """The newest version in CHANGELOG.md is dated, and grouped by what was added, changed and fixed."""
    versions = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", text(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert versions
    newest = text(ROOT / "CHANGELOG.md").partition(f"## {versions[0]} ")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", newest, re.MULTILINE) == ["Added", "Changed", "Fixed"]


def test_the_workflow_runs_the_check() -> None:
    """The workflow runs the check, with every Python version for which the locks are made."""
    workflow = yaml.safe_load(text(ROOT / ".github" / "workflows" / "check.yml"))
    job = workflow["jobs"]["check"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert "python run_pipeline.py --check" in [step.get("run") for step in job["steps"]]
