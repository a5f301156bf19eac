"""Batches of rows: bytes in, bytes out, in threads of their own, so that the event loop stays free."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tabserve.inference.predict import predict_batch
from tabserve.model.schema import Schema
from tabserve.serving.service import Service
from tabserve.serving.threads import step_back
from tabserve.web.codecs import arrow_codec, json_codec

MEDIA_TYPES = (json_codec.JSON, arrow_codec.MEDIA_TYPE)
"""What a batch may come as; it is answered as what it came as."""


class Batches:
    """Answers batches in `threads` threads, until it is closed."""

    def __init__(self, service: Service, requests: Callable[[Schema], json_codec.Requests], threads: int) -> None:
        self._service, self._requests = service, requests
        self._pool = ThreadPoolExecutor(threads, "batch", initializer=step_back)

    async def answer(self, body: bytes, media_type: str, *, explain: bool = True) -> bytes:
        """The reply to a body of one of `MEDIA_TYPES`; every row of it is recorded.

        Raises:
            InvalidInputError, TooManyRowsError: as `Requests.parse_batch`, or `arrow_codec.parse_batch`.
            NoModelError: there is none.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, body, media_type, explain)

    def close(self) -> None:
        """Drops what waits for its turn."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, body: bytes, media_type: str, explain: bool) -> bytes:
        started = time.perf_counter()
        predictor = self._service.live().predictor
        requests = self._requests(predictor.schema)
        if media_type == arrow_codec.MEDIA_TYPE:
            batch = predict_batch(predictor, arrow_codec.parse_batch(body, requests), started)
            reply = arrow_codec.encode_batch(batch)
        else:
            batch = predict_batch(predictor, requests.parse_batch(body, explain=explain), started)
            reply = json_codec.encode_batch(batch)
        self._service.record(batch)  # only now: what can't be encoded must not be remembered
        return reply
