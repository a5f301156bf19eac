"""The place for traces. Nothing is traced yet; a caller's trace is in the log.

Knows the header `traceparent` of W3C Trace Context (https://www.w3.org/TR/trace-context/), level 1.
"""

import re

from tabserve.web.context import RequestContext, header

TRACEPARENT = b"traceparent"

_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def trace(context: RequestContext, route: str, status: int, seconds: float) -> None:
    """Called once per request, after its reply."""


def trace_fields(context: RequestContext) -> dict[str, str]:
    """For the log: `trace_id` and `parent_id` of the caller's trace; empty if it sends none, or none that is valid."""
    found = _FORM.fullmatch(header(context.headers, TRACEPARENT).strip())
    if not found:
        return {}
    version, trace_id, parent_id, more = found.groups()
    # zeros mean that there is none; a later version than 00 may have more at its end, and ff is no version
    if not (trace_id.strip(b"0") and parent_id.strip(b"0")) or version == b"ff" or (version == b"00" and more):
        return {}
    return {"trace_id": trace_id.decode(), "parent_id": parent_id.decode()}
