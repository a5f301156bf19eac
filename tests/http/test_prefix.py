"""The service under a path prefix, and behind a trusted proxy: pages, links, the fast path and the log."""

import json
import logging
import re
from urllib.parse import urljoin

import pytest

from tabserve.model import Release
from tests.support.client import get, post
from tests.support.models import ROW, SETTINGS
from tests.support.servers import Server
from tests.support.sources import FakeSource

PREFIX = "/ml/iris"
FORWARDED = {"X-Forwarded-For": "198.51.100.1", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/gateway/one"}


def serving(release: Release, monkeypatch: pytest.MonkeyPatch, **settings: object) -> Server:
    return Server(FakeSource(release), monkeypatch, settings=SETTINGS.model_copy(update=settings))


def test_every_page_is_right_under_the_prefix(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a prefix, both the paths that have it and those from which a proxy removed it lead to the routes. The
    OpenAPI document names the prefix, the redirect has it, and the page's own links are right under any."""
    with serving(release, monkeypatch, root_path=PREFIX).running() as server:
        for base in (server.url, server.url + PREFIX):
            assert get(f"{base}/openapi.json").json()["servers"] == [{"url": PREFIX}]
            assert get(f"{base}/", allow_redirects=False).headers["location"] == f"{PREFIX}/docs"
            links = re.findall(r'(?:href|src)="([^"]+)"|url: \'([^\']+)\'', get(f"{base}/docs").text)
            assert len(links) == 4
            for link in (urljoin(f"{base}/docs", one or other) for one, other in links):
                assert link.startswith(f"{base}/")
                assert get(link).status_code == 200, link
            assert post(f"{base}/predict/batch", json={"records": [ROW]}).status_code == 200
            assert post(f"{base}/predict", json=ROW).json()["label"] == "setosa"
            assert get(f"{base}/ml/iris/nothing").status_code == 404
        assert get(server.url + PREFIX, allow_redirects=False).headers["location"] == f"{PREFIX}/docs"
        assert len(server.fast_bodies) == 2
        counted = get(f"{server.url}/metrics").json()["requests"]
        assert counted["/predict"] == {"200": 2}
        assert counted["/predict/batch"] == {"200": 2}


def test_without_a_prefix_the_document_names_no_server(server: Server) -> None:
    """Without a prefix, clients call the host that they got the document from, and the redirect is relative, so that it
    is right behind a proxy that removes a prefix and doesn't say which."""
    assert "servers" not in get(f"{server.url}/openapi.json").json()
    assert get(f"{server.url}/", allow_redirects=False).headers["location"] == "docs"


@pytest.mark.parametrize("trusted", [True, False])
def test_forwarded_headers_count_from_trusted_proxies_only(
    release: Release, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trusted: bool
) -> None:
    """The prefix and the client's address in the log, by the fast path and by the route, come from a trusted proxy, and
    from nobody else."""
    proxies = ("127.0.0.0/8",) if trusted else ("10.0.0.0/8",)
    with serving(release, monkeypatch, trusted_proxies=proxies).running() as server:
        document = get(f"{server.url}/openapi.json", headers=FORWARDED).json()
        assert document.get("servers") == ([{"url": "/gateway/one"}] if trusted else None)
        with caplog.at_level(logging.WARNING, "tabserve.web"):
            for path in ("/predict", "/predict?by=route"):
                headers = FORWARDED | {"Content-Type": "application/json"}
                assert post(f"{server.url}{path}", data=json.dumps({}), headers=headers).status_code == 422
    assert len(server.fast_bodies) == 1
    clients = [vars(record)["client"] for record in caplog.records if record.getMessage() == "request"]
    assert clients == ["198.51.100.1" if trusted else "127.0.0.1"] * 2
