"""What proxies say about a request, and when it is believed."""

from typing import Any

import pytest

from tabserve.web.context import Headers, RequestContext
from tabserve.web.proxies import MAX_HOPS, Proxies

TRUSTED = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")
PROXY, STRANGER = "10.1.2.3", "203.0.113.9"


def address(peer: str | None, *forwarded: str, trusted: tuple[str, ...] = TRUSTED) -> str:
    """The client's address of a request from this peer, None on a unix socket, with these `X-Forwarded-For`."""
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return Proxies(trusted, "/").client_address(
        RequestContext("GET", "/", headers, peer=(peer, 1234) if peer is not None else None)
    )


def rewritten(peer: str, *headers: tuple[bytes, bytes], path: str = "/health", prefix: str = "/", **scope: Any) -> Any:
    """The scope that a GET becomes, and the path behind the prefix."""
    before = {"type": "http", "scheme": "http", "client": (peer, 1234), "path": path, "headers": [*headers], **scope}
    return before, Proxies(TRUSTED, prefix).rewrite(before, {"/health", "/predict", "/predict/batch"}.__contains__)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (STRANGER, [], STRANGER),
        (STRANGER, ["198.51.100.1"], STRANGER),  # not a proxy of ours
        (PROXY, [], PROXY),
        (PROXY, ["198.51.100.1"], "198.51.100.1"),
        (PROXY, ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),  # the client wrote the first one itself
        (PROXY, ["198.51.100.1, 192.0.2.7, 10.9.9.9"], "198.51.100.1"),  # a chain of proxies
        (PROXY, ["198.51.100.1", "192.0.2.7"], "198.51.100.1"),  # a header of each
        (PROXY, ["10.0.0.5, 10.0.0.6"], "10.0.0.5"),  # a client in the network of the proxies
        (PROXY, ["198.51.100.1:5678"], "198.51.100.1"),
        (PROXY, ["[2001:db9::1]:5678"], "2001:db9::1"),
        (PROXY, ["2001:DB9:0::1"], "2001:db9::1"),
        (PROXY, ["nonsense"], PROXY),
        (PROXY, ["198.51.100.1, nonsense, 10.0.0.5"], "10.0.0.5"),  # nothing behind what can't be read
        (PROXY, ["198.51.100.1, unknown"], PROXY),
        (PROXY, ["\xff" * 5, ""], PROXY),
        (PROXY, [",".join(["198.51.100.1", *["10.0.0.5"] * MAX_HOPS])], "10.0.0.5"),
        ("::ffff:10.1.2.3", ["198.51.100.1"], "198.51.100.1"),  # IPv4 on a socket that takes both
        ("::ffff:203.0.113.9", [], STRANGER),
        ("2001:db8::5", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("testclient", ["198.51.100.1"], "testclient"),
        (None, ["198.51.100.1"], "unix"),
    ],
)
def test_client_is_the_last_address_that_no_trusted_proxy_has(
    peer: str | None, forwarded: list[str], client: str
) -> None:
    """The client's address comes from `X-Forwarded-For` only behind a trusted proxy, and never from what a client wrote
    into it."""
    assert address(peer, *forwarded) == client


def test_nobody_is_trusted_by_default() -> None:
    """Without the setting the address is that of the connection."""
    assert address("127.0.0.1", "198.51.100.1", trusted=()) == "127.0.0.1"


def test_unix_socket_can_be_trusted() -> None:
    """With `unix` among the trusted proxies, a connection to a unix socket comes from one."""
    assert address(None, "198.51.100.1", trusted=("unix",)) == "198.51.100.1"
    assert address(None, trusted=("unix",)) == "unix"
    assert address(PROXY, "198.51.100.1", trusted=("unix",)) == PROXY


FORWARDED: Headers = [
    (b"host", b"inside:8000"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"api.example.com:8443"),
    (b"x-forwarded-prefix", b"/ml/iris/"),
]


def test_scheme_host_and_prefix_are_those_that_the_client_used() -> None:
    """Behind a trusted proxy they are the forwarded ones, and from anyone else they stay what they are."""
    scope, path = rewritten(PROXY, *FORWARDED)
    assert (scope["scheme"], scope["root_path"], scope["path"], path) == (
        "https", "/ml/iris", "/ml/iris/health", "/health",
    )  # fmt: skip
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"api.example.com:8443"]
    scope, path = rewritten(STRANGER, *FORWARDED)
    assert (scope["scheme"], scope.get("root_path"), scope["path"], path) == ("http", None, "/health", "/health")
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"inside:8000"]


@pytest.mark.parametrize(
    "line",
    [
        (b"x-forwarded-proto", b"gopher"),
        (b"x-forwarded-host", b"a b"),
        (b"x-forwarded-host", b"x/y"),
        (b"x-forwarded-host", b"x:999999"),
        (b"x-forwarded-prefix", b"//evil.example"),
        (b"x-forwarded-prefix", b"/a/../b"),
        (b"x-forwarded-prefix", b"relative"),
        (b"x-forwarded-prefix", b"/<script>"),
        (b"x-forwarded-prefix", b"/a" * 21),
        (b"x-forwarded-prefix", b"/\xc3\xa4"),
        (b"x-forwarded-prefix", b"/"),
    ],
)
def test_odd_forwarded_values_are_ignored(line: tuple[bytes, bytes]) -> None:
    """A value that isn't a scheme, a host or a plain path is ignored, also from a trusted proxy: pages show it."""
    scope, path = rewritten(PROXY, (b"host", b"inside"), line)
    assert (scope["scheme"], scope.get("root_path"), path) == ("http", None, "/health")
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"inside"]


@pytest.mark.parametrize(
    ("prefix", "received", "path"),
    [
        ("/ml/iris", "/ml/iris/health", "/health"),  # the proxy left the prefix
        ("/ml/iris", "/health", "/health"),  # the proxy removed it
        ("/ml/iris", "/ml/iris", "/"),
        ("/ml/iris", "/ml/iris/", "/"),
        ("/ml/iris", "/ml/irises/health", "/ml/irises/health"),
        ("/ml/iris", "*", "*"),
        ("/predict", "/predict", "/predict"),  # the prefix is a path of the service, too
        ("/predict", "/predict/batch", "/predict/batch"),
        ("/predict", "/predict/predict", "/predict"),
        ("/predict", "/predict/predict/batch", "/predict/batch"),
        ("/predict", "/predict/health", "/health"),
    ],
)
def test_prefix_may_be_in_the_path_or_removed(prefix: str, received: str, path: str) -> None:
    """Behind both kinds of proxy the path is the route's, and the scope has the prefix in front of it."""
    scope, found = rewritten(STRANGER, path=received, prefix=prefix)
    assert found == path
    if path != "*":
        assert (scope["root_path"], scope["path"], scope["raw_path"]) == (
            prefix,
            prefix + path,
            (prefix + path).encode(),
        )


def test_prefix_of_the_server_is_taken_once() -> None:
    """`uvicorn --root-path` puts its prefix in front of every path, also of one that has it already."""
    for received in ("/ml/iris/health", "/ml/iris/ml/iris/health"):
        scope, found = rewritten(STRANGER, path=received, root_path="/ml/iris")
        assert (scope["root_path"], scope["path"], found) == ("/ml/iris", "/ml/iris/health", "/health")
