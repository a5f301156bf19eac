"""The containers on a real engine: built from a copy of the checkout, called over HTTP, removed again.

What the files say is checked anywhere. The rest needs `docker-compose` or `docker compose` and an engine that answers;
it is left out without one.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tabserve.settings import PREFIX, setting_names

pytestmark = pytest.mark.timeout(900)  # the first test that needs the image builds it

ROOT = Path(__file__).resolve().parents[2]
ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}

UID, GID = os.getuid() or 1000, os.getgid() or 1000
"""Who the containers run as: whoever runs the tests, so that both may write the same folders; for root the default."""

STRANGER = 12345
"""Someone else."""


# -- what the files say


def test_the_dockerfile_passes_hadolint() -> None:
    """hadolint has nothing to say about the Dockerfile."""
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    run([str(hadolint), "Dockerfile"], ROOT)


def test_the_compose_file_follows_the_specification() -> None:
    """docker-compose.yml is valid by the Compose specification's own schema."""
    run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        ROOT,
    )


def test_every_setting_reaches_the_containers() -> None:
    """Every setting can be given to training and API by its name, but for those that say where to listen and what lies
    where, which the image and the compose file decide."""
    given = set(setting_names())
    given -= {"TABSERVE_HOST", "TABSERVE_PORT", "TABSERVE_ARTIFACTS_DIR", "MLFLOW_TRACKING_URI"}
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name in ("first-model", "train", "api"):
        assert set(services[name]["environment"]) == given, name


def test_one_env_file_serves_host_and_containers() -> None:
    """What docker-compose.yml reads from `.env` is never a TABSERVE_ name that `python api.py` would refuse there."""
    read = re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text())
    assert {name for name in read if name.startswith(PREFIX)} <= set(setting_names())


# -- the containers


def test_a_fresh_checkout_comes_up_trained_and_serves(stack: "Project") -> None:
    """After `docker-compose up --build` on a fresh checkout both services are healthy, the API predicts and MLflow's UI
    shows the page and the first run's model card."""
    stack.wait_healthy("api")
    stack.wait_healthy("mlflow")
    reply = predict(stack.api)
    assert reply.status_code == 200
    assert reply.json()["label"] == "setosa"
    assert reply.json()["model_version"] == stack.model_version()
    assert "<title>MLflow</title>" in get(stack.mlflow).text
    stack.check_card(stack.run_id())


@pytest.mark.parametrize("service", ["api", "mlflow"])
def test_a_container_can_do_nothing_but_its_work(stack: "Project", service: str) -> None:
    """Nothing in it runs as root or holds a capability, none can be gained, and its root file system is read-only."""
    status = stack.exec(service, "sh", "-c", "cat /proc/[0-9]*/status")
    assert set(re.findall(r"^Uid:\t(\d+)\t", status, re.MULTILINE)) == {str(UID)}
    assert {int(mask, 16) for mask in re.findall(r"^Cap(?:Prm|Eff|Bnd):\t(\w+)", status, re.MULTILINE)} == {0}
    assert set(re.findall(r"^NoNewPrivs:\t(\d)", status, re.MULTILINE)) == {"1"}
    assert re.search(r"^\S+ / \S+ ro[, ]", stack.exec(service, "cat", "/proc/mounts"), re.MULTILINE)
    # what is mounted for writing holds no programs
    assert "noexec" in stack.exec(service, "grep", " /tmp ", "/proc/mounts")


def test_services_are_published_on_loopback_only(stack: "Project") -> None:
    """Unless someone says otherwise, no other machine reaches a server that doesn't ask who is calling."""
    for service in ("api", "mlflow"):
        ports = stack.inspect(stack.container(service))["NetworkSettings"]["Ports"]
        assert {binding["HostIp"] for bindings in ports.values() for binding in bindings or []} == {"127.0.0.1"}


def test_settings_in_the_env_file_reach_the_containers(stack: "Project") -> None:
    """`.env` sets the containers as it sets the host: here, that logs are JSON."""
    log = stack.docker("logs", stack.container("api"))
    assert {"model live"} <= {json.loads(line)["event"] for line in log.splitlines()}


def test_the_image_holds_what_runs_and_nothing_else(stack: "Project") -> None:
    """No compiler, no `.env`, no history, no tests, no cache of pip, and it isn't root's by default."""
    holds = stack.docker("run", "--rm", stack.image, "sh", "-c", "id -u; which gcc cc g++ make git; ls -A; ls -A /tmp")
    uid, *names = holds.split()
    assert uid == "1000"
    assert set(names) - {"__pycache__", "test_api.py"} == {
        "api.py", "api_checks", "artifacts", "mlruns", "promote_model.py", "requirements.txt", "tabserve",
        "train_model.py",
    }  # fmt: skip


@pytest.mark.parametrize(("command", "trees"), [([], 100), (["python", "train_model.py", "--n-estimators", "7"], 7)])
def test_the_running_api_picks_up_a_retraining(stack: "Project", command: list[str], trees: int) -> None:
    """`docker-compose run --rm train`, with options of one's own or without, gives the API a new model in seconds; its
    container isn't restarted, and the new run opens in MLflow's UI."""
    before, started = stack.model_version(), stack.state("api")["StartedAt"]
    stack.compose("run", "--rm", "-T", "train", *command)
    stack.wait_for_another_model(before)
    assert get(f"{stack.api}/model/info").json()["parameters"]["n_estimators"] == trees
    assert stack.state("api")["StartedAt"] == started
    stack.check_card(stack.run_id())


def test_the_container_keeps_the_whole_contract(stack: "Project") -> None:
    """`test_api.py`, which knows the API from outside only, finds nothing to complain about."""
    run([sys.executable, "test_api.py", "--no-server", "--url", stack.api], stack.folder, stack.environment)


def test_a_model_trained_on_the_host_is_served_by_the_container(stack: "Project") -> None:
    """Training on the host goes to the same two folders: the API in the container serves it, MLflow's UI opens its
    artifacts and still those of the runs made in containers."""
    before, run_id = stack.model_version(), stack.run_id()
    run([sys.executable, "train_model.py"], stack.folder, stack.environment)
    stack.wait_for_another_model(before)
    stack.check_card(stack.run_id())
    stack.check_card(run_id)


def test_a_model_trained_in_a_container_is_served_on_the_host(stack: "Project") -> None:
    """`python api.py` on the host serves the very model that a container trained, under another path."""
    before = stack.model_version()
    stack.compose("run", "--rm", "-T", "train")
    version = stack.wait_for_another_model(before)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running([sys.executable, "api.py", "--host", "127.0.0.1", "--port", str(port)], stack):
        wait_for("the API on the host", lambda: answers(f"{url}/readyz"))
        assert get(f"{url}/health").json()["model_version"] == version


def test_what_is_roots_is_handed_over_and_nothing_else(stack: "Project") -> None:
    """A folder that the engine or a root on the host made becomes the containers' user's before anything is trained; a
    third user's file stays theirs, and no link leads the handing over out of the two folders."""
    made = "mkdir mlruns/made artifacts/made && touch artifacts/made/theirs && ln -s /etc artifacts/made/link"
    root = ["run", "--rm", "--user", "0:0", *stack.mounts(), stack.image, "sh", "-c"]
    stack.docker(*root, f"{made} && chown {STRANGER} artifacts/made/theirs")
    try:
        stack.compose("run", "--rm", "-T", "prepare")
        made_folder = stack.folder / "artifacts/made"
        assert (stack.folder / "mlruns/made").stat().st_uid == UID
        assert made_folder.stat().st_uid == made_folder.joinpath("link").lstat().st_uid == UID
        assert made_folder.joinpath("theirs").stat().st_uid == STRANGER
    finally:
        stack.docker(*root, "rm -r mlruns/made artifacts/made")


def test_stopping_is_clean_and_starting_again_trains_nothing(stack: "Project") -> None:
    """`docker stop` ends the API with status 0, long before the engine would kill it; all services stop in seconds; the
    next `docker-compose up` serves the same model."""
    version = stack.model_version()
    assert seconds(lambda: stack.docker("stop", stack.container("api"))) < 8
    assert stack.state("api")["ExitCode"] == 0
    assert seconds(lambda: stack.compose("down")) < 16
    stack.compose("up", "-d")
    assert stack.wait_ready() == version


def test_a_first_training_that_was_killed_holds_nothing_up(stack: "Project", tmp_path: Path) -> None:
    """Killed in the middle, the first training is simply done again by the next `docker-compose up`."""
    with project(stack.tool, tmp_path / "killed in the middle", stack.image) as other:
        other.compose("up", "-d", "first-model")
        training = other.container("first-model")
        wait_for("a training that writes", lambda: list(other.folder.glob("artifacts/.*.partial")))
        other.docker("kill", training)
        assert not list(other.folder.glob("artifacts/2*"))
        other.compose("up", "-d")
        other.wait_ready()


def test_docker_run_alone_serves_and_needs_nothing_to_write(stack: "Project") -> None:
    """The image serves with `docker run` and the two folders mounted, even if neither they nor anything else can be
    written; its health check agrees, and it stops with status 0."""
    name = f"{stack.name}-alone"
    options = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--publish", "127.0.0.1::8000"]
    stack.docker("run", "--detach", "--name", name, *options, *stack.mounts(":ro"), stack.image)
    try:
        wait_for(f"{name} to be healthy", lambda: stack.inspect(name)["State"]["Health"]["Status"] == "healthy")
        port = stack.inspect(name)["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"]
        reply = predict(f"http://127.0.0.1:{port}").json()
        assert reply["model_version"] == stack.model_version()
        assert seconds(lambda: stack.docker("stop", name)) < 8
        assert stack.inspect(name)["State"]["ExitCode"] == 0
    finally:
        stack.docker("rm", "--force", name)


# -- a project of its own


@dataclass(frozen=True)
class Project:
    """A copy of the checkout with its `.env`, and the containers made from it."""

    tool: list[str]
    folder: Path
    name: str
    image: str
    api: str
    mlflow: str

    @property
    def environment(self) -> dict[str, str]:
        """This process's, without what would set the project: that is in its `.env`."""
        ours = (PREFIX, "MLFLOW_", "CONTAINER_", "COMPOSE_")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)}

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
        wait_for(f"{service} to be healthy", lambda: self.state(service)["Health"]["Status"] == "healthy")

    def wait_ready(self) -> str:
        wait_for("the API to be ready", lambda: answers(f"{self.api}/readyz"))
        return self.model_version()

    def model_version(self) -> str:
        return str(get(f"{self.api}/health").json()["model_version"])

    def wait_for_another_model(self, version: str) -> str:
        wait_for("another model", lambda: self.model_version() != version, 20)
        return self.model_version()

    def run_id(self) -> str:
        return str(get(f"{self.api}/model/info").json()["run_id"])

    def check_card(self, run_id: str) -> None:
        """MLflow's UI opens the run's model card and lists its plots."""
        card = get(f"{self.mlflow}/get-artifact", path="model_card.md", run_uuid=run_id)
        assert card.status_code == 200, card.text
        assert card.text.startswith("# iris-classifier ")
        plots = get(f"{self.mlflow}/ajax-api/2.0/mlflow/artifacts/list", run_id=run_id, path="plots")
        assert plots.json()["files"]


@pytest.fixture(scope="session")
def compose() -> list[str]:
    """The command that composes."""
    for tool in (["docker-compose"], ["docker", "compose"]):
        if works([*tool, "version"]) and works(["docker", "info"]):
            return tool
    pytest.skip("the containers were left out: no Docker engine with docker-compose answers here")


@pytest.fixture(scope="session")
def stack(compose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A fresh checkout, built and up; its image goes with it, the base image stays."""
    image = f"iris-classifier-test:{uuid.uuid4().hex[:12]}"
    try:
        with project(compose, tmp_path_factory.mktemp("containers") / "a fresh checkout", image) as fresh:
            fresh.compose("up", "--build", "-d")
            fresh.wait_ready()
            wait_for("MLflow's UI to answer", lambda: answers(f"{fresh.mlflow}/health"))
            yield fresh
    finally:
        subprocess.run(["docker", "rmi", image], check=False, capture_output=True)


@contextmanager
def project(tool: list[str], folder: Path, image: str) -> Iterator[Project]:
    """A copy of the checkout in `folder`, with ports and a name of its own; what it started is removed again."""
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    api, mlflow = free_port(), free_port()
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
    made = Project(tool, folder, name, image, f"http://127.0.0.1:{api}", f"http://127.0.0.1:{mlflow}")
    try:
        yield made
    finally:
        made.compose("down", "--volumes", "--remove-orphans")


# -- small tools


def run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What the command prints; the test fails with all it said if it fails."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout + (done.stderr if command[:2] == ["docker", "logs"] else "")


def works(command: list[str]) -> bool:
    return (
        shutil.which(command[0]) is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


@contextmanager
def running(command: list[str], stack: Project) -> Iterator[None]:
    with subprocess.Popen(command, cwd=stack.folder, env=stack.environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def wait_for(what: str, condition: Callable[[], object], limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit} s in vain for {what}"
        time.sleep(0.05)


def get(url: str, **query: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # a proxy would not find this machine's loopback
        return session.get(url, params=query, timeout=10)


def predict(url: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(f"{url}/predict", json=ROW, timeout=10)


def answers(url: str) -> bool:
    """Whether it says 200."""
    try:
        return get(url).status_code == 200
    except requests.ConnectionError:
        return False


def seconds(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
