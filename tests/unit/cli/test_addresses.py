"""How a server is reached that listens on an address."""

import pytest

from tabserve.cli import addresses


@pytest.mark.parametrize(
    ("host", "reached"),
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
def test_an_address_can_be_called(host: str, reached: str) -> None:
    """For any address to listen on, every interface too, what is printed is a URL that works on this machine."""
    assert addresses.url(host, 8000) == f"http://{reached}:8000"
