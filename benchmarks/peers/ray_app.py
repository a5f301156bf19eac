"""Ray Serve: one deployment that gets Starlette's request."""

import sys
from typing import Any

import numpy as np
import ray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.model import BATCHING, MAX_BATCH, WAIT, load


class Iris:
    def __init__(self) -> None:
        self.predict_proba = load()

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=WAIT)
    async def predict_batch(self, rows: list[list[float]]) -> list[list[float]]:
        probabilities: list[list[float]] = self.predict_proba(np.array(rows)).tolist()
        return probabilities

    async def __call__(self, request: Request) -> Any:
        row = (await request.json())["row"]
        return await self.predict_batch(row) if BATCHING else self.predict_proba(np.array([row]))[0].tolist()


if __name__ == "__main__":
    # Ray's own processes ask for four processors; in fact they all share one core
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(serve.deployment(max_ongoing_requests=2 * MAX_BATCH)(Iris).bind(), blocking=True)
