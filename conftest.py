"""What all tests share: options, limits, and an API to call."""

import signal
from collections.abc import Iterator

import pytest

from api_checks.client import Api
from api_checks.own_server import own_server
from test_api import ROOT, SERVE, TRAIN
from tests.support.waiting import PATIENCE, patient

WHOLE_FAULT_TEST = 7200
"""Seconds that a test of faults may take at every operation."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-operation",
        action="store_true",
        help="kill a training, and fill its disk, at every file operation, not only at the first and last of each kind",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Scales the limit of a test before pytest-timeout reads it, and makes Ctrl-C work in the processes of tests."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for a command that a shell runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if PATIENCE != 1 and config.option.timeout is None:
        config.option.timeout = patient(float(config.getini("timeout")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--every-operation"):
        for item in items:
            item.add_marker(pytest.mark.timeout(patient(WHOLE_FAULT_TEST)), append=False)


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    """The API as a process on a free port, with a model trained in a temporary folder."""
    with own_server(TRAIN, SERVE, ROOT) as url:
        yield Api(url)
