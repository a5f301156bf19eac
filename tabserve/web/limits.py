"""The place for limits on how much one caller may ask for. There are none yet."""

from tabserve.web.context import RequestContext


def limit(context: RequestContext) -> None:
    """Returns if the caller may call now, else raises `HTTPException(429)`.

    `Pipeline.admit` calls it after `authenticate`.
    """
