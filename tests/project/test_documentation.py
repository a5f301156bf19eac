"""README.md and docs/ describe what there is: settings, options, routes, counters, dependencies, packages.

Most tests compare a page of docs/reference with the code. The others hold what all pages have in common: links lead
somewhere, commands parse, snippets are valid.
"""

import ast
import itertools
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from annotated_types import Ge, Le
from prometheus_client.parser import text_string_to_metric_families

from tabserve import settings
from tabserve.model import Classification
from tabserve.monitoring.metrics import Metrics
from tabserve.web.app import create_app
from tests.project import draw_packages
from tests.support.models import SETTINGS
from tests.support.project import PYTHON, ROOT
from tests.support.records import NUMBER, number_prediction, prediction
from tests.support.sources import FakeSource
from tests.support.waiting import LIMIT

README = ROOT / "README.md"
REFERENCE = ROOT / "docs" / "reference"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))

SCRIPTS = ("run_pipeline.py", "train_model.py", "promote_model.py", "api.py", "test_api.py")
SUBCOMMANDS = {
    "run": "run_pipeline.py",
    "train": "train_model.py",
    "promote": "promote_model.py",
    "serve": "api.py",
    "test": "test_api.py",
}
"""Sub-command of `tabserve` → the script with the same options."""

EVERYWHERE = {"--help", "--version"}
"""Options of every command, which the reference names once."""

MOST_LINES = 200
"""Of README.md."""


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(page: Path, heading: str) -> str:
    """What stands under a heading of the second level, up to the next one."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section '{heading}'"
    return found[1]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in this language; those without one for an empty text."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL)


# -- the reference


def test_every_setting_is_documented_with_default_and_bounds() -> None:
    """docs/reference/settings.md has a row for each setting: its name, its default, its least and its largest value."""
    page, rows = text(REFERENCE / "settings.md"), 0
    for name, field in zip(settings.setting_names(), settings.Settings.model_fields.values(), strict=True):
        row = re.search(rf"^\| `{name}` \| (?:`([^`]*)`|none) \| (.*) \|$", page, re.MULTILINE)
        assert row, f"{name} has no row"
        assert row[1] == (None if field.default in (None, ()) else str(field.default)), name
        bounds = [
            bound.ge if isinstance(bound, Ge) else bound.le for bound in field.metadata if isinstance(bound, Ge | Le)
        ]
        assert all(re.search(rf"\b{re.escape(str(bound))}\b", row[2]) for bound in bounds), f"{name}: {bounds}"
        rows += 1
    assert len(re.findall(r"^\| `[A-Z_]+` \|", page, re.MULTILINE)) == rows


def test_settings_named_in_any_page_exist() -> None:
    """No page names a setting that doesn't exist."""
    known = set(settings.setting_names())
    named = {(page.name, name) for page in PAGES for name in re.findall(r"\bTABSERVE_[A-Z_]+\b", text(page))}
    assert len(named) > len(known)
    assert not {(page, name) for page, name in named if name not in known}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_is_documented(script: str) -> None:
    """docs/reference/commands.md has each option of each command, and none that doesn't exist."""
    assert set(re.findall(r"`(--[a-zA-Z][a-zA-Z-]*)", section(REFERENCE / "commands.md", f"`python {script}`"))) == (
        options_of(script) - EVERYWHERE
    )


def test_every_route_and_key_is_documented() -> None:
    """docs/reference/routes.md has a section for each route, with each key of its reply, and no other key. A key inside
    another one may stand anywhere on the page."""
    page = REFERENCE / "routes.md"
    document = create_app(SETTINGS, FakeSource()).openapi()
    headings = re.findall(r"^## (.*)$", text(page), re.MULTILINE)
    for path, operations in document["paths"].items():
        (method, operation), *_ = operations.items()
        name = f"`{method.upper()} {path}`"
        heading = next((heading for heading in headings if name in heading), None)
        assert heading, f"{name} has no section"
        reply = operation["responses"]["200"]["content"].get("application/json", {}).get("schema", {})
        described = section(page, heading)
        keys = set(keys_of(reply, document["components"]["schemas"]))
        for depth, key in keys:
            assert f"`{key}`" in (text(page) if depth else described), f"{name}: {key}"
        rows = re.findall(r"^\| (`.*?`) \|", described, re.MULTILINE)
        assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} <= {key for _, key in keys}, name
        for parameter in operation.get("parameters", ()):
            assert f"`{parameter['name']}`".lower() in described.lower(), f"{name}: {parameter['name']}"
    for path in ("/docs", "/openapi.json"):
        assert any(f"`GET {path}`" in heading for heading in headings), path


def keys_of(schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> Iterator[tuple[int, str]]:
    """The keys of the objects that a JSON schema describes, each with how deep it is inside of others."""
    described = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    for variant in described.get("anyOf", ()):
        yield from keys_of(variant, schemas, depth)
    for key, value in described.get("properties", {}).items():
        yield depth, key
        yield from keys_of(value, schemas, depth + 1)
    for inner in (described.get("items"), described.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from keys_of(inner, schemas, depth + 1)


def test_every_counter_is_documented_with_its_labels() -> None:
    """docs/reference/metrics.md has each name of the Prometheus text with its labels, and none that doesn't exist."""
    metrics = Metrics()
    metrics.request("GET", "/health", 200, 0.1)
    metrics.observe(prediction(1))
    metrics.observe(number_prediction(1))
    metrics.serving("20260101_000000", "1")
    metrics.comparison("20260101_000000", "20260102_000000", Classification(classes=("a", "b")))
    metrics.comparison("20260101_000000", "20260103_000000", NUMBER)
    families = text_string_to_metric_families(metrics.text("text/plain")[0].decode())
    collected = {
        family.name + ("_total" if family.type == "counter" else ""): {
            label for sample in family.samples for label in sample.labels
        }
        for family in families
        if not family.name.endswith("_created")
    }
    table = re.findall(r"^\| `(\w+)` \| (.*?) ?\| .* \|$", text(REFERENCE / "metrics.md"), re.MULTILINE)
    assert {name for name, _ in table} == set(collected)
    for name, labels in table:
        assert set(re.findall(r"`(\w+)`", labels)) == collected[name] - {"le"}, name


def test_every_counter_in_a_query_exists() -> None:
    """The PromQL examples use documented names."""
    page = text(REFERENCE / "metrics.md")
    names = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    used = set(re.findall(r"(\w+?)(?:_bucket|_sum|_count)?(?:\{[^}]*\})?\[\d+[mh]\]", page))
    assert used
    assert used <= names


def test_every_variable_of_the_compose_file_is_documented() -> None:
    """docs/guides/containers.md names each variable that docker-compose.yml reads, unless it is a setting."""
    read = set(re.findall(r"\$\{(\w+)", text(ROOT / "docker-compose.yml")))
    assert read
    page = text(ROOT / "docs" / "guides" / "containers.md")
    assert not [name for name in read - set(settings.setting_names()) if f"`{name}`" not in page]


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


def documented_commands() -> Iterator[tuple[str, ...]]:
    """The commands of this project in all pages: the script, and its arguments."""
    in_text = re.compile(r"`((?:[A-Z_]+=\S+ |docker-compose run \S+ train )?(?:python \w+\.py|tabserve [a-z]+) [^`]*)`")
    for page in PAGES:
        lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
        lines += [line[2:] for block in blocks(page, "") for line in block.splitlines() if line.startswith("$ ")]
        lines += in_text.findall(text(page))
        for line in lines:
            words = list(itertools.takewhile(lambda word: word not in ("|", "&&", ";"), split(line)))
            for before, word in itertools.pairwise(range(len(words))):
                if words[before] == "python" and words[word] in SCRIPTS:
                    yield tuple(words[word:])
                elif words[before] == "tabserve":
                    yield SUBCOMMANDS[words[word]], *words[word + 1 :]


def split(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a line of a command of several lines; all of those are `curl`
        assert not any(script in line for script in SCRIPTS), line
        return []


COMMANDS = sorted(set(documented_commands()))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_documented_commands_parse(command: tuple[str, ...]) -> None:
    """Each command in README and docs has options that exist, with values that they take."""
    script, *arguments = command
    assert {argument.partition("=")[0] for argument in arguments if argument.startswith("--")} <= options_of(script)
    if script in ("train_model.py", "promote_model.py"):
        # these read the settings once they have understood the options: a wrong setting stops them there
        done = run_script(script, *arguments, TABSERVE_LOG_LEVEL="none")
        assert done.returncode == 1, done.stderr
        assert "TABSERVE_LOG_LEVEL" in done.stderr
    else:
        # a wrong value stops the command while it reads its options, before it gets to --help
        assert run_script(script, *arguments, "--help").returncode == 0


def test_many_commands_are_documented() -> None:
    """The test above sees the commands of every script."""
    assert {command[0] for command in COMMANDS} == set(SCRIPTS)
    assert len(COMMANDS) > 20


@cache
def options_of(script: str) -> frozenset[str]:
    """The long options that `--help` names."""
    done = run_script(script, "--help")
    assert done.returncode == 0, done.stderr
    return frozenset(re.findall(r"(?<![\w-])--[a-zA-Z][a-zA-Z-]*", done.stdout))


def run_script(script: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [PYTHON, script, *arguments],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


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
