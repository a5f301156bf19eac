"""The peers: how each is installed, started and called."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.load import HOST, request
from benchmarks.peers.model import MAX_BATCH, WAIT
from benchmarks.servers import ROOT, Server
from tabserve.cli import addresses

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = ROOT / "benchmarks" / ".environments"

ENGINES = ("scikit-learn", "compiled")
"""What a peer predicts with: scikit-learn, as documented, or this project's compiled engine."""

ENGINES_LOCK, TABLES_LOCK = HERE / "engines.txt", HERE / "tables.txt"

Row = list[float]


@dataclass(frozen=True)
class Peer:
    """A peer's server.

    Attributes:
        name: in the tables.
        lock: the requirements of its environment.
        path: of the POST that predicts.
        to_body: a row → the body, before it is encoded as JSON.
        read: the parsed reply → the row's probabilities.
        commands: the environment's `bin`, an empty folder, the port, the engine, and whether to gather requests → the
            commands to run one after the other. The last one is the server.
        batching: whether it can gather requests into batches.
    """

    name: str
    lock: Path
    path: str
    to_body: Callable[[Row], Any]
    read: Callable[[Any], Row]
    commands: Callable[[Path, Path, int, str, bool], list[list[str]]]
    batching: bool = True

    def request(self, row: Row) -> bytes:
        return request(self.path, json.dumps(self.to_body(row)).encode())

    @contextmanager
    def serving(self, workspace: Path, engine: str, *, batching: bool) -> Iterator[Server]:
        """Its server with the model of the workspace (`model.joblib` and `release`), until the block ends."""
        tools = environment(self.lock) / "bin"
        folder = workspace / "peer"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        port = addresses.free_port(HOST)
        settings = {
            "PEER_WORKSPACE": str(workspace),
            "PEER_ENGINE": engine,
            "PEER_BATCHING": str(int(batching)),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "BENTOML_DO_NOT_TRACK": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        *preparations, serve = self.commands(tools, folder, port, engine, batching)
        for command in preparations:
            subprocess.run(command, env=os.environ | settings, cwd=folder, check=True, capture_output=True)
        with Server(self.name, serve, port, settings, folder).running() as server:
            yield server


def environment(lock: Path) -> Path:
    """The virtual environment with the requirements of a lock. It is installed if it is missing or of another lock."""
    folder = ENVIRONMENTS / lock.stem
    installed = folder / "made-of.txt"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        print(f"installing {lock.name} …", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(folder / "bin" / "pip"), "install", "--quiet", "--no-deps", "-r", str(lock)]
        subprocess.run(install, check=True)
        installed.write_bytes(lock.read_bytes())
    return folder


def _bentoml(tools: Path, _folder: Path, port: int, _engine: str, _batching: bool) -> list[list[str]]:
    service = "benchmarks.peers.bentoml_service:Iris"
    return [[str(tools / "bentoml"), "serve", service, "--host", HOST, "--port", str(port)]]


def _script(module: str, tools: Path, _folder: Path, port: int, _engine: str, _batching: bool) -> list[list[str]]:
    return [[str(tools / "python"), "-m", f"benchmarks.peers.{module}", str(port)]]


def _mlflow(tools: Path, folder: Path, port: int, _engine: str, _batching: bool) -> list[list[str]]:
    model = str(folder / "model")
    serve = ["models", "serve", "-m", model, "-h", HOST, "-p", str(port), "--env-manager", "local"]
    return [[str(tools / "python"), "-m", "benchmarks.peers.mlflow_save", model], [str(tools / "mlflow"), *serve]]


def _mlserver(tools: Path, folder: Path, port: int, engine: str, batching: bool) -> list[list[str]]:
    settings: dict[str, Any] = {"host": HOST, "http_port": port}
    settings |= {"grpc_port": addresses.free_port(HOST), "metrics_port": addresses.free_port(HOST)}
    model: dict[str, Any] = {"name": "iris", "implementation": "benchmarks.peers.mlserver_runtime.Compiled"}
    if engine == "scikit-learn":
        uri = str(folder.parent / "model.joblib")
        model |= {"implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": uri}}
    if batching:  # with worker processes, batching is slower than no batching
        settings["parallel_workers"] = 0
        model |= {"max_batch_size": MAX_BATCH, "max_batch_time": WAIT}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return [[str(tools / "mlserver"), "start", str(folder)]]


def _inference_request(row: Row) -> Any:
    """The row in the Open Inference Protocol."""
    tensor = {"name": "rows", "shape": [1, len(row)], "datatype": "FP64", "data": row}
    return {"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}


PEERS = [
    Peer(
        "mlflow models serve", ROOT / "requirements.txt", "/invocations",
        lambda row: {"inputs": [row]}, lambda reply: reply["predictions"][0], _mlflow, batching=False,
    ),
    Peer(
        "BentoML", HERE / "bentoml.txt", "/predict",
        lambda row: {"rows": [row]}, lambda reply: reply[0], _bentoml,
    ),
    Peer(
        "MLServer", HERE / "mlserver.txt", "/v2/models/iris/infer",
        _inference_request, lambda reply: reply["outputs"][0]["data"], _mlserver,
    ),
    Peer(
        "LitServe", HERE / "litserve.txt", "/predict",
        lambda row: {"row": row}, lambda reply: reply["probabilities"], partial(_script, "litserve_server"),
    ),
    Peer(
        "Ray Serve", HERE / "ray.txt", "/",
        lambda row: {"row": row}, lambda reply: reply, partial(_script, "ray_app"),
    ),
]  # fmt: skip
