"""Addresses to listen on: is one free, and how is it reached? Standard library only."""

import errno
import ipaddress
import socket


def why_not(host: str, port: int) -> str | None:
    """One line that says why `host`:`port` can't be listened on and what to do, or None if it can."""
    if not 0 <= port <= 65535:  # the resolver would take it modulo 65536
        return f"{port} is not a port: choose one from 1 to 65535 with --port"
    try:
        with listening(host, port):
            return None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"port {port} on {host} is in use: stop what listens there, or choose another with --port"
        return f"can't listen on {host} port {port}: {error.strerror or error}"


def free(host: str) -> int:
    """A port that is free at this moment."""
    with listening(host, 0) as probe:
        port: int = probe.getsockname()[1]
        return port


def url(host: str, port: int) -> str:
    """How a client on this machine reaches a server that listens on `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"  # a name
    if address.version == 6:
        return f"http://[{'::1' if address.is_unspecified else host}]:{port}"
    return f"http://{'localhost' if address.is_unspecified or host == '127.0.0.1' else host}:{port}"


def listening(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    probe = socket.socket(family, kind, protocol)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen()
    except BaseException:
        probe.close()
        raise
    return probe
