"""The containers on a real engine: built from a copy of the checkout, called over HTTP, and removed again.

They need an engine that answers, with `docker-compose` or `docker compose`, and are skipped without.
"""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tabserve.cli import addresses
from tests.support.client import get, post, served_version
from tests.support.containers import HOST, UID, Project, answers, project, run, running, works
from tests.support.models import ROW
from tests.support.waiting import patient, until

pytestmark = pytest.mark.timeout(patient(1800))  # the first test that needs the image builds it

STRANGER = 12345
"""The uid of another user."""

KILLED = 137
"""The exit status of a container that the engine has killed, because it did not stop in time."""


def test_fresh_checkout_trains_and_serves(stack: Project) -> None:
    """After `docker-compose up --build` in a fresh checkout both services are healthy, the API predicts, and MLflow's
    UI shows its page and the model card of the first run."""
    stack.wait_healthy("api")
    stack.wait_healthy("mlflow")
    reply = post(f"{stack.api}/predict", json=ROW)
    assert reply.status_code == 200
    assert reply.json()["label"] == "setosa"
    assert reply.json()["model_version"] == stack.model_version()
    assert "<title>MLflow</title>" in get(stack.mlflow).text
    stack.check_card(stack.run_id())


@pytest.mark.parametrize("service", ["api", "mlflow"])
def test_container_has_no_rights_beyond_its_work(stack: Project, service: str) -> None:
    """No process in it runs as root, holds a capability or can gain one, and its root file system is read-only."""
    processes = stack.exec(service, "sh", "-c", "cat /proc/[0-9]*/status")
    assert set(re.findall(r"^Uid:\t(\d+)\t", processes, re.MULTILINE)) == {str(UID)}
    assert {int(mask, 16) for mask in re.findall(r"^Cap(?:Prm|Eff|Bnd):\t(\w+)", processes, re.MULTILINE)} == {0}
    assert set(re.findall(r"^NoNewPrivs:\t(\d)", processes, re.MULTILINE)) == {"1"}
    assert re.search(r"^\S+ / \S+ ro[, ]", stack.exec(service, "cat", "/proc/mounts"), re.MULTILINE)
    # programs can't be run from what is mounted for writing
    assert "noexec" in stack.exec(service, "grep", " /tmp ", "/proc/mounts")


def test_services_are_published_on_loopback_only(stack: Project) -> None:
    """By default no other machine reaches the two servers, because they don't authenticate callers."""
    for service in ("api", "mlflow"):
        ports = stack.inspect(stack.container(service))["NetworkSettings"]["Ports"]
        assert {binding["HostIp"] for bindings in ports.values() for binding in bindings or []} == {"127.0.0.1"}


def test_settings_in_the_env_file_reach_the_containers(stack: Project) -> None:
    """A setting in `.env` reaches the containers; here, that logs are JSON."""
    log = stack.docker("logs", stack.container("api"))
    assert {"model live"} <= {json.loads(line)["event"] for line in log.splitlines()}


def test_image_holds_what_runs_and_nothing_else(stack: Project) -> None:
    """The image has no compiler, `.env`, history, tests or cache of pip, and its default user isn't root."""
    listing = "id -u; which gcc cc g++ make git; ls -A; ls -A /tmp"
    uid, *names = stack.docker("run", "--rm", stack.image, "sh", "-c", listing).split()
    assert uid == "1000"
    assert set(names) - {"__pycache__"} == {
        "api.py", "api_checks", "artifacts", "mlruns", "promote_model.py", "requirements.txt", "tabserve",
        "test_api.py", "train_model.py",
    }  # fmt: skip


@pytest.mark.parametrize(("command", "trees"), [([], 100), (["python", "train_model.py", "--n-estimators", "7"], 7)])
def test_running_api_serves_a_retraining(stack: Project, command: list[str], trees: int) -> None:
    """`docker-compose run --rm train`, with and without options, gives the API a new model; its container isn't
    restarted, and the new run opens in MLflow's UI."""
    before, started = stack.model_version(), stack.state("api")["StartedAt"]
    stack.compose("run", "--rm", "-T", "train", *command)
    stack.wait_for_another_model(before)
    assert get(f"{stack.api}/model/info").json()["parameters"]["n_estimators"] == trees
    assert stack.state("api")["StartedAt"] == started
    stack.check_card(stack.run_id())


def test_container_keeps_the_whole_contract(stack: Project) -> None:
    """All checks of `test_api.py` pass against the container."""
    run([sys.executable, "test_api.py", "--no-server", "--url", stack.api], stack.folder, stack.environment)


def test_model_trained_on_the_host_is_served_by_the_container(stack: Project) -> None:
    """The API in the container serves a model that was trained on the host, in the same two folders, and MLflow's UI
    opens its artifacts as well as those of a run in a container."""
    before, run_id = stack.model_version(), stack.run_id()
    run([sys.executable, "train_model.py"], stack.folder, stack.environment)
    stack.wait_for_another_model(before)
    stack.check_card(stack.run_id())
    stack.check_card(run_id)


def test_model_trained_in_a_container_is_served_on_the_host(stack: Project) -> None:
    """`python api.py` on the host serves a model that a container trained, although its path there was another one."""
    before = stack.model_version()
    stack.compose("run", "--rm", "-T", "train")
    version = stack.wait_for_another_model(before)
    port = addresses.free_port(HOST)
    url = f"http://{HOST}:{port}"
    with running([sys.executable, "api.py", "--host", HOST, "--port", str(port)], stack):
        until(lambda: answers(f"{url}/readyz"))
        assert served_version(url) == version


def test_files_of_root_are_handed_over_and_no_others(stack: Project) -> None:
    """Before a training, folders that root has made in `mlruns` and `artifacts` are given to the containers' user. A
    file of another user stays theirs, and no link leads out of the two folders."""
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


def test_stop_is_clean_and_the_next_start_trains_nothing(stack: Project) -> None:
    """`docker stop` ends the API with status 0, the engine has to kill no service, and the next `docker-compose up`
    serves the same model."""
    version = stack.model_version()
    stack.docker("stop", stack.container("api"))
    assert stack.state("api")["ExitCode"] == 0
    stack.compose("stop")
    assert stack.state("mlflow")["ExitCode"] != KILLED
    stack.compose("down")
    stack.compose("up", "-d")
    assert stack.wait_ready() == version


def test_killed_first_training_is_done_again(stack: Project, tmp_path: Path) -> None:
    """After the first training was killed half way, the next `docker-compose up` trains and serves."""
    for attempt in range(5):
        with project(stack.tool, tmp_path / f"attempt {attempt}", stack.image) as other:
            other.compose("up", "-d", "first-model")
            container = other.container("first-model")
            until(partial(any_path, other.folder, "artifacts/.*.partial"))
            other.docker("kill", container)
            if any_path(other.folder, "artifacts/2*"):
                continue  # the training was faster than the kill
            other.compose("up", "-d")
            other.wait_ready()
            return
    pytest.fail("each training was faster than its kill")


def test_docker_run_serves_from_read_only_folders(stack: Project) -> None:
    """`docker run` with both folders mounted read-only serves, is healthy for the engine, and stops with status 0."""
    name = f"{stack.name}-alone"
    options = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--publish", "127.0.0.1::8000"]
    stack.docker("run", "--detach", "--name", name, *options, *stack.mounts(":ro"), stack.image)
    try:
        until(lambda: stack.inspect(name)["State"]["Health"]["Status"] == "healthy")
        port = stack.inspect(name)["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"]
        reply = post(f"http://{HOST}:{port}/predict", json=ROW).json()
        assert reply["model_version"] == stack.model_version()
        stack.docker("stop", name)
        assert stack.inspect(name)["State"]["ExitCode"] == 0
    finally:
        stack.docker("rm", "--force", name)


@pytest.fixture(scope="session")
def compose() -> list[str]:
    """The command that composes."""
    for tool in (["docker-compose"], ["docker", "compose"]):
        if works([*tool, "version"]) and works(["docker", "info"]):
            return tool
    pytest.skip("no Docker engine with docker-compose answers here: no container was started")


@pytest.fixture(scope="session")
def stack(compose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A fresh checkout that was built and is up. Its image is removed at the end; the base image stays."""
    image = f"tabserve-test:{uuid.uuid4().hex[:12]}"
    try:
        with project(compose, tmp_path_factory.mktemp("containers") / "a fresh checkout", image) as fresh:
            fresh.compose("up", "--build", "-d")
            fresh.wait_ready()
            until(lambda: answers(f"{fresh.mlflow}/health"))
            yield fresh
    finally:
        subprocess.run(["docker", "rmi", image], check=False, capture_output=True)


def any_path(folder: Path, pattern: str) -> bool:
    """Whether something in the folder matches."""
    return any(folder.glob(pattern))
