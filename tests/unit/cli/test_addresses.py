"""Addresses to listen on, and the URL of a server there."""

import contextlib
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from tabserve.cli import addresses
from tests.support.waiting import LIMIT


@pytest.mark.parametrize(
    ("host", "url_host"),
    [
        ("0.0.0.0", "localhost"),
        ("127.0.0.1", "localhost"),
        ("10.0.0.1", "10.0.0.1"),
        ("::", "localhost"),
        ("::1", "[::1]"),
        ("fe80::1%eth0", "[fe80::1%eth0]"),
        ("my.host", "my.host"),
    ],
)
def test_client_url_reaches_the_server(host: str, url_host: str) -> None:
    """For every address to listen on, also that of every interface, the URL works on this machine."""
    assert addresses.client_url(host, 8000) == f"http://{url_host}:8000"


def connects(family: int, address: object) -> bool:
    with contextlib.closing(socket.socket(family)) as client:
        client.settimeout(LIMIT)
        try:
            client.connect(address)  # type: ignore[arg-type]
        except ConnectionRefusedError:
            return False
        return True


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
def test_every_address_of_ipv6_takes_ipv4_too() -> None:
    """A server on `::` is reached by IPv6 and by IPv4."""
    with addresses.listening("::", 0) as (listener,):
        port = listener.getsockname()[1]
        assert connects(socket.AF_INET, ("127.0.0.1", port))
        assert connects(socket.AF_INET6, ("::1", port))


def resolved(*entries: tuple[int, tuple[Any, ...]]) -> Any:
    """A resolver that knows these addresses for any name."""
    return lambda _host, port, **_: [
        (family, socket.SOCK_STREAM, 6, "", (address[0], port, *address[2:])) for family, address in entries
    ]


@needs_ipv6
def test_name_with_two_addresses_listens_on_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name such as localhost that has an IPv6 and an IPv4 address is listened on at both, on one port."""
    both = resolved((socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0)))
    monkeypatch.setattr(socket, "getaddrinfo", both)
    with addresses.listening("localhost", 0) as listeners:
        (port,) = {listener.getsockname()[1] for listener in listeners}
        assert [listener.family for listener in listeners] == [socket.AF_INET6, socket.AF_INET]
        assert "in use" in str(addresses.listen_problem("localhost", port))
    monkeypatch.undo()
    assert not connects(socket.AF_INET, ("127.0.0.1", port))


def test_address_that_the_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of which one address isn't this machine's is listened on at the other. With none, there is a problem."""
    lacking = (socket.AF_INET, ("203.0.113.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", resolved(lacking, (socket.AF_INET, ("127.0.0.1", 0))))
    with addresses.listening("localhost", 0) as (listener,):
        assert listener.getsockname()[0] == "127.0.0.1"
    monkeypatch.setattr(socket, "getaddrinfo", resolved(lacking))
    assert "assign requested address" in str(addresses.listen_problem("name", 0))


def test_unix_socket_is_for_every_user_and_removed_at_the_end(short_folder: Path) -> None:
    """A proxy that runs as another user may connect. At the end there is no file left; nor is that of a later server
    removed."""
    path = short_folder / "api.sock"
    with addresses.listening_on_unix(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert connects(socket.AF_UNIX, str(path))
    assert not path.exists()
    with addresses.listening_on_unix(path):
        path.rename(short_folder / "old.sock")
        path.write_text("another one's")
    assert path.read_text() == "another one's"


def test_unix_socket_of_a_killed_server_is_replaced(short_folder: Path) -> None:
    """A socket on which nobody listens is no obstacle; one in use, a file and a missing folder are, and stay."""
    path = short_folder / "api.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as killed:
        killed.bind(str(path))
    assert addresses.unix_problem(path) is None
    with addresses.listening_on_unix(path):
        assert "in use" in str(addresses.unix_problem(path))
        assert connects(socket.AF_UNIX, str(path))
    path.write_text("precious")
    assert "is no socket" in str(addresses.unix_problem(path))
    assert path.read_text() == "precious"
    assert "No such file" in str(addresses.unix_problem(short_folder / "none" / "api.sock"))
    assert "too long" in str(addresses.unix_problem(short_folder / ("x" * 200)))
