"""LitServe: one API that takes a row."""

import sys
from typing import Any

import litserve
import numpy as np
from typing_extensions import override

from benchmarks.peers.model import BATCHING, MAX_BATCH, WAIT, load


class Iris(litserve.LitAPI):
    @override
    def setup(self, device: str) -> None:
        self.predict_proba = load()

    def decode_request(self, request: dict[str, list[float]]) -> list[float]:
        return request["row"]

    def predict(self, row_or_rows: Any) -> Any:
        return self.predict_proba(np.array(row_or_rows if BATCHING else [row_or_rows]))

    def unbatch(self, output: Any) -> list[Any]:
        return list(output)

    def encode_response(self, output: Any) -> dict[str, list[float]]:
        return {"probabilities": output.tolist() if BATCHING else output[0].tolist()}


if __name__ == "__main__":
    api = Iris(max_batch_size=MAX_BATCH, batch_timeout=WAIT) if BATCHING else Iris()
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
