"""Addresses to listen on: is one free, and which URL reaches it? Standard library only."""

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""The machine has no address of this family: a name like `localhost` may have one all the same."""

MODE = 0o666
"""Of a unix socket: the folder decides who may connect, since a proxy often runs as another user."""


def listen_problem(host: str, port: int) -> str | None:
    """Why no server can listen on `host`:`port`, and what to do, in one line; None if one can."""
    if not 0 <= port <= 65535:  # the resolver would take it modulo 65536
        return f"{port} is not a port: choose one from 1 to 65535 with --port"
    try:
        with listening(host, port):
            return None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"port {port} on {host} is in use: stop the program that listens there, or choose another --port"
        return f"can't listen on {host} port {port}: {error.strerror or error}"


def unix_problem(path: Path) -> str | None:
    """Why no server can listen on the unix socket `path`, and what to do, in one line; None if one can."""
    try:
        with listening_on_unix(path):
            return None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"{path} is in use: stop the program that listens there, or choose another --uds"
        if error.errno == errno.EEXIST:
            return f"{path} is no socket: choose another --uds"
        return f"can't listen on {path}: {error.strerror or error}"


def free_port(host: str) -> int:
    """A port that is free at this moment."""
    with listening(host, 0) as (probe, *_):
        port: int = probe.getsockname()[1]
        return port


def client_url(host: str, port: int) -> str:
    """The URL under which a client on this machine reaches a server that listens on `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"  # a name
    if address.is_unspecified or host == "127.0.0.1":
        return f"http://localhost:{port}"  # `::` takes IPv4, too
    return f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Sockets that listen on `host`:`port`, one for each address that the name has, all on the same port. `::` takes
    IPv4, too. Raises OSError if there can't be one."""
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, (name, _, *more) in dict.fromkeys((entry[0], entry[4]) for entry in found):
            chosen = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(_bound(family, (name, chosen, *more)))
            except OSError as error:
                if error.errno not in NO_SUCH_FAMILY:
                    raise
                missing = error
        if missing and not sockets:
            raise missing
        yield sockets
    finally:
        for one in sockets:
            one.close()


@contextlib.contextmanager
def listening_on_unix(path: Path) -> Iterator[list[socket.socket]]:
    """A unix socket that listens, as a list. What a killed server left there is replaced, and the file is removed at
    the end. Raises OSError if there can't be one: EADDRINUSE if a server listens there, EEXIST if it is no socket."""
    _remove_unused(path)
    listener = _bound(socket.AF_UNIX, str(path))
    own = path.stat().st_ino
    try:
        path.chmod(MODE)
        yield [listener]
    finally:
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == own:
                path.unlink()


def _remove_unused(path: Path) -> None:
    """Removes a unix socket on which nobody listens."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(str(path))
    except ConnectionRefusedError:
        path.unlink()
    except FileNotFoundError:
        return
    else:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _bound(family: int, address: str | tuple[Any, ...]) -> socket.socket:
    """A socket that listens on this address."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and ipaddress.ip_address(address[0]).is_unspecified:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(address)
        bound.listen()
    except BaseException:
        bound.close()
        raise
    return bound
