"""Can this address be listened on? Standard library only: it is asked before anything is installed."""

import errno
import socket


def why_not(host: str, port: int) -> str | None:
    """One line that says why `host`:`port` can't be listened on and what to do, or None if it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"port {port} on {host} is in use: stop what listens there, or choose another with --port"
        return f"can't listen on {host}:{port}: {error.strerror or error}"
    return None
