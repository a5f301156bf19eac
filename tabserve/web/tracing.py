"""The place for traces. Nothing is traced yet."""

from tabserve.web.context import RequestContext


def trace(context: RequestContext, route: str, status: int, seconds: float) -> None:
    """Called once per request, after its reply."""
