"""The measured servers: this project's, and those that it is compared with. Each runs alone on the first core.

python -m benchmarks.servers bare 8001      the upper limit: uvicorn, a bare ASGI application and a constant reply
python -m benchmarks.servers plain 8001     an ordinary FastAPI application around this project's engine
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from benchmarks.load import HOST, Connection, request
from tabserve.cli import addresses

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, LOAD_CORE = 0, 1

REPLY = (
    b'{"prediction":0,"prediction_proba":[1.0,0.0,0.0],"confidence":1.0,"model_version":"20241201_143022",'
    b'"timestamp":"2024-12-01T14:31:07.123456+00:00","label":"setosa",'
    b'"prediction_id":"0b5c1a6e3f9d4c7f8a2b1c3d4e5f6071","warnings":[]}'
)
"""The bare server's reply, as long as a reply of `/predict`."""

PROBE = request("/predict", b'{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}')
"""A request that every server of Iris answers."""


def require_two_cores() -> None:
    """Exits where server and load can't have a core each."""
    if (os.cpu_count() or 1) < 2 or sys.platform != "linux":
        sys.exit("benchmarks: this needs Linux and two cores, one for the server and one for the load")


def on_core(core: int) -> None:
    """Pins this process, and the processes that it starts from now on, to one core."""
    os.sched_setaffinity(0, {core})


class Server:
    """A server as a process, with the processes that it starts."""

    def __init__(
        self, name: str, command: list[str], port: int, environment: dict[str, str], folder: Path = ROOT
    ) -> None:
        self.name, self.port = name, port
        self.started = time.perf_counter()
        # with this variable set, every start would compile every imported module again
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        own_cores = os.sched_getaffinity(0)
        on_core(SERVER_CORE)  # a child inherits the core of its parent
        with contextlib.ExitStack() as files:
            self._output = files.enter_context(tempfile.TemporaryFile())
            self._files = files.pop_all()  # closed when the server has stopped
        self.process = subprocess.Popen(
            command, cwd=folder, env=inherited | environment, stdout=self._output, stderr=self._output,
            start_new_session=True,
        )  # fmt: skip
        os.sched_setaffinity(0, own_cores)

    def wait_until_ready(self, probe: bytes, seconds: float = 120) -> tuple[float, bytes]:
        """Seconds from the start of the process to its first reply to the probe, and that reply.

        Raises:
            RuntimeError: there was none in time, or the process ended. The message has the end of its output.
        """
        deadline = time.monotonic() + seconds
        last_error: Exception | None = None
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                connection = Connection(self.port)
                reply = connection.exchange(probe)
                connection.socket.close()
                return time.perf_counter() - self.started, reply
            except (OSError, RuntimeError) as error:
                last_error = error
                time.sleep(0.01)
        self._output.seek(0)
        raise RuntimeError(f"{self.name} doesn't answer: {last_error}\n{self._output.read().decode()[-3000:]}")

    def cpu_seconds(self) -> float:
        """How long the server's core has been busy since boot, with any process: some servers are several processes."""
        line = next(
            line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{SERVER_CORE} ")
        )
        user, nice, system, _idle, _waiting, hard, soft = map(int, line.split()[1:8])
        return (user + nice + system + hard + soft) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident memory of the process in megabytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Stops the server, and every process that it has started, at the end of the block."""
        try:
            yield self
        finally:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self._files.close()


@contextmanager
def serving(name: str, workspace: Path, **settings: str) -> Iterator[Server]:
    """The server `bare`, `plain` or `ours`, until the block ends. `settings` are environment variables."""
    port = addresses.free_port(HOST)
    environment = store(workspace) | settings
    command = [sys.executable, "-m", "benchmarks.servers", name, str(port)]
    if name == "ours":
        command = [sys.executable, "api.py", "--port", str(port)]
    with Server(name, command, port, environment).running() as server:
        yield server


def store(workspace: Path) -> dict[str, str]:
    """The environment variables that make a script use this workspace."""
    return {"MLFLOW_TRACKING_URI": f"file:{workspace}/mlruns", "TABSERVE_ARTIFACTS_DIR": f"{workspace}/artifacts"}


def run_script(workspace: Path, script: str, *options: str) -> None:
    """Runs one of the project's scripts on a workspace."""
    command = [sys.executable, str(ROOT / script), *options]
    subprocess.run(command, env=os.environ | store(workspace), check=True, capture_output=True)


def train(workspace: Path, *options: str) -> None:
    run_script(workspace, "train_model.py", *options)


async def bare(_: Any, receive: Any, send: Any) -> None:
    """The bare ASGI application."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(REPLY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": REPLY})


def plain() -> Any:
    """The application that most examples show: a pydantic model for the body, one for the reply, and a deque as the
    history. The engine is this project's."""
    import uuid
    from datetime import UTC, datetime

    from fastapi import FastAPI
    from pydantic import BaseModel

    from tabserve.model import Classification, Predictor
    from tabserve.registry import open_registry
    from tabserve.settings import Settings

    registry = open_registry(Settings.load(ROOT))
    predictor = Predictor(registry.fetch(registry.champion()))
    classes = cast("Classification", predictor.schema.task).classes
    history: deque[Any] = deque(maxlen=1000)

    class Flower(BaseModel):
        sepal_length: float
        sepal_width: float
        petal_length: float
        petal_width: float

    class Answer(BaseModel):
        prediction: int
        prediction_proba: list[float]
        confidence: float
        model_version: str
        timestamp: str
        label: str
        prediction_id: str
        warnings: list[str]

    app = FastAPI()

    @app.post("/predict")
    async def predict(flower: Flower) -> Answer:
        probabilities, _ = predictor.row_outputs(
            [flower.sepal_length, flower.sepal_width, flower.petal_length, flower.petal_width]
        )
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        answer = Answer(
            prediction=best,
            prediction_proba=probabilities,
            confidence=probabilities[best],
            model_version=predictor.model_version,
            timestamp=datetime.now(UTC).isoformat(),
            label=classes[best],
            prediction_id=uuid.uuid4().hex,
            warnings=[],
        )
        history.append((flower, answer))
        return answer

    return app


if __name__ == "__main__":
    import uvicorn

    application = {"bare": lambda: bare, "plain": plain}[sys.argv[1]]()
    uvicorn.run(
        application, host=HOST, port=int(sys.argv[2]), loop="uvloop", http="httptools", access_log=False,
        log_level="error", lifespan="off",
    )  # fmt: skip
