"""Addresses to listen on: is one free, and which URL reaches it? Standard library only."""

import errno
import ipaddress
import socket


def listen_problem(host: str, port: int) -> str | None:
    """Why no server can listen on `host`:`port`, and what to do, in one line; None if one can."""
    if not 0 <= port <= 65535:  # the resolver would take it modulo 65536
        return f"{port} is not a port: choose one from 1 to 65535 with --port"
    try:
        with listening_socket(host, port):
            return None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"port {port} on {host} is in use: stop the program that listens there, or choose another --port"
        return f"can't listen on {host} port {port}: {error.strerror or error}"


def free_port(host: str) -> int:
    """A port that is free at this moment."""
    with listening_socket(host, 0) as probe:
        port: int = probe.getsockname()[1]
        return port


def client_url(host: str, port: int) -> str:
    """The URL under which a client on this machine reaches a server that listens on `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"  # a name
    if address.version == 6:
        return f"http://[{'::1' if address.is_unspecified else host}]:{port}"
    return f"http://{'localhost' if address.is_unspecified or host == '127.0.0.1' else host}:{port}"


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on `host`:`port`. Raises OSError if there can't be one."""
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
