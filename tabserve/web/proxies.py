"""What proxies in front of the service say about a request: the client's address, scheme, host, and the path prefix.

Anyone can send `X-Forwarded-…`, so these headers count only in requests whose connection comes from a trusted proxy. A
proxy that is trusted has to set them, or remove what its own callers send. `Forwarded` (RFC 7239) isn't read.
"""

import ipaddress
import re
from collections.abc import Callable, Collection
from functools import lru_cache
from urllib.parse import quote

from starlette.types import Scope

from tabserve.settings import PATH_PREFIX, UNIX
from tabserve.web.context import Headers, RequestContext, header

MAX_HOPS = 32
"""How many addresses of `X-Forwarded-For` are read, the last ones. The others are those of no proxy of ours."""

_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PORT = re.compile(r"\[(.*)\](?::\d+)?|([^:]*):\d+")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxies:
    """The trusted proxies of one application, and its path prefix. Thread-safe."""

    def __init__(self, trusted: Collection[str], prefix: str) -> None:
        """`trusted`: addresses, networks, and `UNIX` for whoever connects to a unix socket. `prefix`: what the paths of
        all requests begin with, unless a trusted proxy says otherwise."""
        self._networks = tuple(ipaddress.ip_network(one) for one in trusted if one != UNIX)
        self._trusts_unix = UNIX in trusted
        self.prefix = prefix.rstrip("/")
        self._is_trusted_peer = lru_cache(maxsize=1024)(self._is_trusted_text)

    def client_address(self, context: RequestContext) -> str:
        """The address of the client that sent a request, for the log and for limits: that of the connection, or if it
        is a trusted proxy's, the last address in `X-Forwarded-For` that isn't one's. `unix` for a client on a unix
        socket. What can't be read ends the search, so a client can't choose the address that it is known by."""
        client = context.peer[0] if context.peer else UNIX
        if not self._trusts(client):
            return client if client == UNIX else _normal(client)
        values = [value for name, value in context.headers if name == b"x-forwarded-for"]
        hops = b",".join(values).decode("latin-1").split(",")[-MAX_HOPS:]
        for hop in reversed(hops):
            address = _address(hop)
            if address is None:
                break
            client = str(address)
            if not self._holds(address):
                break
        return client if client == UNIX else _normal(client)

    def rewrite(self, scope: Scope, is_route: Callable[[str], bool]) -> str:
        """Sets scheme, host and path prefix (`root_path`) of an ASGI scope to what the client used, and returns the
        path behind the prefix.

        The proxy may have removed the prefix from the path or not. A path that `is_route` knows as it is has none.
        """
        prefix = self.prefix
        peer = scope.get("client")
        if self._trusts(peer[0] if peer else UNIX):
            headers: Headers = scope["headers"]
            scheme, host = header(headers, b"x-forwarded-proto").lower(), header(headers, b"x-forwarded-host")
            if scheme in (b"http", b"https"):
                scope["scheme"] = scheme.decode()
            if _HOST.fullmatch(host):
                scope["headers"] = [*(line for line in headers if line[0] != b"host"), (b"host", host)]
            said = header(headers, b"x-forwarded-prefix").decode("latin-1").rstrip("/")
            if said and PATH_PREFIX.fullmatch(said):
                prefix = said
        path: str = scope["path"]
        set_by_server: str = scope.get("root_path", "").rstrip("/")  # `uvicorn --root-path`, which puts it in front
        if set_by_server:
            path = path.removeprefix(set_by_server)
            prefix = prefix or set_by_server
        if not prefix or path == "*":
            return path
        if (path == prefix or path.startswith(f"{prefix}/")) and not is_route(path):
            path = path[len(prefix) :] or "/"
        scope["root_path"], scope["path"] = prefix, prefix + path
        scope["raw_path"] = quote(scope["path"]).encode()
        return path

    def _trusts(self, peer: str) -> bool:
        """Whether this is the other end of a connection from a trusted proxy."""
        if peer == UNIX:
            return self._trusts_unix
        return bool(self._networks) and self._is_trusted_peer(peer)

    def _is_trusted_text(self, peer: str) -> bool:
        address = _address(peer)
        return address is not None and self._holds(address)

    def _holds(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """The address in a text, which may have a port; None if it isn't one. IPv4 within IPv6 is IPv4."""
    text = text.strip()
    found = _PORT.fullmatch(text)
    if found:
        text = found[1] or found[2]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def _normal(client: str) -> str:
    return str(_address(client) or client)
