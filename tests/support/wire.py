"""A reverse proxy that records every request and breaks what it is told to break.

The Host header passes unchanged, so signatures stay valid: point a client at ``url`` instead of at
the server. Bodies stream through. Each request gets a fresh connection to the server; the client's
connection stays open between requests, as a real server would keep it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from tests.support.ports import LOOPBACK
from tests.support.tls import Certificate
from tests.support.wire_relay import relay_requests
from tests.support.wire_rules import Action, Exchange, Predicate, Rule, Side

DEADLINE_S = 30.0
_POLL_S = 0.02


class Hold:
    """Requests that wait at the wire, before the server or (``answer``) before the client."""

    def __init__(self, predicate: Predicate, side: Side, wait_for_change: Waiter) -> None:
        self.predicate = predicate
        self.side = side
        self.held: list[Exchange] = []
        self._wait = wait_for_change
        self._released = threading.Event()
        self._dropped = False

    def wait(self, *, count: int = 1, deadline_s: float = DEADLINE_S) -> list[Exchange]:
        """Return the held requests once there are so many; TimeoutError at the deadline."""
        self._wait(lambda: len(self.held) >= count, deadline_s, f"{count} held request(s)")
        return list(self.held)

    def release(self) -> None:
        """Let the held requests, and later ones, go on."""
        self._released.set()

    def drop(self) -> None:
        """Reset the connections of the held requests, and of later ones, instead."""
        self._dropped = True
        self._released.set()

    def pass_through(self, exchange: Exchange, side: Side, is_closed: threading.Event) -> None:
        """Keep a matching request waiting; raise ConnectionAbortedError when it is dropped."""
        if self._released.is_set() and not self._dropped:
            return
        if side != self.side or not self.predicate(exchange):
            return
        self.held.append(exchange)
        self._wait(lambda: True, 0, "")
        while not self._released.wait(_POLL_S):
            if is_closed.is_set():
                raise ConnectionAbortedError("the wire closed")
        if self._dropped:
            raise ConnectionAbortedError("dropped")


Waiter = Callable[[Callable[[], bool], float, str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Upstream:
    """Where the real server listens."""

    host: str
    port: int

    def connect(self) -> socket.socket:
        """Return a new connection to it."""
        connection = socket.create_connection((self.host, self.port), timeout=DEADLINE_S * 4)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


class Wire:
    """The proxy; as a context manager it listens inside the block.

    ``rules`` may be added at any time; the first rules that match apply together, in their order.
    With a ``certificate`` it speaks TLS to the client.
    """

    def __init__(
        self, server_url: str, *rules: Rule, certificate: Certificate | None = None
    ) -> None:
        parts = urllib.parse.urlsplit(server_url)
        if parts.scheme != "http" or parts.hostname is None or parts.port is None:
            raise ValueError(f"not the address of a plain HTTP server: {server_url}")
        self.upstream = Upstream(parts.hostname, parts.port)
        self.is_closed = threading.Event()
        self._rules = list(rules)
        self._holds: list[Hold] = []
        self._exchanges: list[Exchange] = []
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._certificate = certificate
        self._listener = socket.create_server((LOOPBACK, 0), backlog=256)
        self._is_gone = False

    @property
    def url(self) -> str:
        """The address to give to the client."""
        scheme = "https" if self._certificate else "http"
        return f"{scheme}://{LOOPBACK}:{self._listener.getsockname()[1]}"

    @property
    def exchanges(self) -> list[Exchange]:
        """All requests so far, in the order of their numbers."""
        with self._changed:
            return list(self._exchanges)

    def seen(self, predicate: Predicate) -> list[Exchange]:
        """Return the requests so far that a predicate (a Match) picks."""
        return [exchange for exchange in self.exchanges if predicate(exchange)]

    def add(self, rule: Rule) -> Rule:
        """Add a rule and return it."""
        with self._changed:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all rules: from now on everything passes."""
        with self._changed:
            self._rules.clear()

    @contextlib.contextmanager
    def hold(self, predicate: Predicate, *, side: Side = "request") -> Iterator[Hold]:
        """Hold matching requests inside the block; those still held at its end are released."""
        hold = Hold(predicate, side, self._wait_for_change)
        with self._changed:
            self._holds.append(hold)
        try:
            yield hold
        finally:
            with self._changed:
                self._holds.remove(hold)
            hold.release()

    def wait_for(
        self, predicate: Predicate, *, count: int = 1, deadline_s: float = DEADLINE_S
    ) -> list[Exchange]:
        """Return the matching requests once there are so many; TimeoutError at the deadline.

        The predicate is asked again all the time, so that it may look at ``status``, ``is_over``
        or at how many bytes have passed.
        """
        what = f"{count} matching request(s)"
        self._wait_for_change(lambda: len(self.seen(predicate)) >= count, deadline_s, what)
        return self.seen(predicate)

    def _wait_for_change(self, condition: Callable[[], bool], deadline_s: float, what: str) -> None:
        with self._changed:
            self._changed.notify_all()
            end = time.monotonic() + deadline_s
            # Bytes of a body are counted without a word to whoever waits: that one looks again.
            while not (is_so := condition()) and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(left, _POLL_S))
            if not is_so and what:
                seen = "\n".join(f"  {e.number} {e.method} {e.path}" for e in self._exchanges[-20:])
                raise TimeoutError(f"no {what} within {deadline_s:g} s; the last requests:\n{seen}")

    def begin(self, exchange: Exchange) -> list[Action]:
        """Record a request under its number; return what is to be done to it."""
        with self._changed:
            self._exchanges.append(exchange)
            exchange.number = len(self._exchanges)
            actions = [rule.action for rule in self._rules if rule.applies_to(exchange)]
            self._changed.notify_all()
        return actions

    def note(self, exchange: Exchange, **facts: int | bool | None) -> None:
        """Record what became of a request."""
        with self._changed:
            for name, value in facts.items():
                setattr(exchange, name, value)
            if "upstream_status" in facts:
                exchange.answered_at = len(self._exchanges)
            self._changed.notify_all()

    def pause(self, exchange: Exchange, side: Side) -> None:
        """Keep the request waiting while a hold says so."""
        with self._changed:
            holds = list(self._holds)
        for hold in holds:
            hold.pass_through(exchange, side, self.is_closed)

    def sleep_until_closed(self, until: threading.Event | None = None) -> None:
        """Return when the event is set; raise ConnectionAbortedError when the wire closes first."""
        while until is None or not until.wait(_POLL_S):
            if self.is_closed.wait(_POLL_S):
                raise ConnectionAbortedError("the wire closed")

    def leave(self, for_s: float | None) -> None:
        """Cut all connections and refuse new ones, until ``come_back`` or for so many seconds."""
        with self._changed:
            if self._is_gone or self.is_closed.is_set():
                return
            self._is_gone = True
            address = self._listener.getsockname()
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            # The port stays ours: bound, and refusing as long as nobody listens.
            self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(address)
        self._cut_all()
        if for_s is not None:
            timer = threading.Timer(for_s, self.come_back)
            timer.daemon = True
            timer.start()

    def come_back(self) -> None:
        """Listen again, if gone."""
        with self._changed:
            if not self._is_gone or self.is_closed.is_set():
                return
            self._is_gone = False
            self._listener.listen(256)
            thread = threading.Thread(target=self._accept, daemon=True)
            self._threads.append(thread)
            thread.start()

    def show(self, certificate: Certificate) -> None:
        """Cut all connections, and show another certificate to new ones."""
        with self._changed:
            self._certificate = certificate
        self._cut_all()

    def _cut_all(self) -> None:
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        listener = self._listener
        while not self.is_closed.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection = self._secured(connection)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._changed:
                self._connections.add(connection)
                self._threads = [t for t in self._threads if t.is_alive()]
                self._threads.append(thread)
                thread.start()

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self._certificate is None:
            return connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate.cert_file, self._certificate.key_file)
        # The handshake is made by the connection's own thread.
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def _serve(self, connection: socket.socket) -> None:
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            relay_requests(self, connection)
        except OSError:
            connection.close()  # The client did not like the certificate.
        finally:
            with self._changed:
                self._connections.discard(connection)

    def __enter__(self) -> Self:
        """Listen."""
        thread = threading.Thread(target=self._accept, daemon=True)
        self._threads.append(thread)
        thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cut all connections and stop listening."""
        self.is_closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut_all()
        with self._changed:
            threads = list(self._threads)
        deadline = time.monotonic() + 5
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
