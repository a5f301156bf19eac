"""Predictions that wait until a test lets them go on."""

import threading

import pytest

from tabserve.web.context import RequestContext
from tabserve.web.pipeline import Operation, Pipeline
from tabserve.web.refusals import Reply
from tests.support.waiting import LIMIT


class Gate:
    """Holds the predictions of a server back.

    Attributes:
        open: once it is set, they are made.
        computed: how many were made.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.computed = threading.Event(), 0
        respond = Pipeline.respond

        def held(pipeline: Pipeline, operation: Operation, context: RequestContext, body: bytes) -> Reply:
            assert self.open.wait(LIMIT)
            self.computed += 1
            return respond(pipeline, operation, context, body)

        monkeypatch.setattr(Pipeline, "respond", held)
