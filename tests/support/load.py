"""Load on a server: requests over many connections, and a verdict on each of them."""

import selectors
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from benchmarks.load import Connection
from tests.support.waiting import LIMIT

Check = Callable[[bytes, bytes], None]
"""Gets a request and its reply, and raises AssertionError if the reply is wrong."""


class Load:
    """Connections that each send their next request when the one before is answered.

    Attributes:
        pause: seconds to leave the processor to others after each look at the connections.
        open: connections that go on sending. One ends when the server says that it closes it.
        answered: requests that got their whole and right reply.
        lost: for every other request, what happened to it.
    """

    def __init__(self, connections: int, pause: float) -> None:
        self.open, self.answered = connections, 0
        self.pause = pause
        self.lost: list[str] = []

    def run(self, port: int, requests: Sequence[bytes], check: Check, done: threading.Event) -> None:
        """Sends the requests in turn until `done`. Without any reply for LIMIT seconds, what is under way is lost."""
        with selectors.DefaultSelector() as ready:
            for number in range(self.open):
                connection, request = Connection(port), requests[number % len(requests)]
                connection.socket.settimeout(LIMIT)
                ready.register(connection.socket, selectors.EVENT_READ, (connection, request))
                connection.socket.sendall(request)
            number = self.open
            while ready.get_map():
                done.wait(self.pause)
                events = ready.select(LIMIT)
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
    url: str, connections: int, requests: Sequence[bytes], check: Check = lambda *_: None, pause: float = 0
) -> Iterator[Load]:
    """Load on the server at this address until the block ends and what is under way is answered."""
    state, done = Load(connections, pause), threading.Event()
    port = int(url.rpartition(":")[2])
    thread = threading.Thread(target=state.run, args=(port, requests, check, done))
    thread.start()
    try:
        yield state
    finally:
        done.set()
        thread.join()
