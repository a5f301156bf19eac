"""The URL of a server that listens on an address."""

import pytest

from tabserve.cli import addresses


@pytest.mark.parametrize(
    ("host", "url_host"),
    [
        ("0.0.0.0", "localhost"),
        ("127.0.0.1", "localhost"),
        ("10.0.0.1", "10.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("fe80::1%eth0", "[fe80::1%eth0]"),
        ("my.host", "my.host"),
    ],
)
def test_client_url_reaches_the_server(host: str, url_host: str) -> None:
    """For every address to listen on, also that of every interface, the URL works on this machine."""
    assert addresses.client_url(host, 8000) == f"http://{url_host}:8000"
