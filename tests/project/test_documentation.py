"""What the README and the decisions say is what there is."""

import re
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tabserve import settings
from tabserve.monitoring.metrics import Metrics
from tabserve.web.app import create_app
from tests.support.models import SETTINGS
from tests.support.project import PYTHON, ROOT
from tests.support.records import prediction
from tests.support.sources import FakeSource

README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = ("run_pipeline.py", "train_model.py", "promote_model.py", "api.py", "test_api.py")


def test_the_readme_names_every_setting_with_its_default() -> None:
    """Each setting has a row in the README with its name and its default."""
    for name, field in zip(settings.setting_names(), settings.Settings.model_fields.values(), strict=True):
        row = re.search(rf"^\| `{name}` \| `([^`]*)` \|", README, re.MULTILINE)
        assert row, f"{name} has no row"
        assert row[1] == str(field.default), name


def test_the_readme_names_every_route() -> None:
    """Each route of the application stands in the README."""
    app = create_app(SETTINGS, FakeSource())
    paths = set(app.openapi()["paths"]) | {"/docs", "/openapi.json"}
    assert len(paths) >= 11
    assert not [path for path in paths if f"{path}`" not in README]


def test_the_readme_names_every_counter() -> None:
    """Each name of the Prometheus text stands in the README's table with its labels, and none that doesn't exist."""
    metrics = Metrics()
    metrics.request("GET", "/health", 200, 0.1)
    metrics.observe(prediction(1))
    metrics.serving("20260101_000000", "1")
    metrics.tally("20260101_000000", "20260102_000000")
    families = text_string_to_metric_families(metrics.text("text/plain")[0].decode())
    shown = {
        family.name + ("_total" if family.type == "counter" else ""): {
            name for s in family.samples for name in s.labels
        }
        for family in families
        if not family.name.endswith("_created")
    }
    table = README.partition("| Prometheus name | labels |")[2].partition("\n\n")[0]
    rows = {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \| ?(.*) \|$", table, re.MULTILINE)}
    assert set(rows) == set(shown)
    for name, labels in shown.items():
        assert all(f"`{label}`" in rows[name] for label in labels - {"le"}), name


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_readme_names_every_option(script: str) -> None:
    """Each option of each command stands in the README, and none that doesn't exist."""
    done = subprocess.run([PYTHON, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", done.stdout)) - {"--help", "--version"}
    section = README.partition(f"### `python {script}`")[2].partition("\n#")[0]
    assert section, f"{script} has no section"
    assert set(re.findall(r"`(--[a-z][a-z-]+)", section)) == options


def test_every_dependency_is_locked_and_has_its_reason() -> None:
    """Each direct dependency is in the lock with its hashes, and earned a line in docs/decisions.md."""
    decisions = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    for listed, lock in (("requirements.in", "requirements.txt"), ("requirements-dev.in", "requirements-dev.txt")):
        locked = (ROOT / lock).read_text(encoding="utf-8")
        for name in re.findall(r"^[a-z][\w-]*", (ROOT / listed).read_text(encoding="utf-8"), re.MULTILINE):
            assert re.search(rf"^{name}==\S+( ;[^\n]*)? \\\n    --hash=sha256:", locked, re.MULTILINE), name
            assert f"`{name}`" in decisions, name


def test_both_locks_agree() -> None:
    """What is developed with is what is run with: the second lock holds the first, version by version."""
    run, develop = (
        set(re.findall(r"^\S+==\S+", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))
        for lock in ("requirements.txt", "requirements-dev.txt")
    )
    assert run < develop


def test_links_lead_somewhere() -> None:
    """Every relative link and picture in the README exists."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
