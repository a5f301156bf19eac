"""Requests on and on over many connections, and what became of every one."""

import selectors
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from benchmarks.load import Connection

PATIENCE = 30
"""Seconds without any reply after which those that are missing count as lost."""


class Load:
    """What has come of it so far.

    Attributes:
        open: connections that send on. One ends when the server says that it closes it.
        answered: requests that got their whole reply, and it was as it should be.
        lost: what became of every other one.
    """

    def __init__(self, connections: int) -> None:
        self.open, self.answered = connections, 0
        self.lost: list[str] = []

    def run(
        self, port: int, requests: Sequence[bytes], check: Callable[[bytes, bytes], None], done: threading.Event
    ) -> None:
        with selectors.DefaultSelector() as ready:
            for number in range(self.open):
                connection, request = Connection(port), requests[number % len(requests)]
                ready.register(connection.socket, selectors.EVENT_READ, (connection, request))
                connection.socket.sendall(request)
            number = self.open
            while ready.get_map():
                events = ready.select(PATIENCE)
                if not events:
                    self.lost += ["no reply"] * self.open
                    return
                for key, _ in events:
                    connection, request = key.data
                    try:
                        reply = connection.receive()
                        if reply is None:
                            continue
                        check(request, reply)
                        self.answered += 1
                        head = reply.partition(b"\r\n\r\n")[0].lower()
                        if not done.is_set() and b"\r\nconnection: close" not in head:
                            request = requests[number % len(requests)]
                            number += 1
                            ready.modify(connection.socket, selectors.EVENT_READ, (connection, request))
                            connection.socket.sendall(request)
                            continue
                    except (OSError, RuntimeError, AssertionError) as error:
                        self.lost.append(repr(error))
                    ready.unregister(connection.socket)
                    connection.socket.close()
                    self.open -= 1


@contextmanager
def load(
    url: str, connections: int, requests: Sequence[bytes], check: Callable[[bytes, bytes], None] = lambda *_: None
) -> Iterator[Load]:
    """Sends the requests in turn, over and over, each connection its next one when it is answered, until the block ends
    and what is under way is answered. `check` gets every request with its reply, and fails by AssertionError."""
    made, done = Load(connections), threading.Event()
    port = int(url.rpartition(":")[2])
    thread = threading.Thread(target=made.run, args=(port, requests, check, done))
    thread.start()
    try:
        yield made
    finally:
        done.set()
        thread.join()
