"""Bytes of one connection, plain or encrypted, to and from buffers in as few calls as there can be.

A plain socket is read and written in the kernel's own time: a call waits for a *step* at most
(``SO_RCVTIMEO``, ``SO_SNDTIMEO``; ``socket(7)``), so that whoever waits can look at the clock, and
a call that need not wait costs one system call. A socket with a timeout of Python's costs two.

TLS is done between memory and memory (``ssl.MemoryBIO``), and the socket beneath stays a plain one:
``ssl.SSLSocket`` makes two system calls for each record of 16 KiB, and cannot be shut down from
another thread.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Final, cast

from airflow_provider_s3resume.storage._tls_buffers import (
    SMALL,
    give_back,
    take,
    take_large,
)

_TIMEVAL: Final = struct.Struct("ll")
_MICROSECONDS: Final = 1_000_000
_LEAST_STEP_S: Final = 0.001
_FED: Final = 64 * 1024
"""So many of many encrypted bytes are given to OpenSSL at once: the memory of the most that it was
ever given is kept for as long as the connection lasts, and what is small is in a cache."""
_ENCRYPTED: Final = 64 * 1024
"""Plain bytes that are encrypted at once: the copies of twice as much would be mapped anew, and
zeroed, for each (``transfer.allocation``), which takes longer than to encrypt them."""
_HEAD: Final = 8 * 1024
"""So much more is encrypted at once if nothing is left then: a head that such a body follows."""
_RECORD: Final = 16 * 1024
# What a record has beside its bytes: a header, a tag, and the padding that TLS 1.3 allows.
_RECORD_FRAME: Final = 256
_WHOLE_RECORD: Final = _RECORD + _RECORD_FRAME
_NOTHING: Final = memoryview(b"")
SCRATCH: Final = 16 * 1024
_SCRATCH = threading.local()
_Read = Callable[[int, memoryview], int]


def scratch_of(size: int) -> memoryview:
    """Return a buffer of this thread for what lasts no longer than a call, 16 KiB at most."""
    view: memoryview | None = getattr(_SCRATCH, "view", None)
    if view is None:
        view = _SCRATCH.view = memoryview(bytearray(SCRATCH))
    return view[:size]


class Transport:
    """A connected plain socket.

    :param sock: connected; belongs to the transport from now on.
    :param step_s: the longest that one call waits.
    """

    def __init__(self, sock: socket.socket, step_s: float) -> None:
        self._sock = sock
        self._step_s = step_s
        whole, part = divmod(max(step_s, _LEAST_STEP_S), 1)
        step = _TIMEVAL.pack(int(whole), int(part * _MICROSECONDS))
        # Blocking for Python, which then makes no system call of its own to wait.
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, step)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, step)

    def stop_waiting(self) -> None:
        """Let no call wait from now on: ``BlockingIOError`` comes at once."""
        self._sock.setblocking(False)

    def fileno(self) -> int:
        """Return the socket's file descriptor."""
        return self._sock.fileno()

    def receive(self, view: memoryview, *, whole: bool = False, more: int = 0) -> int:  # noqa: ARG002 - for those that read ahead
        """Read into the start of ``view``; 0 at the end of what the peer sends.

        :param whole: wait until ``view`` is full, if that takes no longer than a step.
        :param more: bytes that are expected behind those for ``view``.
        :raises BlockingIOError: if no byte came within a step.
        """
        return self._sock.recv_into(view, 0, socket.MSG_WAITALL if whole else 0)

    def send(self, *pieces: memoryview) -> int:
        """Send the start of what is given; return how many bytes of it were taken.

        :raises BlockingIOError: if none was taken within a step.
        """
        return self._sock.send(pieces[0]) if len(pieces) == 1 else self._sock.sendmsg(pieces)

    def flush(self) -> bool:
        """Tell whether all that was taken is on its way, after sending what can be sent."""
        return True

    def glance(self, view: memoryview) -> int | None:
        """Read what is there without waiting: ``None`` for nothing yet, 0 for the end."""
        try:
            return self._sock.recv_into(view, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def has_ahead(self) -> bool:
        """Tell whether more was read from the socket than was given out: nobody tells of that."""
        return False

    def is_quiet(self) -> bool:
        """Tell whether an idle connection is still one, with nothing unexpected to read."""
        try:
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def shut_down(self) -> None:
        """Let every call that waits, in whatever thread, return at once."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class TlsTransport(Transport):
    """The same, encrypted.

    :param context: what is verified, and how.
    :param host: the name that the certificate has to be for.
    :param until: monotonic time by which the handshake has to be done.
    :raises ssl.SSLError: as the handshake goes.
    :raises TimeoutError: if it is not done in time.
    """

    def __init__(
        self,
        sock: socket.socket,
        step_s: float,
        *,
        context: ssl.SSLContext,
        host: str,
        until: float,
    ) -> None:
        super().__init__(sock, step_s)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent = _NOTHING
        # OpenSSL has taken a part of a record, or a whole one without bytes: nobody can tell.
        self._has_part = False
        # What broke the connection after bytes that were good: told with the next call.
        self._broken_by: list[ssl.SSLError] = []
        self._shake_hands(until)

    def receive(self, view: memoryview, *, whole: bool = False, more: int = 0) -> int:
        """Decrypt into the start of ``view``; 0 at the end of what the peer sends.

        :raises BlockingIOError: if nothing that can be decrypted came within a step.
        :raises ssl.SSLError: if what came next is no record of this connection.
        """
        done, wanted, until = 0, len(view), None
        try:
            while True:
                count, ended = self._decrypt(view[done:] if done else view)
                done += count
                if ended or done == wanted or (done and not whole):
                    break
                until = self._within_step(until)
                if wanted - done > SMALL:
                    done += self._fetch_much(view[done:] if done else view)
                elif not self._fetch(wanted - done + more):
                    self._incoming.write_eof()
        except BlockingIOError:
            if not done:
                raise
        if not done and self._broken_by:
            raise self._broken_by.pop()
        return done

    def _decrypt(self, view: memoryview, least: int = 1) -> tuple[int, bool]:
        """Decrypt what was read into the start of ``view``; return how much, and if it was all.

        :param least: fewer encrypted bytes than these are left for later.
        """
        # This loop is a tenth of what a copy costs: one call decrypts one record of 16 KiB.
        done, wanted, tls, incoming = 0, len(view), self._tls, self._incoming
        if self._broken_by:
            # OpenSSL would not say it again: what comes after an error is an end to it.
            return 0, True
        read = cast("_Read", tls.read)
        try:
            # To ask for what is not there costs an exception.
            while done < wanted and (incoming.pending >= least or incoming.eof or tls.pending()):
                count = read(wanted - done, view[done:] if done else view)
                if not count:
                    return done, True
                done += count
                self._has_part = False
        except ssl.SSLWantReadError:
            self._has_part = True
            return done, False
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return done, True
        except ssl.SSLError as error:
            # Its frames have the buffer of whoever reads.
            self._broken_by.append(error.with_traceback(None))
            return done, True
        return done, False

    def send(self, *pieces: memoryview) -> int:
        """Encrypt and send the start of what is given; return how many bytes of it were taken.

        What was encrypted is taken, and sent with the next call at the latest. A call without bytes
        to take sends only that.

        :raises BlockingIOError: if nothing was sent within a step.
        """
        taken = 0
        if not self._unsent:
            whole = sum(map(len, pieces))
            most = whole if whole <= _ENCRYPTED + _HEAD else _ENCRYPTED
            for piece in pieces:
                part = piece if len(piece) <= most - taken else piece[: most - taken]
                if part:
                    taken += self._tls.write(part)
            self._unsent = memoryview(self._outgoing.read())
        try:
            self.flush()
        except BlockingIOError:
            if not taken:
                raise
        return taken

    def flush(self) -> bool:
        """Send what is encrypted; tell whether all of it was.

        :raises BlockingIOError: if nothing was sent within a step.
        """
        while self._unsent:
            sent = self._sock.send(self._unsent)
            self._unsent = self._unsent[sent:] if sent < len(self._unsent) else _NOTHING
        return True

    def glance(self, view: memoryview) -> int | None:
        """Decrypt what is there without waiting: ``None`` for nothing yet, 0 for the end.

        :raises ssl.SSLError: as :meth:`receive` does.
        """
        if self._broken_by:
            raise self._broken_by.pop()
        buffer = take(len(view))
        try:
            found = super().glance(buffer)
            if found:
                self._incoming.write(buffer[:found])
            elif found == 0:
                self._incoming.write_eof()
        finally:
            give_back(buffer)
        try:
            return int(self._tls.read(len(view), view))
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return 0

    def has_ahead(self) -> bool:
        """Tell whether something can be decrypted without the socket."""
        has_some = self._has_part or self._incoming.pending or self._tls.pending()
        return bool(has_some or self._broken_by)

    def is_quiet(self) -> bool:
        """Tell whether an idle connection is still one; session tickets may have come."""
        try:
            return self.glance(scratch_of(1)) is None
        except OSError:
            return False

    def _within_step(self, until: float | None) -> float:
        """Begin a step, or raise as a plain socket does if it is over: a record may trickle in."""
        now = time.monotonic()
        if until is None:
            return now + self._step_s
        if now >= until:
            raise BlockingIOError("no whole record within a step")
        return until

    def _fetch(self, wanted: int) -> int:
        """Read what is encrypted, about as much as is wanted; 0 at the end."""
        most = wanted + (wanted // _RECORD + 1) * _RECORD_FRAME
        buffer = take(most)
        try:
            count = self._sock.recv_into(buffer[:most])
            if count:
                self._incoming.write(buffer[:count])
        finally:
            give_back(buffer)
        return count

    def _fetch_much(self, view: memoryview) -> int:
        """Read what is encrypted, as much as a buffer takes, and decrypt all but the last bit.

        :returns: how many bytes lie in ``view`` by now.
        """
        done, wanted = 0, len(view)
        most = wanted + (wanted // _RECORD + 1) * _RECORD_FRAME
        buffer = take_large()
        try:
            count = self._sock.recv_into(buffer[:most])
            if not count:
                self._incoming.write_eof()
            for at in range(0, count, _FED):
                if at:
                    # To ask for a record that is not there as a whole costs an exception.
                    done += self._decrypt(view[done:], _WHOLE_RECORD)[0]
                self._incoming.write(buffer[at : min(at + _FED, count)])
        finally:
            give_back(buffer)
        return done

    def _shake_hands(self, until: float) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                done = False
            else:
                done = True
            self._unsent = memoryview(self._outgoing.read())
            while self._unsent:
                with contextlib.suppress(BlockingIOError):
                    self.flush()
                _check_time(until)
            if done:
                return
            self._wait_for_more(until)

    def _wait_for_more(self, until: float) -> None:
        while True:
            _check_time(until)
            try:
                if not self._fetch(_RECORD):
                    self._incoming.write_eof()
            except BlockingIOError:
                continue
            return


def _check_time(until: float) -> None:
    if time.monotonic() >= until:
        raise TimeoutError("the TLS handshake was not done in time")
