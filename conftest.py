"""What the tests share: an API of their own, started once."""

from collections.abc import Iterator

import pytest

from api_checks.client import Api
from api_checks.own_server import own_server
from test_api import ROOT, SERVE, TRAIN


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-operation",
        action="store_true",
        help="kill, and fill the disk, at each file operation of a training, not only at the first and last of a kind",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--every-operation"):
        for item in items:
            item.add_marker(pytest.mark.timeout(7200), append=False)


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    """The real scripts as processes: a model trained in a temporary folder, served on a free port."""
    with own_server(TRAIN, SERVE, ROOT) as url:
        yield Api(url)
