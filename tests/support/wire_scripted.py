"""A server of a few lines, for what no real one does: it answers byte by byte, or takes nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.support.ports import LOOPBACK

TICK_S = 0.05
Handler = Callable[[socket.socket, threading.Event], None]
"""What is done to a connection; the event is set when the server ends."""


class Scripted:
    """A server that does one thing to each connection, until the test ends."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._over = threading.Event()
        self._listener = socket.create_server((LOOPBACK, 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """End all connections."""
        self._over.set()
        # Closing alone does not wake the thread that waits in accept: it would stay for ever.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._handler(connection, self._over)


def read_head(connection: socket.socket) -> bytes:
    """Read a request's head, and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(4096)
    return data


def trickle(connection: socket.socket, over: threading.Event, data: bytes) -> None:
    """Send a byte at each tick until all is sent."""
    for number in range(len(data)):
        connection.sendall(data[number : number + 1])
        if over.wait(TICK_S):
            return
