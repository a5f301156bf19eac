"""Reads a batch, has it computed in another thread, and gives the reply: for the batch transport and the route."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tabserve.errors import OverloadedError
from tabserve.serving import BatchExecutor
from tabserve.web.body import is_json, read_body
from tabserve.web.codecs import ARROW
from tabserve.web.context import RequestContext
from tabserve.web.pipeline import ARROW_BATCH, JSON_BATCH, Pipeline
from tabserve.web.refusals import CallerGoneError, Reply, refusal

SOON = 0.05
"""A batch that takes longer than this many seconds is dropped if its caller closes the connection."""


class Batches:
    """The batches of one server. How many of them are in flight is bounded, and how many bytes their bodies have
    together."""

    def __init__(self, pipeline: Pipeline, executor: BatchExecutor, max_bytes: int, max_bytes_of_all: int) -> None:
        self._pipeline, self._executor, self._max_bytes = pipeline, executor, max_bytes
        self._free = max_bytes_of_all

    async def reply(self, context: RequestContext, request: Request) -> Reply:
        """The reply: 503 before the body is read if no more batches are taken, 499 if the caller has gone."""
        try:
            self._executor.check_capacity()
            with self._room() as take:
                body = await read_body(request, self._max_bytes, ARROW, take=take)
                return await self._computed(context, request, body)
        except (HTTPException, OverloadedError, CallerGoneError) as error:
            return refusal(error, context)

    @contextmanager
    def _room(self) -> Iterator[Callable[[int], None]]:
        """A function that takes so many bytes for a body, and raises OverloadedError if there aren't as many."""
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if count > self._free:
                raise OverloadedError("The server has no memory for another batch")
            self._free -= count
            taken += count

        try:
            yield take
        finally:
            self._free += taken

    async def _computed(self, context: RequestContext, request: Request, body: bytes) -> Reply:
        operation = JSON_BATCH if is_json(request.headers["content-type"]) else ARROW_BATCH
        reply = self._executor.submit(self._pipeline.respond, operation, context, body)
        await asyncio.wait((reply,), timeout=SOON)
        if not reply.done():
            gone = asyncio.ensure_future(request.receive())  # the body has ended, so what comes is the end
            try:
                await asyncio.wait((reply, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
            if not reply.done():
                context.is_gone = True
                reply.cancel()
                raise CallerGoneError
        return await reply
