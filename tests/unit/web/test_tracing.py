"""A caller's trace, as W3C Trace Context has it in the header `traceparent`, in the log."""

import logging

import pytest

from tabserve.model import Release
from tabserve.web.context import RequestContext
from tabserve.web.fast_path import PATH
from tabserve.web.pipeline import ONE_ROW, Pipeline
from tabserve.web.tracing import trace_fields
from tests.support.models import SETTINGS
from tests.support.sources import FakeSource, service_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"


def context(traceparent: str) -> RequestContext:
    return RequestContext("POST", PATH, [(b"traceparent", traceparent.encode())])


@pytest.mark.parametrize("sent", [VALID, f" {VALID}", VALID[:-1] + "0", f"01-{VALID[3:]}", f"01-{VALID[3:]}-more"])
def test_trace_of_the_caller_is_read(sent: str) -> None:
    """Also that of a later version, which may have more at its end."""
    assert trace_fields(context(sent)) == {"trace_id": TRACE, "parent_id": PARENT}


@pytest.mark.parametrize(
    "sent",
    [
        "", "00", VALID.upper(), f"{VALID}-more", f"ff-{VALID[3:]}", f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE[1:]}-{PARENT}-01", f'00-{TRACE}-{PARENT}-01" level="x', "ä" * 55,
    ],
)  # fmt: skip
def test_trace_that_is_not_valid_is_ignored(sent: str) -> None:
    """Nothing of it is logged: it could be anything."""
    assert trace_fields(context(sent)) == {}


def test_lines_of_a_request_name_its_trace(release: Release, caplog: pytest.LogCaptureFixture) -> None:
    """The line of a failed request, and the one with a traceback, can be found by the caller's trace."""
    service, metrics = service_of(FakeSource(release))
    service.poll()
    pipeline = Pipeline(service, metrics, SETTINGS)
    request = context(VALID)
    broken = ONE_ROW._replace(encode=lambda _: 1 // 0)  # type: ignore[arg-type, return-value]
    row = b'{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}'
    reply = pipeline.respond(broken, request, row)
    pipeline.finish(request, PATH, reply.status)
    lines = {record.getMessage(): vars(record) for record in caplog.records if record.levelno >= logging.WARNING}
    assert set(lines) == {"internal error", "request"}
    for fields in lines.values():
        assert (fields["trace_id"], fields["parent_id"], fields["request_id"]) == (TRACE, PARENT, request.request_id)
