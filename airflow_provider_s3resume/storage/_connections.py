"""The kept connections to one place, shared by the threads of a task."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_provider_s3resume.storage._connection import Connection
from airflow_provider_s3resume.storage._exchange import Line
from airflow_provider_s3resume.storage._pace import Patience, step_of
from airflow_provider_s3resume.storage._transport import TlsTransport, Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where requests are sent.

    :param context: makes what TLS is verified with; ``None`` for plain HTTP.
    """

    host: str
    port: int
    context: Callable[[], ssl.SSLContext] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long things may take, in seconds; see ``S3Settings`` for the names."""

    connect_timeout_s: float
    read_timeout_s: float
    patience: Patience = field(default_factory=Patience)


class Connections:
    """The connections to one place; one that is free is used before another is made.

    :param most: connections kept while nobody uses them.
    """

    def __init__(self, place: Place, waits: Waits, *, most: int) -> None:
        self._place = place
        self._waits = waits
        self._most = most
        self._lock = threading.Lock()
        self._free: list[Connection] = []
        self._context: ssl.SSLContext | None = None
        self._closed = False
        # Nobody closes a store: the connections go with it, as those of urllib3's pools do.
        weakref.finalize(self, _close_all, self._free)

    @property
    def url(self) -> str:
        """Where they lead, for messages."""
        scheme = "http" if self._place.context is None else "https"
        host = f"[{self._place.host}]" if ":" in self._place.host else self._place.host
        return f"{scheme}://{host}:{self._place.port}"

    def take(self) -> Connection:
        """Return a connection that nobody else uses; the one that was used last, if it can be.

        :raises OSError: if none can be made.
        """
        while True:
            with self._lock:
                connection = self._free.pop() if self._free else None
            if connection is None:
                return self._connect()
            if connection.is_alive():
                return connection
            connection.close()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end, close any other."""
        if connection.is_reusable:
            with self._lock:
                if not self._closed and len(self._free) < self._most:
                    self._free.append(connection)
                    return
        connection.close()

    def close(self) -> None:
        """Close all that are free, and the others when they are given back."""
        with self._lock:
            self._closed = True
            _close_all(self._free)

    def after_fork(self) -> None:
        """Close what the process that this one was forked from uses, without a word to the peer."""
        self._lock = threading.Lock()
        _close_all(self._free)

    def line(self) -> Line:
        """Return a new connection for exchanges; it is not kept here.

        :raises OSError: if none can be made.
        """
        waits = self._waits
        return Line(self._connect_transport(), self, waits.patience, waits.read_timeout_s)

    def _connect(self) -> Connection:
        waits = self._waits
        return Connection(self._connect_transport(), waits.patience, waits.read_timeout_s)

    def _connect_transport(self) -> Transport:
        waits = self._waits
        step_s = step_of(waits.patience, waits.read_timeout_s)
        address = (self._place.host, self._place.port)
        sock = socket.create_connection(address, waits.connect_timeout_s)
        # An address that does not answer may have taken all of the time before the one that does.
        until = time.monotonic() + waits.connect_timeout_s
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return self._transport(sock, step_s, until)
        except BaseException:
            sock.close()
            raise

    def _transport(self, sock: socket.socket, step_s: float, until: float) -> Transport:
        if self._place.context is None:
            return Transport(sock, step_s)
        with self._lock:
            # Reading the authorities takes some milliseconds, and is done when it is needed.
            if self._context is None:
                self._context = self._place.context()
        return TlsTransport(sock, step_s, context=self._context, host=self._place.host, until=until)


def _close_all(connections: list[Connection]) -> None:
    while connections:
        connections.pop().close()
