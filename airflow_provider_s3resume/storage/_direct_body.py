"""Bodies of calls that are made directly: what is sent, and what is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.storage.checksums import running_checksum

if TYPE_CHECKING:
    from airflow_provider_s3resume.storage._connection import Connection

SLICE: Final = 256 * 1024
CHUNK: Final = 1 << 20
"""Bytes of one chunk before a trailer: what botocore sends, and no service refuses."""
_END: Final = b"\r\n"


class DirectBody:
    """The body of an answer, to be read once; stands where urllib3's response does.

    :param length: bytes that it has.
    :param give_back: takes the connection when the body was read to its end.
    """

    def __init__(
        self, connection: Connection, length: int, give_back: Callable[[Connection], None]
    ) -> None:
        self.length = self._left = length
        self._connection: Connection | None = connection
        self._give_back = give_back

    @property
    def closed(self) -> bool:
        """Whether the connection is used for this body no more."""
        return self._connection is None

    def readinto(self, view: memoryview) -> int:
        """Fill the start of ``view``; 0 at the end.

        :raises OSError: if the network fails.
        """
        connection = self._connection
        count = connection.readinto(view) if connection is not None else 0
        self._left -= count
        if not self._left:
            self.close()
        return count

    def read(self, size: int | None = None, *, decode_content: bool = False) -> bytes:  # noqa: ARG002 - urllib3's
        """Return up to ``size`` bytes, all for none; they are never decoded.

        :raises OSError: if the network fails.
        """
        data = bytearray(self.length if size is None else min(size, self.length))
        view, at = memoryview(data), 0
        while at < len(data) and (count := self.readinto(view[at:])):
            at += count
        return bytes(view[:at])

    def release_conn(self) -> None:
        """Do as :meth:`close` does."""
        self.close()

    def shutdown(self) -> None:
        """Break the connection, from any thread."""
        connection = self._connection
        if connection is not None:
            connection.abort()

    def close(self) -> None:
        """Drop the connection if there is more to read, else give it back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._give_back(connection)

    def __del__(self) -> None:
        """Let go of a connection that nobody reads from any more."""
        self.close()


class Body:
    """A body that is sent as it is.

    :param content: bytes in memory, or what reads them.
    """

    trailer: str | None = None
    """The algorithm whose checksum follows the body, if one does."""

    def __init__(self, content: Any, length: int) -> None:  # noqa: ANN401 - buffers and files
        self._content = content
        self._length = length

    def headers(self) -> dict[str, str]:
        """Return the headers that say how the body is sent."""
        return {"content-length": str(self._length)}

    def pieces(self) -> Iterator[memoryview]:
        """Yield what is sent; a read-only piece stays as it is, any other until the next one."""
        return pieces_of(self._content, self._length)


class TrailedBody(Body):
    """A body whose checksum follows it ("aws-chunked", with a length that is known before).

    :param algorithm: CRC64NVME, CRC32C or CRC32.
    """

    def __init__(self, content: Any, length: int, algorithm: str) -> None:  # noqa: ANN401 - as above
        super().__init__(content, length)
        self.trailer = algorithm
        self._header = f"x-amz-checksum-{algorithm.lower()}"

    def headers(self) -> dict[str, str]:
        """Return the headers that announce chunks and what follows them."""
        whole, rest = divmod(self._length, CHUNK)
        frames = whole * len(_frame(CHUNK)) + (len(_frame(rest)) if rest else 0)
        width = running_checksum(self.trailer or "").width
        tail = len(self._tail("=" * width))
        return {
            "content-encoding": "aws-chunked",
            "content-length": str(self._length + frames + len(_END) * (whole + bool(rest)) + tail),
            "x-amz-decoded-content-length": str(self._length),
            "x-amz-trailer": self._header,
        }

    def pieces(self) -> Iterator[memoryview]:
        """Yield the chunks with their frames, then the checksum; pieces last as those of others."""
        content = self._content
        own = running_checksum(self.trailer or "")
        told = getattr(content, "digest", None)
        if told is not None and told(self.trailer) is None:
            told = None
        left, in_chunk, due = self._length, 0, b""
        for piece in pieces_of(content, self._length):
            if told is None:
                own.update(piece)
            at = 0
            while at < len(piece):
                if not in_chunk:
                    in_chunk = min(CHUNK, left)
                    yield memoryview(due + _frame(in_chunk))
                part = piece[at : at + in_chunk]
                yield part
                at += len(part)
                left -= len(part)
                in_chunk -= len(part)
                due = b"" if in_chunk else _END
        value = told(self.trailer) if told is not None else own.value()
        yield memoryview(due + self._tail(value))

    def _tail(self, value: str) -> bytes:
        return f"0\r\n{self._header}:{value}\r\n\r\n".encode("ascii")


def body_of(content: Any, length: int | None, trailer: str | None) -> Body:  # noqa: ANN401 - as above
    """Return a body of bytes in memory, or of so many bytes that are read."""
    size = len(content) if length is None else length
    return Body(content, size) if trailer is None else TrailedBody(content, size, trailer)


def pieces_of(content: Any, length: int) -> Iterator[memoryview]:  # noqa: ANN401 - buffers and files
    """Yield bytes in memory whole, and those of a file slice by slice.

    :raises ValueError: if a file has another number of bytes than was said.
    """
    if isinstance(content, bytes | bytearray | memoryview):
        yield memoryview(content)
        return
    given = getattr(content, "pieces", None)
    left = length
    for data in given() if given is not None else _slices(content, length):
        left -= len(data)
        if left < 0:
            break
        yield memoryview(data)
    if left:
        raise ValueError(f"the body has not the {length} bytes that it was said to have")


def _slices(content: Any, length: int) -> Iterator[bytes]:  # noqa: ANN401 - as above
    while length > 0 and (data := content.read(min(SLICE, length))):
        length -= len(data)
        yield data


def _frame(size: int) -> bytes:
    return f"{size:x}\r\n".encode("ascii")
