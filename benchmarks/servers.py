"""What is measured: this project's server, and those that it is measured against. Each runs alone on the first core.

python -m benchmarks.servers bare 8001      the limit: uvicorn with a bare ASGI application and a constant reply
python -m benchmarks.servers plain 8001     FastAPI in the ordinary way, around this project's own engine
"""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.load import HOST, Connection, request
from classifier import ports

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, LOAD_CORE = 0, 1

REPLY = (
    b'{"prediction":0,"prediction_proba":[1.0,0.0,0.0],"confidence":1.0,"model_version":"20241201_143022",'
    b'"timestamp":"2024-12-01T14:31:07.123456+00:00","label":"setosa",'
    b'"prediction_id":"0b5c1a6e3f9d4c7f8a2b1c3d4e5f6071","warnings":[]}'
)
"""As long as a reply of /predict."""

EXAMPLE = b'{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}'


def on_core(core: int) -> None:
    """Keeps this process, and what it starts from now on, to a core."""
    os.sched_setaffinity(0, {core})


class Server:
    """A server as a process."""

    def __init__(self, name: str, command: list[str], port: int, environment: dict[str, str]) -> None:
        self.name, self.port = name, port
        self.started = time.perf_counter()
        # with it set, every start compiles every import again
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        own = os.sched_getaffinity(0)
        on_core(SERVER_CORE)  # what is started stays where its parent was
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=inherited | environment,
            stderr=subprocess.PIPE,
        )
        os.sched_setaffinity(0, own)

    def wait_until_ready(self, seconds: float = 60) -> float:
        """Seconds from its start to its first prediction."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                connection = Connection(self.port)
                connection.exchange(request("/predict", EXAMPLE))
                connection.socket.close()
                return time.perf_counter() - self.started
            except (OSError, RuntimeError):
                time.sleep(0.01)
        self.process.kill()
        raise RuntimeError(f"{self.name} doesn't answer: {self.process.communicate()[1].decode()[-1000:]}")

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident megabytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def serving(name: str, workspace: Path, **settings: str) -> Iterator[Server]:
    """A server, until the block ends: `bare`, `plain`, or `ours`."""
    port = ports.free(HOST)
    environment = store(workspace) | settings
    command = [sys.executable, "-m", "benchmarks.servers", name, str(port)]
    if name == "ours":
        command = [sys.executable, "api.py", "--port", str(port)]
    server = Server(name, command, port, environment)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.communicate(timeout=30)


def store(workspace: Path) -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": f"file:{workspace}/mlruns", "CLASSIFIER_ARTIFACTS_DIR": f"{workspace}/artifacts"}


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

    from classifier.predictor import Predictor
    from classifier.settings import Settings
    from classifier.tracking import Store

    champion = Store(Settings.load())
    predictor = Predictor(champion.fetch(champion.champion()))
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
        shares = predictor.answer([flower.sepal_length, flower.sepal_width, flower.petal_length, flower.petal_width])
        best = max(range(len(shares)), key=shares.__getitem__)
        answer = Answer(
            prediction=best,
            prediction_proba=shares,
            confidence=shares[best],
            model_version=predictor.model_version,
            timestamp=datetime.now(UTC).isoformat(),
            label=predictor.schema.classes[best],
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
