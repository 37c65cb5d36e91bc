"""On which addresses processes of this machine listen, as the kernel says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from tests.support.watchdog import PROC

_LISTEN = "0A"
_WORD = 4
"""Bytes that the kernel writes as one number, in the order of this machine."""


def exposed(pids: Iterable[int]) -> set[str]:
    """Return ``address:port`` of what these processes listen on for more than this machine."""
    sockets = {inode for pid in pids for inode in _sockets(pid)}
    return {
        f"{address}:{port}"
        for table in (PROC / "net" / "tcp", PROC / "net" / "tcp6")
        # A kernel without IPv6 has one of them only.
        if table.exists()
        for line in table.read_text().splitlines()[1:]
        for address, port, inode in [_listener(line.split())]
        if inode in sockets and not address.is_loopback
    }


def _listener(fields: list[str]) -> tuple[IPv4Address | IPv6Address, int, str | None]:
    """Return address, port and socket of a line; no socket, if it is no listener's."""
    address, _, port = fields[1].partition(":")
    raw = bytes.fromhex(address)
    words = [raw[at : at + _WORD][::-1] for at in range(0, len(raw), _WORD)]
    found = ip_address(b"".join(words))
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return found, int(port, 16), fields[9] if fields[3] == _LISTEN else None


def _sockets(pid: int) -> set[str]:
    found = set[str]()
    # A process may end meanwhile, and close what it had.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for entry in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                name = str(Path.readlink(entry))
                if name.startswith("socket:["):
                    found.add(name.removeprefix("socket:[").removesuffix("]"))
    return found
