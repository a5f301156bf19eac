"""docs/reference names each setting, option, route and counter that there is, and no other."""

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from annotated_types import Ge, Le
from prometheus_client.parser import text_string_to_metric_families

from tabserve import settings
from tabserve.model import Classification
from tabserve.monitoring.metrics import Metrics
from tabserve.monitoring.service_metrics import REASONS
from tabserve.web.app import create_app
from tests.support.models import SETTINGS
from tests.support.pages import PAGES, REFERENCE, SCRIPTS, options_of, section, text
from tests.support.project import ROOT
from tests.support.records import NUMBER, number_prediction, prediction
from tests.support.sources import FakeSource

EVERYWHERE = {"--help", "--version"}
"""Options of every command, which the reference names once."""


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
    metrics.service.serving("20260101_000000", "1")
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
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ((?:`\w+`(?:, )?)*) ?\| .* \|$", counters_table(), re.MULTILINE)
    table = [(name, labels) for names, labels in rows for name in re.findall(r"`(\w+)`", names)]
    if sys.platform != "linux":  # the process is measured on Linux only
        table = [(name, labels) for name, labels in table if name in collected or not name.startswith("process_")]
    assert {name for name, _ in table} == set(collected)
    for name, labels in table:
        assert set(re.findall(r"`(\w+)`", labels)) == collected[name] - {"le"}, name


def test_every_counter_in_a_query_or_alert_exists() -> None:
    """The PromQL examples and the alerts use documented names."""
    page = text(REFERENCE / "metrics.md")
    names = set(re.findall(r"`(\w+)`", counters_table()))
    queried = set(re.findall(r"(\w+?)(?:_bucket|_sum|_count)?(?:\{[^}]*\})?\[\d+[mh]\]", page))
    compared = set(re.findall(r"(\w+)(?:\{[^}]*\})? (?:==|>|/) ", section(REFERENCE / "metrics.md", "Alerts")))
    assert queried
    assert compared
    assert queried | compared <= names


def counters_table() -> str:
    """What stands in docs/reference/metrics.md before the first heading: the table of the counters."""
    return text(REFERENCE / "metrics.md").partition("\n## ")[0]


def test_every_reason_of_a_failed_reload_is_documented() -> None:
    """docs/reference/metrics.md has a row for each reason, and none that doesn't exist."""
    table = section(REFERENCE / "metrics.md", "Why a reload failed")
    assert set(re.findall(r"^\| `(\w+)` \| \S", table, re.MULTILINE)) - {"reason"} == set(REASONS)


def test_every_variable_of_the_compose_file_is_documented() -> None:
    """docs/guides/containers.md names each variable that docker-compose.yml reads, unless it is a setting."""
    read = set(re.findall(r"\$\{(\w+)", text(ROOT / "docker-compose.yml")))
    assert read
    page = text(ROOT / "docs" / "guides" / "containers.md")
    assert not [name for name in read - set(settings.setting_names()) if f"`{name}`" not in page]
