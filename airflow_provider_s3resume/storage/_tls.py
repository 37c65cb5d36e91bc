"""What a server's certificate is verified with, made as urllib3 makes it."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from urllib3.util.ssl_ import create_urllib3_context


def tls_context(
    authorities: str | None, own: tuple[str, str | None] | None = None
) -> ssl.SSLContext:
    """Return a context for connections to servers, the same one for the same files.

    To read the authorities of the public takes 25 ms, and a task has connections to three buckets,
    in several processes.

    :param authorities: a file or folder of certificates; ``None`` to verify nothing.
    :param own: files of a certificate of the client's own and of its key.
    """
    if authorities is not None and Path(authorities).is_dir():
        # What is in a folder may change without a trace, and is read when it is needed.
        return _made(authorities, own)
    return _shared(authorities, own, tuple(map(_state_of, (authorities, *(own or ())))))


def _state_of(path: str | None) -> tuple[int, int, int, int] | None:
    """Return what is different once a file has been replaced."""
    try:
        found = Path(path).stat() if path is not None else None
    except OSError:
        return None  # Whoever reads it says what is wrong.
    if found is None:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=8)
def _shared(
    authorities: str | None,
    own: tuple[str, str | None] | None,
    _: tuple[tuple[int, int, int, int] | None, ...],
) -> ssl.SSLContext:
    return _made(authorities, own)


def _made(authorities: str | None, own: tuple[str, str | None] | None) -> ssl.SSLContext:
    context: ssl.SSLContext = create_urllib3_context()
    if authorities is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        if Path(authorities).is_dir():
            context.load_verify_locations(capath=authorities)
        else:
            context.load_verify_locations(cafile=authorities)
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
    if own is not None:
        context.load_cert_chain(*own)
    return context
