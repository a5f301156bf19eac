"""A copy of the project, and its containers."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabserve.cli import addresses
from tabserve.settings import PREFIX
from tests.support.client import get, health, status
from tests.support.project import ROOT
from tests.support.waiting import LIMIT, LONG_LIMIT, until

UID, GID = os.getuid() or 1000, os.getgid() or 1000
"""The containers' user and group: those of the tests, so that both may write the same folders; for root the default."""

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Project:
    """A copy of the checkout with a `.env`, and the containers of it.

    Attributes:
        tool: the command that composes.
        name: of the project in the engine.
        api, mlflow: addresses.
    """

    tool: list[str]
    folder: Path
    name: str
    image: str
    api: str
    mlflow: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this process without settings: those of the project are in its `.env`."""
        settings = (PREFIX, "MLFLOW_", "CONTAINER_", "COMPOSE_")
        return {name: value for name, value in os.environ.items() if not name.startswith(settings)}

    def compose(self, *arguments: str) -> str:
        return run([*self.tool, "--project-name", self.name, *arguments], self.folder, self.environment)

    def docker(self, *arguments: str) -> str:
        return run(["docker", *arguments], self.folder, self.environment)

    def container(self, service: str) -> str:
        return self.compose("ps", "--all", "--quiet", service).strip()

    def exec(self, service: str, *command: str) -> str:
        return self.docker("exec", self.container(service), *command)

    def inspect(self, container: str) -> dict[str, Any]:
        return dict(json.loads(self.docker("inspect", container))[0])

    def state(self, service: str) -> dict[str, Any]:
        return dict(self.inspect(self.container(service))["State"])

    def mounts(self, suffix: str = "") -> list[str]:
        pairs = [f"{self.folder / name}:/app/{name}{suffix}" for name in ("mlruns", "artifacts")]
        return [argument for pair in pairs for argument in ("--volume", pair)]

    def wait_healthy(self, service: str) -> None:
        until(lambda: bool(self.state(service)["Health"]["Status"] == "healthy"))

    def wait_ready(self) -> str:
        """Waits until the API has a model, and returns its version."""
        until(lambda: answers(f"{self.api}/readyz"))
        return self.model_version()

    def model_version(self) -> str:
        return str(health(self.api)["model_version"])

    def wait_for_another_model(self, version: str) -> str:
        """Waits until the API serves another version than this one, and returns that."""
        until(lambda: self.model_version() != version)
        return self.model_version()

    def run_id(self) -> str:
        return str(get(f"{self.api}/model/info").json()["run_id"])

    def check_card(self, run_id: str) -> None:
        """MLflow's UI opens the run's model card and lists its plots."""
        card = get(f"{self.mlflow}/get-artifact", params={"path": "model_card.md", "run_uuid": run_id})
        assert card.status_code == 200, card.text
        assert card.text.startswith("# iris-classifier ")
        query = {"run_id": run_id, "path": "plots"}
        plots = get(f"{self.mlflow}/ajax-api/2.0/mlflow/artifacts/list", params=query)
        assert plots.json()["files"]


@contextmanager
def project(tool: list[str], folder: Path, image: str) -> Iterator[Project]:
    """A copy of the checkout in `folder`, with its own ports and name. Its containers are removed at the end."""
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    api, mlflow = addresses.free_port(HOST), addresses.free_port(HOST)
    settings = {
        "TABSERVE_PORT": api,
        "MLFLOW_PORT": mlflow,
        "TABSERVE_LOG_FORMAT": "json",
        "CONTAINER_UID": UID,
        "CONTAINER_GID": GID,
        "CONTAINER_IMAGE": image,
    }
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    name = f"containers-{uuid.uuid4().hex[:12]}"
    containers = Project(tool, folder, name, image, f"http://{HOST}:{api}", f"http://{HOST}:{mlflow}")
    try:
        yield containers
    finally:
        containers.compose("down", "--volumes", "--remove-orphans")


def run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What the command prints. If it fails, the test fails with that."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONG_LIMIT, check=False
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout + (done.stderr if command[:2] == ["docker", "logs"] else "")


def works(command: list[str]) -> bool:
    """Whether the command exists and succeeds."""
    return (
        shutil.which(command[0]) is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


@contextmanager
def running(command: list[str], stack: Project) -> Iterator[None]:
    """A process in the project's folder, which is stopped when the block ends."""
    with subprocess.Popen(command, cwd=stack.folder, env=stack.environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(LIMIT)


def answers(url: str) -> bool:
    return status(url) == 200
