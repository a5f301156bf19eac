"""What is measured: this project's server, and those that it is measured against. Each runs alone on the first core.

python -m benchmarks.servers bare 8001      the limit: uvicorn with a bare ASGI application and a constant reply
python -m benchmarks.servers plain 8001     FastAPI in the ordinary way, around this project's own engine
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
from typing import Any

from benchmarks.load import HOST, Connection, request
from tabserve.cli import addresses

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, LOAD_CORE = 0, 1

REPLY = (
    b'{"prediction":0,"prediction_proba":[1.0,0.0,0.0],"confidence":1.0,"model_version":"20241201_143022",'
    b'"timestamp":"2024-12-01T14:31:07.123456+00:00","label":"setosa",'
    b'"prediction_id":"0b5c1a6e3f9d4c7f8a2b1c3d4e5f6071","warnings":[]}'
)
"""As long as a reply of /predict."""

PROBE = request("/predict", b'{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}')


def on_core(core: int) -> None:
    """Keeps this process, and what it starts from now on, to a core."""
    os.sched_setaffinity(0, {core})


class Server:
    """A server as a process, with those that it starts."""

    def __init__(
        self, name: str, command: list[str], port: int, environment: dict[str, str], folder: Path = ROOT
    ) -> None:
        self.name, self.port = name, port
        self.started = time.perf_counter()
        # with it set, every start compiles every import again
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        own = os.sched_getaffinity(0)
        on_core(SERVER_CORE)  # what is started stays where its parent was
        with contextlib.ExitStack() as files:
            self._said = files.enter_context(tempfile.TemporaryFile())
            self._files = files.pop_all()  # closed when the server has stopped
        self.process = subprocess.Popen(
            command, cwd=folder, env=inherited | environment, stdout=self._said, stderr=self._said,
            start_new_session=True,
        )  # fmt: skip
        os.sched_setaffinity(0, own)

    def wait_until_ready(self, probe: bytes, seconds: float = 120) -> tuple[float, bytes]:
        """Seconds from its start to its first answer to the probe, and the answer."""
        deadline = time.monotonic() + seconds
        trouble: Exception | None = None
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                connection = Connection(self.port)
                reply = connection.exchange(probe)
                connection.socket.close()
                return time.perf_counter() - self.started, reply
            except (OSError, RuntimeError) as error:
                trouble = error
                time.sleep(0.01)
        self._said.seek(0)
        raise RuntimeError(f"{self.name} doesn't answer: {trouble}\n{self._said.read().decode()[-3000:]}")

    def cpu_seconds(self) -> float:
        """What its core has worked so far, for whatever process; the server's are not always one."""
        line = next(
            line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{SERVER_CORE} ")
        )
        user, nice, system, _idle, _waiting, hard, soft = map(int, line.split()[1:8])
        return (user + nice + system + hard + soft) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident megabytes of the process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Stops it, and all that it has started, at the end of the block."""
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
    """A server, until the block ends: `bare`, `plain`, or `ours`."""
    port = addresses.free_port(HOST)
    environment = store(workspace) | settings
    command = [sys.executable, "-m", "benchmarks.servers", name, str(port)]
    if name == "ours":
        command = [sys.executable, "api.py", "--port", str(port)]
    with Server(name, command, port, environment).running() as server:
        yield server


def store(workspace: Path) -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": f"file:{workspace}/mlruns", "TABSERVE_ARTIFACTS_DIR": f"{workspace}/artifacts"}


async def bare(_: Any, receive: Any, send: Any) -> None:
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(REPLY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": REPLY})


def plain() -> Any:
    """As most examples do it: a model of the body, one of the reply, a deque. The engine is this project's."""
    import uuid
    from datetime import UTC, datetime

    from fastapi import FastAPI
    from pydantic import BaseModel

    from tabserve.model.predictor import Predictor
    from tabserve.registry import open_registry
    from tabserve.settings import Settings

    registry = open_registry(Settings.load(ROOT))
    predictor = Predictor(registry.fetch(registry.champion()))
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
        shares, _ = predictor.row_outputs(
            [flower.sepal_length, flower.sepal_width, flower.petal_length, flower.petal_width]
        )
        best = max(range(len(shares)), key=shares.__getitem__)
        answer = Answer(
            prediction=best,
            prediction_proba=shares,
            confidence=shares[best],
            model_version=predictor.model_version,
            timestamp=datetime.now(UTC).isoformat(),
            label=predictor.schema.task.classes[best],
            prediction_id=uuid.uuid4().hex,
            warnings=[],
        )
        history.append((flower, answer))
        return answer

    return app


if __name__ == "__main__":
    import uvicorn

    chosen = {"bare": lambda: bare, "plain": plain}[sys.argv[1]]()
    uvicorn.run(
        chosen, host=HOST, port=int(sys.argv[2]), loop="uvloop", http="httptools", access_log=False, log_level="error",
        lifespan="off",
    )  # fmt: skip
