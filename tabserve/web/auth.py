"""The place for authentication. It asks nobody who they are yet."""

from tabserve.web.context import RequestContext


def authenticate(context: RequestContext) -> None:
    """Returns if the caller may call, else raises `HTTPException(401)` or `HTTPException(403)`.

    `Pipeline.admit` calls it for every request of every transport, before the body is read where that is possible.
    """
