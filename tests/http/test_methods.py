"""`HEAD`, `OPTIONS` and `Allow`: what gateways and health checks ask of every route."""

import re
from collections.abc import Iterator

import pytest
import requests
from starlette.testclient import TestClient

from tabserve.model import Release
from tabserve.web import create_app
from tests.support.models import SETTINGS
from tests.support.servers import Server
from tests.support.sources import FakeSource
from tests.support.waiting import LIMIT, until

READ = ("/", "/health", "/livez", "/readyz", "/metrics", "/metrics/prometheus", "/predictions/history", "/model/info",
        "/docs", "/openapi.json", "/docs/assets/swagger-ui.css")  # fmt: skip
CALLED = ("/predict", "/predict/batch")
VARYING = {"date", "x-request-id", "content-length"}
"""Headers that differ between two replies. So does the length where a reply has a time."""


@pytest.fixture
def client(release: Release) -> Iterator[TestClient]:
    with TestClient(create_app(SETTINGS, FakeSource(release))) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield client


def test_lists_hold_every_route() -> None:
    """The routes of these tests are all that the application has."""
    assert set(create_app(SETTINGS, FakeSource()).openapi()["paths"]) <= {*READ, *CALLED}


@pytest.mark.parametrize("path", READ)
def test_head_is_get_without_the_body(server: Server, path: str) -> None:
    """HEAD has the status and the headers of GET, and no body, so that the next request on the connection is read."""
    with requests.Session() as session:
        session.trust_env = False
        get, head, again = (
            session.request(method, server.url + path, timeout=LIMIT, allow_redirects=False)
            for method in ("GET", "HEAD", "GET")
        )
    assert head.content == b""
    assert head.status_code == get.status_code == again.status_code
    assert {*head.headers} == {*get.headers}
    assert {k: v for k, v in head.headers.items() if k.lower() not in VARYING} == {
        k: v for k, v in get.headers.items() if k.lower() not in VARYING
    }
    assert head.headers["content-length"].isdecimal()


def test_head_is_counted_by_its_route(client: TestClient) -> None:
    """A HEAD is in the counters under its own name and the route's."""
    client.head("/livez")
    assert re.search(
        r'http_requests_total\{[^}]*method="HEAD"[^}]*route="/livez"[^}]*\} 1', client.get("/metrics/prometheus").text
    )


@pytest.mark.parametrize(
    ("path", "allowed"),
    [*((path, "GET, HEAD, OPTIONS") for path in READ), *((path, "POST, OPTIONS") for path in CALLED)],
)
def test_options_and_refused_methods_name_the_allowed_ones(client: TestClient, path: str, allowed: str) -> None:
    """OPTIONS gives 204 without a body, another method 405, and both name in Allow what the route takes."""
    reply = client.options(path)
    assert (reply.status_code, reply.content, reply.headers["allow"]) == (204, b"", allowed)
    assert "content-length" not in reply.headers
    others = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - {*allowed.split(", ")}
    for method in others:
        refused = client.request(method, path)
        assert (refused.status_code, refused.headers.get_list("allow")) == (405, [allowed]), method
        assert refused.content == b"" if method == "HEAD" else refused.json()["detail"] == "Method Not Allowed"


def test_options_of_the_server_and_of_no_route(server: Server) -> None:
    """`OPTIONS *`, also in HTTP/1.0 as HAProxy sends its checks, names the methods of the server. A path that leads
    nowhere gives 404."""
    for target, version, status in ((b"*", b"1.1", b"204"), (b"/", b"1.0", b"204"), (b"/nothing", b"1.1", b"404")):
        reply = server.send(b"OPTIONS %b HTTP/%b\r\nHost: x\r\nConnection: close\r\n\r\n" % (target, version))
        assert reply.split(b" ")[1] == status, target
        assert (b"\r\nallow: GET, HEAD" in reply) == (status == b"204")
