"""What the tests share: an API of their own, started once."""

from collections.abc import Iterator

import pytest

from test_api import Api, own_server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-operation",
        action="store_true",
        help="kill trainings at each of their file operations, and not at the first and the last of each kind",
    )


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    """The real scripts as processes: a model trained in a temporary folder, served on a free port."""
    with own_server() as url:
        yield Api(url)
