"""The place for authentication. It asks nobody who they are yet."""

from tabserve.web.context import RequestContext


def authenticate(context: RequestContext) -> None:
    """Decides whether the caller may call. To refuse, raise an exception that `tabserve.web.refusals` translates."""
