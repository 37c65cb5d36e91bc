"""Free ports on the loopback address.

SeaweedFS answers gRPC 10,000 above each of its ports, so a block of ports is free only when its
shadow is free as well. Blocks are taken from below the range that the kernel hands out for
outgoing connections: there, a free port stays free.
"""

from __future__ import annotations

import errno
import random
import socket

LOOPBACK = "127.0.0.1"
GRPC_OFFSET = 10_000
_LOWEST, _HIGHEST = 11_000, 22_000
_handed_out: set[int] = set()


class PortInUseError(RuntimeError):
    """Another program listens on a port that was asked for by number."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} on {LOOPBACK} is in use by another program; "
            "end that program or choose another port"
        )
        self.port = port


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def require_free(*ports: int) -> None:
    """Raise PortInUseError for the first of these ports that is taken."""
    for port in ports:
        if not is_free(port):
            raise PortInUseError(port)


def free_block(size: int, *, with_grpc: bool = False) -> int:
    """Return the first of ``size`` neighbouring free ports, never handed out before."""
    start = random.randrange(_LOWEST, _HIGHEST, size)
    span = _HIGHEST - _LOWEST
    for step in range(0, span, size):
        base = _LOWEST + (start - _LOWEST + step) % span
        block = range(base, base + size)
        shadow = [port + GRPC_OFFSET for port in block] if with_grpc else []
        taken = [*block, *shadow]
        if _handed_out.isdisjoint(taken) and all(map(is_free, taken)):
            _handed_out.update(taken)
            return base
    raise RuntimeError(f"no {size} neighbouring free ports between {_LOWEST} and {_HIGHEST}")


def free_port() -> int:
    """Return one free port, never handed out before by this process."""
    return free_block(1)
