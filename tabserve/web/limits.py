"""The place for limits on how much one caller may ask for. There are none yet."""

from tabserve.web.context import RequestContext


def limit(context: RequestContext) -> None:
    """Decides whether the caller may call now. To refuse, raise an exception that `tabserve.web.refusals`
    translates."""
