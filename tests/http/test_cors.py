"""CORS: which web pages a browser lets call the service."""

from typing import Any

import pytest
import requests

from tabserve.model import Release
from tabserve.web.cors import Cors
from tests.support.client import get, post, request
from tests.support.models import ROW, SETTINGS
from tests.support.servers import Server
from tests.support.sources import FakeSource

PAGE, OTHER = "https://app.example.com", "https://elsewhere.example.com"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type, x-api-key",
}


def cors_headers(reply: requests.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in reply.headers.items() if name.lower().startswith("access-control-")}


def replies(url: str, origin: str) -> list[requests.Response]:
    """By the fast path, by the route, refused, as a batch, and of a read route."""
    options: dict[str, Any] = {"headers": {"Origin": origin}}
    return [
        post(f"{url}/predict", json=ROW, **options),
        post(f"{url}/predict?by=route", json=ROW, **options),
        post(f"{url}/predict", json={}, **options),
        post(f"{url}/predict/batch", json={"records": [ROW]}, **options),
        get(f"{url}/health", **options),
        get(f"{url}/nothing", **options),
    ]


def serving(release: Release, monkeypatch: pytest.MonkeyPatch, *origins: str) -> Server:
    settings = SETTINGS.model_copy(update={"cors_origins": origins})
    return Server(FakeSource(release), monkeypatch, settings=settings)


def test_no_page_may_call_unless_origins_are_set(server: Server) -> None:
    """By default no reply has a header of CORS, and a preflight gets none."""
    assert not any(cors_headers(reply) or "vary" in reply.headers for reply in replies(server.url, PAGE))
    assert not cors_headers(request("OPTIONS", f"{server.url}/predict", headers=PREFLIGHT | {"Origin": PAGE}))


def test_pages_of_the_set_origins_may_call(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preflight of a page of a set origin is answered with 204, the methods and the headers that it asked for. Each
    reply, by the fast path too, names the origin, and tells caches that it depends on it. No other origin is named."""
    with serving(release, monkeypatch, "http://localhost:3000", PAGE).running() as server:
        preflight = request("OPTIONS", f"{server.url}/predict", headers=PREFLIGHT | {"Origin": PAGE})
        assert preflight.status_code == 204
        said = cors_headers(preflight)
        assert said["access-control-allow-origin"] == PAGE
        assert "POST" in said["access-control-allow-methods"]
        assert said["access-control-allow-headers"] == "content-type, x-api-key"
        assert said["access-control-max-age"] == "600"
        for reply in replies(server.url, PAGE):
            assert cors_headers(reply) == {
                "access-control-allow-origin": PAGE, "access-control-expose-headers": "*",
            }  # fmt: skip
            assert reply.headers["vary"] == "Origin"
        for reply in replies(server.url, OTHER):
            assert not cors_headers(reply)
            assert reply.headers["vary"] == "Origin"
        assert len(server.fast_bodies) == 4
        # the same connection and head again: the reply of a known head has the headers, too
        with requests.Session() as session:
            for _ in range(2):
                reply = session.post(f"{server.url}/predict", json=ROW, headers={"Origin": PAGE})
                assert reply.headers["access-control-allow-origin"] == PAGE


def test_any_page_may_call_if_the_setting_says_so(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """`*` lets every page call, also one without an origin of its own, and never with credentials."""
    with serving(release, monkeypatch, "*").running() as server:
        for origin in (PAGE, "null"):
            for reply in replies(server.url, origin):
                assert cors_headers(reply) == {
                    "access-control-allow-origin": "*", "access-control-expose-headers": "*",
                }  # fmt: skip


@pytest.mark.parametrize("names", [b"x\r\nSet-Cookie: a", b"a" * 1001, b""])
def test_odd_names_of_headers_are_not_repeated(names: bytes) -> None:
    """A preflight that asks for headers with odd or endless names gets none of them back."""
    asked = [(b"origin", b"x"), (b"access-control-request-method", b"POST"), (b"access-control-request-headers", names)]
    said = Cors(["*"]).preflight("OPTIONS", asked)
    assert said is not None
    assert b"access-control-allow-headers" not in dict(said)
