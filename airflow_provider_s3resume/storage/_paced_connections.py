"""Connections of urllib3 that give up what stalls; both SDKs send their requests through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from urllib3.connectionpool import HTTPConnectionPool

from airflow_provider_s3resume.storage._pace import AWAITED, Awaited, Pace, PacedSocket, Patience

if TYPE_CHECKING:
    _Base = Any
else:
    _Base = object

PoolClasses = dict[str, type[HTTPConnectionPool]]
"""Pool classes by scheme, as urllib3's managers have them."""


class _PacedConnection(_Base):  # type: ignore[misc]  # mixed into classes of several packages
    """Before a class of connections: its sockets are judged by the pace of each request."""

    patience: ClassVar[Patience]
    no_byte_s: ClassVar[float]
    sock: Any = None
    timeout: Any
    _pace: Pace | None = None

    def connect(self) -> None:
        """Connect, and wrap the socket once tunnels and TLS are in place."""
        super().connect()
        if self.sock is not None and not isinstance(self.sock, PacedSocket):
            self.sock = PacedSocket(self.sock, self._pace or self._new_pace())

    def request(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the class beneath
        """Send a request at a pace of its own."""
        self._pace = self._new_pace()
        if isinstance(self.sock, PacedSocket):
            self.sock.pace = self._pace
        return super().request(*args, **kwargs)

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the class beneath
        """Read the answer's head by its deadline."""
        pace, paced = self._pace, self.sock
        if pace is None or not isinstance(paced, PacedSocket):
            return super().getresponse(*args, **kwargs)
        paced.drain()
        pace.begin_answer()
        answer = super().getresponse(*args, **kwargs)
        pace.begin_body()
        if paced.cut_short and self.sock is paced:
            # The answer still reads from it. "close" of the connection would end the answer too.
            self.sock = None
            paced.close()
        return answer

    def _tunnel(self) -> None:
        """Ask a proxy for a tunnel; its answer is part of connecting, and has that long."""
        plain = self.sock
        timeout = self.timeout if isinstance(self.timeout, int | float) else None
        limit = timeout or self.patience.answer_deadline_s
        patience = replace(self.patience, answer_deadline_s=limit)
        pace = Pace(patience, self.no_byte_s, Awaited.TUNNEL)
        pace.begin_answer()
        self.sock = paced = PacedSocket(plain, pace)
        try:
            super()._tunnel()
        finally:
            if self.sock is paced:
                # TLS is put around it next, by the timeout for connecting.
                plain.settimeout(timeout)
                self.sock = plain

    def _new_pace(self) -> Pace:
        return Pace(self.patience, self.no_byte_s, AWAITED.get())


def paced(pools: Mapping[str, Any], patience: Patience, no_byte_s: float) -> PoolClasses:
    """Return the like of some pool classes by scheme, whose connections give up what stalls.

    :param no_byte_s: seconds without any byte of a body that is sent.
    """
    return {scheme: _paced(pool, patience, no_byte_s) for scheme, pool in pools.items()}


def _paced(pool: Any, patience: Patience, no_byte_s: float) -> type[HTTPConnectionPool]:  # noqa: ANN401 - a pool class
    plain = pool.ConnectionCls
    # Paced before, with other numbers: these come first.
    bases = (plain,) if issubclass(plain, _PacedConnection) else (_PacedConnection, plain)
    facts = {"patience": patience, "no_byte_s": no_byte_s}
    connection = type(f"Paced{plain.__name__}", bases, facts)
    made: type[HTTPConnectionPool] = type(
        f"Paced{pool.__name__}", (pool,), {"ConnectionCls": connection}
    )
    return made
