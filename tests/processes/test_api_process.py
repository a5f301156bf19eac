"""`api.py` as a process: it starts, follows the registry, survives faults, and stops."""

import json
import signal
import socket
import subprocess
import threading
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests

from tabserve import __version__
from tabserve.cli import addresses
from tests.support.client import get, health, post, served_version, status
from tests.support.models import ROW
from tests.support.project import PYTHON, ROOT
from tests.support.servers import serving
from tests.support.waiting import LIMIT, patient, until
from tests.support.workspaces import Workspace


def test_server_without_a_model_serves_the_first_one(empty_workspace: Workspace) -> None:
    """A server that starts without a model makes no folder and says what to do. It serves the first model as soon as it
    is trained."""
    with serving(empty_workspace) as (url, _):
        until(lambda: "python train_model.py" in get(f"{url}/health").text)
        response = post(f"{url}/predict", json=ROW)
        assert response.status_code == 503
        assert "python train_model.py" in response.json()["detail"]
        assert [path.name for path in empty_workspace.folder.iterdir()] == ["api.log"]
        trained = empty_workspace.train("--n-estimators", "5")
        until(lambda: served_version(url) == trained)
        assert post(f"{url}/predict", json=ROW).json()["model_version"] == trained


def test_server_of_a_file_store_loads_no_heavy_library(workspace: Workspace) -> None:
    """A server that follows a file store loads neither scikit-learn nor pandas and pyarrow, which MLflow imports."""
    with serving(workspace) as (url, process):
        until(lambda: status(f"{url}/readyz") == 200)
        loaded = Path(f"/proc/{process.pid}/maps").read_text()
        assert "numpy" in loaded
        for library in ("pandas", "pyarrow", "sklearn"):
            assert library not in loaded


def test_retraining_is_served_without_a_lost_request(workspace: Workspace) -> None:
    """While a new model is trained and swapped in, every request is answered: first by the old version, then by the new
    one."""
    replies: list[tuple[int, str]] = []
    stopped = threading.Event()

    def predict_until_stopped(url: str) -> None:
        session = requests.Session()
        session.trust_env = False
        while not stopped.is_set():
            response = session.post(f"{url}/predict", json=ROW, timeout=LIMIT)
            replies.append((response.status_code, response.json().get("model_version", "")))

    with serving(workspace) as (url, _):
        (old,) = workspace.versions()
        until(lambda: served_version(url) == old)
        thread = threading.Thread(target=predict_until_stopped, args=(url,))
        thread.start()
        try:
            new = workspace.train("--n-estimators", "5")
            until(lambda: served_version(url) == new)
            count = len(replies)
            until(lambda: len(replies) > count + 10)
        finally:
            stopped.set()
            thread.join()
    assert {code for code, _ in replies} == {200}
    versions = [model_version for _, model_version in replies]
    assert set(versions) == {old, new}
    assert versions == sorted(versions)


def test_alias_that_is_moved_by_hand_is_followed(workspace: Workspace) -> None:
    """A server follows the alias to a new version, and back to the old one when MLflow's client moves it."""
    with serving(workspace) as (url, _):
        (old,) = workspace.versions()
        new = workspace.train("--n-estimators", "5")
        until(lambda: served_version(url) == new)
        workspace.store().connect().set_registered_model_alias("iris-classifier", "champion", "1")
        until(lambda: served_version(url) == old)


def test_moved_folder_is_served(workspace: Workspace) -> None:
    """After the whole folder was renamed, its model is served: from the artifacts, and without them from the MLflow
    run."""
    (only_version,) = workspace.versions()
    moved = Workspace(workspace.folder.rename(workspace.folder.with_name("moved to here")))
    with serving(moved) as (url, _):
        until(lambda: served_version(url) == only_version)
    moved.artifacts.rename(moved.folder / "away")
    with serving(moved) as (url, _):
        until(lambda: served_version(url) == only_version)
        assert post(f"{url}/predict", json=ROW).status_code == 200


def test_predictions_go_on_while_the_store_is_unreadable(workspace: Workspace) -> None:
    """When the store can't be read, predictions go on, health is degraded, and the log isn't flooded. When the store
    can be read again, health recovers."""
    with serving(workspace) as (url, _):
        until(lambda: status(f"{url}/readyz") == 200)
        meta = workspace.folder / "mlruns" / "models" / "iris-classifier" / "version-1" / "meta.yaml"
        content = meta.read_text()
        meta.write_text("name: [")
        until(lambda: health(url)["status"] == "degraded")
        assert post(f"{url}/predict", json=ROW).status_code == 200
        meta.write_text(content)
        until(lambda: health(url)["status"] == "healthy")
    log = (workspace.folder / "api.log").read_text()
    assert log.count("keeping the model") < 5


def test_start_without_a_readable_champion_serves_the_last_one(workspace: Workspace) -> None:
    """A server that starts while the store can't be read, or while the champion's release is damaged in both places,
    serves the champion of before. Health is degraded and says why. The server takes the champion as soon as it is
    readable."""
    (old,) = workspace.versions()
    meta = workspace.folder / "mlruns" / "models" / "iris-classifier" / "version-1" / "meta.yaml"
    content = meta.read_text()
    meta.write_text("name: [")
    with serving(workspace) as (url, _):
        until(lambda: served_version(url) == old)
        assert post(f"{url}/predict", json=ROW).status_code == 200
        shown = health(url)
        assert shown["status"] == "degraded"
        assert f"{old} is served meanwhile" in shown["reason"]
        meta.write_text(content)
        until(lambda: health(url)["status"] == "healthy")
    new = workspace.train("--n-estimators", "5")
    models = {
        file: file.read_bytes()
        for file in workspace.folder.rglob("model.safetensors")
        if new in file.with_name("manifest.json").read_text()
    }
    assert len(models) == 2
    for file, model in models.items():
        file.write_bytes(model[:-1])
    with serving(workspace) as (url, _):
        until(lambda: served_version(url) == old)
        # on a slow machine the reason may first be that the registry hasn't answered
        until(lambda: "refused" in health(url)["reason"])
        for file, model in models.items():
            file.write_bytes(model)
        until(lambda: served_version(url) == new)


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_stop_answers_the_request_in_flight(workspace: Workspace, stop_signal: signal.Signals) -> None:
    """A request that has sent half its body when the signal comes is answered, and the exit status is 0."""
    with serving(workspace) as (url, process):
        until(lambda: status(f"{url}/readyz") == 200)
        body = b'{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}'
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=LIMIT) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:20])
            until(lambda: status(f"{url}/livez") == 200)  # the server has now read the first half
            process.send_signal(stop_signal)
            until(lambda: "Shutting down" in (workspace.folder / "api.log").read_text())
            connection.sendall(body[20:])
            reply = connection.makefile("rb").read()
        assert reply.startswith(b"HTTP/1.1 200")
        assert b'"label":"setosa"' in reply
        assert process.wait(patient(30)) == 0
    assert "Traceback" not in (workspace.folder / "api.log").read_text()


def test_stop_waits_a_bounded_time_for_a_stuck_client(workspace: Workspace) -> None:
    """After TABSERVE_SHUTDOWN_SECONDS the server ends with status 0, even if a client hasn't finished its request."""
    with serving(workspace, TABSERVE_SHUTDOWN_SECONDS="1") as (url, process):
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=LIMIT) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            connection.sendall(b"Content-Length: 100\r\n\r\n{")
            until(lambda: status(f"{url}/livez") == 200)
            process.terminate()
            assert process.wait(patient(30)) == 0


def test_wrong_settings_end_the_start_with_one_line(empty_workspace: Workspace) -> None:
    """A wrong setting, a wrong port, a port in use and an unknown host end the start with status 1 and one line that
    names them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        for arguments, environment, message in (
            ([], {"TABSERVE_PORT": "http"}, "TABSERVE_PORT"),
            ([], {"TABSERVE_PROT": "8000"}, "TABSERVE_PROT"),
            (["--port", "70000"], {}, "70000"),
            (["--port", port], {}, f"port {port} on 127.0.0.1 is in use"),
            (["--host", "no.such.host.invalid"], {}, "no.such.host.invalid"),
        ):
            process = empty_workspace.run("api.py", *arguments, **environment)
            assert process.returncode == 1
            (line,) = process.stderr.splitlines()
            assert line.startswith("api.py: ")
            assert message in line


def exchange(url: str, request: bytes) -> bytes:
    """All that the server sends back for these bytes until it closes the connection."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=LIMIT) as connection:
        connection.sendall(request)
        return connection.makefile("rb").read()


def test_offer_to_upgrade_is_ignored(workspace: Workspace) -> None:
    """A request that offers an upgrade to h2c, as Java's client does, is answered as HTTP/1.1, and so is the next
    one."""
    body = b'{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}'
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    with serving(workspace) as (url, _):
        until(lambda: status(f"{url}/readyz") == 200)
        replies = exchange(url, head + offer + b"\r\n" + body + head + b"Connection: close\r\n\r\n" + body)
    assert replies.count(b"HTTP/1.1 200") == replies.count(b'"label":"setosa"') == 2


def test_headers_over_the_limit_are_refused(workspace: Workspace) -> None:
    """Headers of more than 64 KiB, as one or as thousands, complete or not, get 431, and the connection is closed.
    Smaller headers are accepted, and a body may be larger."""
    request_line = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    with serving(workspace) as (url, _):
        for headers in (b"X: " + b"x" * 70_000, b"\r\n".join(b"X%d: x" % number for number in range(9000))):
            for end in (b"\r\n\r\n", b""):
                reply = exchange(url, request_line + headers + end)
                assert reply.startswith(b"HTTP/1.1 431 "), reply[:100]
                assert json.loads(reply.partition(b"\r\n\r\n")[2])["detail"]
        assert exchange(url, request_line + b"X: " + b"x" * 60_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert post(f"{url}/predict", data=b" " * 300_000).status_code == 415


def over_unix(path: Path, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Any:
    """The JSON of a reply over a unix socket; None while nobody listens there."""
    connection = HTTPConnection("localhost", timeout=LIMIT)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(path))
        connection.request(method, target, body, {"Content-Type": "application/json"} | (headers or {}))
        return json.loads(connection.getresponse().read())
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    finally:
        connection.close()


def test_server_on_a_unix_socket(workspace: Workspace, short_folder: Path) -> None:
    """`--uds` serves on a unix socket, by the fast path too, and under a prefix. A trusted proxy there says who the
    client is. A second server on it is refused in one line, and after the stop there is no socket left."""
    path = short_folder / "api.sock"
    options = ("--uds", str(path), "--root-path", "/ml/iris")
    process = workspace.start("api.py", *options, TABSERVE_TRUSTED_PROXIES="unix", TABSERVE_UDS="other.sock")
    try:
        until(lambda: (over_unix(path, "GET", "/readyz") or {}).get("status") == "ready")
        row = json.dumps(ROW).encode()
        assert over_unix(path, "POST", "/predict", row)["label"] == "setosa"
        assert over_unix(path, "POST", "/ml/iris/predict", row)["label"] == "setosa"
        assert over_unix(path, "POST", "/predict", b"{}", {"X-Forwarded-For": "198.51.100.1"})["detail"]
        second = workspace.run("api.py", *options)
        assert (second.returncode, second.stderr) == (
            1, f"api.py: {path} is in use: stop the program that listens there, or choose another --uds\n",
        )  # fmt: skip
    finally:
        process.terminate()
    output, _ = process.communicate(timeout=patient(30))
    assert process.returncode == 0, output
    assert f"listening address=unix:{path} root_path=/ml/iris" in output.replace('"', "")
    assert "client=198.51.100.1" in output
    assert not path.exists()


def test_address_on_the_command_line_overrides_a_unix_socket(workspace: Workspace) -> None:
    """With a unix socket in the settings, `--port` serves over TCP. Both on the command line are refused."""
    port = addresses.free_port("127.0.0.1")
    process = workspace.start("api.py", "--port", str(port), TABSERVE_UDS="api.sock")
    try:
        until(lambda: status(f"http://127.0.0.1:{port}/livez") == 200)
    finally:
        process.terminate()
    output, _ = process.communicate(timeout=patient(30))
    assert f"listening address=http://localhost:{port}" in output
    refused = workspace.run("api.py", "--uds", "api.sock", "--port", "8000")
    assert refused.returncode == 2
    assert "--uds can't be combined" in refused.stderr


def test_uvicorn_serves_the_application(workspace: Workspace) -> None:
    """`uvicorn api:app`, started in another folder, serves the model. With the setting for it, every line of the log is
    JSON. The first line has the version of the project, and start and model are logged once."""
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


def test_import_of_api_has_no_effect(empty_workspace: Workspace) -> None:
    """Importing `api` reads no setting, so that a wrong one does no harm, and makes no folder, application or store."""
    process = subprocess.run(
        [PYTHON, "-c", "import api; print('app' in vars(api))"],
        cwd=empty_workspace.folder,
        env=empty_workspace.environment | {"TABSERVE_PORT": "wrong", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == "False\n"
    assert not list(empty_workspace.folder.iterdir())
