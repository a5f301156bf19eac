"""The server of the tests of HTTP."""

from collections.abc import Iterator

import pytest

from tabserve.model import Release
from tests.support.servers import Server
from tests.support.sources import FakeSource


@pytest.fixture
def server(release: Release, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(FakeSource(release), monkeypatch).running() as server:
        yield server
