"""Ray Serve: one deployment, called with Starlette's request."""

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
    async def together(self, rows: list[list[float]]) -> list[list[float]]:
        shares: list[list[float]] = self.predict_proba(np.array(rows)).tolist()
        return shares

    async def __call__(self, request: Request) -> Any:
        row = (await request.json())["row"]
        return await self.together(row) if BATCHING else self.predict_proba(np.array([row]))[0].tolist()


if __name__ == "__main__":
    # so many processors as its own processes ask for; all of them share one
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(serve.deployment(max_ongoing_requests=2 * MAX_BATCH)(Iris).bind(), blocking=True)
