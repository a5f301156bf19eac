"""api.py as a process: ready, following, stopping, and refusing to start wrongly."""

import json
import signal
import socket
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest
import requests

from tabserve import __version__
from tabserve.cli import addresses
from tests.support.models import ROW
from tests.support.project import PYTHON, ROOT
from tests.support.servers import serving, version
from tests.support.waiting import status, until
from tests.support.workspaces import Workspace


def test_the_first_training_makes_it_healthy(empty_workspace: Workspace) -> None:
    """Started with no model it makes no folder, says what to do, and serves the first one by itself."""
    with serving(empty_workspace) as (url, _):
        until(lambda: "python train_model.py" in requests.get(f"{url}/health", timeout=10).text)
        response = requests.post(f"{url}/predict", json=ROW, timeout=10)
        assert response.status_code == 503
        assert "python train_model.py" in response.json()["detail"]
        assert [path.name for path in empty_workspace.folder.iterdir()] == ["api.log"]
        trained = empty_workspace.train("--n-estimators", "5")
        until(lambda: version(url) == trained)
        assert requests.post(f"{url}/predict", json=ROW, timeout=10).json()["model_version"] == trained


def test_a_server_on_a_folder_stays_small(workspace: Workspace) -> None:
    """A server that follows a file store loads neither MLflow nor pandas nor scikit-learn."""
    with serving(workspace) as (url, process):
        until(lambda: status(f"{url}/readyz") == 200)
        loaded = Path(f"/proc/{process.pid}/maps").read_text()
        assert "numpy" in loaded
        for library in ("pandas", "pyarrow", "sklearn"):
            assert library not in loaded


def test_a_retraining_is_served_without_a_lost_request(workspace: Workspace) -> None:
    """While a new model is trained and swapped in, every request is answered, by the old version and then the new."""
    answers: list[tuple[int, str]] = []
    stopped = threading.Event()

    def load(url: str) -> None:
        session = requests.Session()
        while not stopped.is_set():
            response = session.post(f"{url}/predict", json=ROW, timeout=10)
            answers.append((response.status_code, response.json().get("model_version", "")))

    with serving(workspace) as (url, _):
        (old,) = workspace.versions()
        until(lambda: version(url) == old)
        thread = threading.Thread(target=load, args=(url,))
        thread.start()
        try:
            new = workspace.train("--n-estimators", "5")
            until(lambda: version(url) == new)
            seen = len(answers)
            until(lambda: len(answers) > seen + 10)
        finally:
            stopped.set()
            thread.join()
    assert {code for code, _ in answers} == {200}
    versions = [found for _, found in answers]
    assert set(versions) == {old, new}
    assert versions == sorted(versions)


def test_an_alias_moved_by_hand_is_a_deployment(workspace: Workspace) -> None:
    """Giving the alias to another version with MLflow's own means is followed, back and forth."""
    with serving(workspace) as (url, _):
        (old,) = workspace.versions()
        new = workspace.train("--n-estimators", "5")
        until(lambda: version(url) == new)
        workspace.store().connect().set_registered_model_alias("iris-classifier", "champion", "1")
        until(lambda: version(url) == old)


def test_a_folder_that_moved_keeps_serving(workspace: Workspace) -> None:
    """After the folder was renamed the model is served, from artifacts and, without them, from the MLflow run."""
    (only,) = workspace.versions()
    moved = Workspace(workspace.folder.rename(workspace.folder.with_name("moved to here")))
    with serving(moved) as (url, _):
        until(lambda: version(url) == only)
    moved.artifacts.rename(moved.folder / "away")
    with serving(moved) as (url, _):
        until(lambda: version(url) == only)
        assert requests.post(f"{url}/predict", json=ROW, timeout=10).status_code == 200


def test_a_store_that_breaks_does_not_stop_serving(workspace: Workspace) -> None:
    """When the store is taken away while serving, predictions go on and health says degraded; it recovers by itself."""
    with serving(workspace) as (url, _):
        until(lambda: status(f"{url}/readyz") == 200)
        meta = workspace.folder / "mlruns" / "models" / "iris-classifier" / "version-1" / "meta.yaml"
        content = meta.read_text()
        meta.write_text("name: [")
        until(lambda: requests.get(f"{url}/health", timeout=10).json()["status"] == "degraded")
        assert requests.post(f"{url}/predict", json=ROW, timeout=10).status_code == 200
        meta.write_text(content)
        until(lambda: requests.get(f"{url}/health", timeout=10).json()["status"] == "healthy")
    log = (workspace.folder / "api.log").read_text()
    assert log.count("keeping the model") < 5


def test_a_start_without_the_store_serves_what_was_live(workspace: Workspace) -> None:
    """Started while the store can't be read, or while the champion's release is damaged in both places, it serves what
    was live before, and health says degraded and why; it takes the champion once that is whole."""
    (old,) = workspace.versions()
    meta = workspace.folder / "mlruns" / "models" / "iris-classifier" / "version-1" / "meta.yaml"
    content = meta.read_text()
    meta.write_text("name: [")
    with serving(workspace) as (url, _):
        until(lambda: version(url) == old)
        assert requests.post(f"{url}/predict", json=ROW, timeout=10).status_code == 200
        health = requests.get(f"{url}/health", timeout=10).json()
        assert health["status"] == "degraded"
        assert f"{old} is served meanwhile" in health["reason"]
        meta.write_text(content)
        until(lambda: requests.get(f"{url}/health", timeout=10).json()["status"] == "healthy")
    new = workspace.train("--n-estimators", "5")
    whole = {file: file.read_bytes() for file in workspace.folder.rglob("model.safetensors") if new in manifest(file)}
    assert len(whole) == 2
    for file, data in whole.items():
        file.write_bytes(data[:-1])
    with serving(workspace) as (url, _):
        until(lambda: version(url) == old)
        # on a slow machine it may lose patience with the registry first
        until(lambda: "refused" in requests.get(f"{url}/health", timeout=10).json()["reason"])
        for file, data in whole.items():
            file.write_bytes(data)
        until(lambda: version(url) == new)


def manifest(forest: Path) -> str:
    return forest.with_name("manifest.json").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_is_in_flight(workspace: Workspace, number: signal.Signals) -> None:
    """A request whose body is half sent when the signal comes is answered, and then the status is 0."""
    with serving(workspace) as (url, process):
        until(lambda: status(f"{url}/readyz") == 200)
        body = b'{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}'
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:20])
            until(lambda: status(f"{url}/livez") == 200)  # the first half has been read by now
            process.send_signal(number)
            until(lambda: "Shutting down" in (workspace.folder / "api.log").read_text())
            connection.sendall(body[20:])
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"label":"setosa"' in answer
        assert process.wait(30) == 0
    assert "Traceback" not in (workspace.folder / "api.log").read_text()


def test_a_stuck_client_does_not_hold_up_the_stop_for_ever(workspace: Workspace) -> None:
    """A client that never finishes its request is left behind after TABSERVE_SHUTDOWN_SECONDS; the status is 0."""
    with serving(workspace, TABSERVE_SHUTDOWN_SECONDS="1") as (url, process):
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            connection.sendall(b"Content-Length: 100\r\n\r\n{")
            until(lambda: status(f"{url}/livez") == 200)
            process.terminate()
            assert process.wait(30) == 0


def test_wrong_settings_stop_the_start_in_one_line(empty_workspace: Workspace) -> None:
    """A wrong setting, a wrong port and a port in use end the start with one line that names them, and a status."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, environment, said in (
            ([], {"TABSERVE_PORT": "http"}, "TABSERVE_PORT"),
            ([], {"TABSERVE_PROT": "8000"}, "TABSERVE_PROT"),
            (["--port", "70000"], {}, "70000"),
            (["--port", port], {}, f"port {port} on 127.0.0.1 is in use"),
            (["--host", "no.such.host.invalid"], {}, "no.such.host.invalid"),
        ):
            done = empty_workspace.run("api.py", *arguments, **environment)
            assert done.returncode == 1
            (line,) = done.stderr.splitlines()
            assert line.startswith("api.py: ")
            assert said in line


def raw(url: str, request: bytes) -> bytes:
    """What comes back for these bytes until the connection is closed."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request)
        return connection.makefile("rb").read()


def test_an_offer_to_upgrade_is_ignored(workspace: Workspace) -> None:
    """A request that offers h2c, as Java's client does, is answered as HTTP/1.1, and so is the next one."""
    body = b'{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}'
    plain = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    with serving(workspace) as (url, _):
        until(lambda: status(f"{url}/readyz") == 200)
        answer = raw(url, plain + offer + b"\r\n" + body + plain + b"Connection: close\r\n\r\n" + body)
    assert answer.count(b"HTTP/1.1 200") == answer.count(b'"label":"setosa"') == 2


def test_headers_are_bounded(workspace: Workspace) -> None:
    """Headers over 64 KiB, in one or in thousands, complete or without end, get 431 and the connection is closed; the
    same size as a body, and headers below it, are no matter."""
    start = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    with serving(workspace) as (url, _):
        for headers in (b"X: " + b"x" * 70_000, b"\r\n".join(b"X%d: x" % number for number in range(9000))):
            for end in (b"\r\n\r\n", b""):
                answer = raw(url, start + headers + end)
                assert answer.startswith(b"HTTP/1.1 431 "), answer[:100]
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]
        assert raw(url, start + b"X: " + b"x" * 60_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert requests.post(f"{url}/predict", data=b" " * 300_000, timeout=10).status_code == 415


def test_uvicorn_serves_it_too(workspace: Workspace) -> None:
    """`uvicorn api:app` from another folder serves the model, and logs JSON lines by a setting."""
    port = addresses.free_port("127.0.0.1")
    command = [PYTHON, "-m", "uvicorn", "--app-dir", str(ROOT), "api:app", "--port", str(port)]
    environment = workspace.environment | {"TABSERVE_LOG_FORMAT": "json"}
    with subprocess.Popen(
        command, cwd=workspace.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            until(lambda: status(f"http://127.0.0.1:{port}/readyz") == 200)
        finally:
            process.terminate()
        assert process.stdout is not None
        lines = [json.loads(line) for line in process.stdout]
    assert lines[0]["event"] == "starting"
    assert lines[0]["tabserve"] == __version__
    assert {"starting": 1, "model live": 1}.items() <= Counter(line["event"] for line in lines).items()


def test_importing_api_does_nothing(empty_workspace: Workspace) -> None:
    """Importing api reads no setting, makes no folder and opens no store, even where a setting is wrong."""
    done = subprocess.run(
        [PYTHON, "-c", "import api; print('app' in vars(api))"],
        cwd=empty_workspace.folder,
        env=empty_workspace.environment | {"TABSERVE_PORT": "wrong", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
    assert not list(empty_workspace.folder.iterdir())
