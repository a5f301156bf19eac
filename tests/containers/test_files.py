"""Dockerfile and docker-compose.yml are valid, and pass the settings on; checked without an engine."""

import re
import sys
import sysconfig
from pathlib import Path

import yaml

from tabserve.settings import PREFIX, setting_names
from tests.support.containers import run
from tests.support.project import ROOT


def test_dockerfile_passes_hadolint() -> None:
    """hadolint finds nothing in the Dockerfile."""
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    run([str(hadolint), "Dockerfile"], ROOT)


def test_compose_file_follows_the_specification() -> None:
    """docker-compose.yml is valid by the Compose specification's own schema."""
    run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        ROOT,
    )


def test_every_setting_reaches_the_containers() -> None:
    """Training and API take every setting from the environment, except addresses and folders, which the image and the
    compose file set."""
    given = set(setting_names())
    given -= {"TABSERVE_HOST", "TABSERVE_PORT", "TABSERVE_UDS", "TABSERVE_ARTIFACTS_DIR", "MLFLOW_TRACKING_URI"}
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name in ("first-model", "train", "api"):
        assert set(services[name]["environment"]) == given, name


def test_one_env_file_serves_host_and_containers() -> None:
    """docker-compose.yml reads no TABSERVE_ name from `.env` that `python api.py` would refuse there."""
    read = re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text())
    assert {name for name in read if name.startswith(PREFIX)} <= set(setting_names())
