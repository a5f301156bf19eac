"""The limit on the requests of one client, over HTTP."""

import pytest
import requests

from tabserve.model import Release
from tests.support.client import get, post
from tests.support.models import ROW, SETTINGS
from tests.support.servers import Server
from tests.support.sources import FakeSource


def test_client_beyond_its_rate_gets_429_on_every_way(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast path, a batch and a route count together. A refusal is JSON with the time to wait. Probes get in."""
    settings = SETTINGS.model_copy(update={"rate_limit": 0.001, "rate_burst": 3})
    with Server(FakeSource(release), monkeypatch, settings).running() as server:

        def each_way() -> list[requests.Response]:
            return [
                post(f"{server.url}/predict", json=ROW),
                post(f"{server.url}/predict/batch", json={"records": [ROW]}),
                get(f"{server.url}/model/info"),
            ]

        assert [reply.status_code for reply in each_way()] == [200, 200, 200]
        for refused in each_way():
            assert refused.status_code == 429
            assert set(refused.json()) == {"detail", "request_id"}
            assert int(refused.headers["retry-after"]) > 900
            assert refused.headers["ratelimit-policy"] == '"client";q=3;w=3000'
        assert get(f"{server.url}/readyz").status_code == 200
        assert get(f"{server.url}/metrics").json()["requests"]["/predict"] == {"200": 1, "429": 1}


def test_limit_counts_the_client_that_a_trusted_proxy_names(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a trusted proxy each client has its own limit. Without trust the header changes nothing."""
    limited = {"rate_limit": 0.001, "rate_burst": 1}
    for trusted, last in ((("127.0.0.1",), 200), ((), 429)):
        settings = SETTINGS.model_copy(update=limited | {"trusted_proxies": trusted})
        with Server(FakeSource(release), monkeypatch, settings).running() as server:
            for client, status in (("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", last)):
                sent = post(f"{server.url}/predict", json=ROW, headers={"X-Forwarded-For": client})
                assert sent.status_code == status
