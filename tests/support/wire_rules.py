"""What a scripted wire does to which request: rules are a match and an action."""

from __future__ import annotations

import dataclasses
import re
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Literal

from tests.support.endpoints import S3Endpoint
from tests.support.tls import Certificate

SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
INTERNAL_ERROR = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InternalError</Code>'
    b"<Message>We encountered an internal error. Please try again.</Message></Error>"
)
EXPIRED_TOKEN = (
    b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
)


@dataclasses.dataclass(kw_only=True)
class Exchange:
    """A request and what became of it, as recorded. The Authorization header is left out.

    ``number`` counts the requests of one wire from 1. ``status`` is what the client was told, None
    while it was told nothing; ``upstream_status`` is what the server said. ``is_over`` turns true
    when nothing more happens, whether it went well or not.
    """

    number: int
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int | None = None
    upstream_status: int | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    is_over: bool = False
    answered_at: int | None = None
    """How many requests had begun on the wire when the server had answered this one."""
    access_key: str | None = None
    """The identity that signed the request; nothing else of the header is kept."""

    @property
    def operation(self) -> str:
        """The S3 operation by its name in the API, such as UploadPart (path style)."""
        return operation_of(self)


_BUCKET_QUERIES = {"uploads": "ListMultipartUploads", "versions": "ListObjectVersions"}


def operation_of(exchange: Exchange) -> str:
    """Return the name of the S3 operation that a request calls."""
    method, query = exchange.method, exchange.query
    key = exchange.path.lstrip("/").partition("/")[2]
    copied = "Copy" if "x-amz-copy-source" in exchange.headers else ""
    if not key:
        return _bucket_operation(exchange)
    if "uploadId" in query:
        names = {"PUT": f"UploadPart{copied}", "POST": "CompleteMultipartUpload"}
        names |= {"DELETE": "AbortMultipartUpload", "GET": "ListParts"}
        return names.get(method, method)
    if method == "POST" and "uploads" in query:
        return "CreateMultipartUpload"
    if method == "GET" and "attributes" in query:
        return "GetObjectAttributes"
    names = {"PUT": "CopyObject" if copied else "PutObject", "GET": "GetObject"}
    return (names | {"HEAD": "HeadObject", "DELETE": "DeleteObject"}).get(method, method)


def _bucket_operation(exchange: Exchange) -> str:
    if exchange.path == "/":
        return "ListBuckets"
    if exchange.method == "GET":
        named = (name for key, name in _BUCKET_QUERIES.items() if key in exchange.query)
        return next(named, "ListObjectsV2" if "list-type" in exchange.query else "GetBucket")
    if exchange.method == "POST":
        return "DeleteObjects" if "delete" in exchange.query else "POST"
    return {"HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}[exchange.method]


Predicate = Callable[[Exchange], bool]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A predicate over requests: all that is given must hold.

    ``path`` is a regular expression searched in the path as sent (percent-encoded); ``query`` maps
    keys to a value, or to None for any value.
    """

    operation: str | None = None
    method: str | None = None
    path: str | None = None
    query: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    without_query: tuple[str, ...] = ()
    header: str | None = None

    def __call__(self, exchange: Exchange) -> bool:
        """Return whether the request is one of those meant."""
        return (
            self.operation in {None, exchange.operation}
            and self.method in {None, exchange.method}
            and (self.path is None or re.search(self.path, exchange.path) is not None)
            and all(self._has(exchange, *item) for item in self.query.items())
            and not any(key in exchange.query for key in self.without_query)
            and (self.header is None or self.header.lower() in exchange.headers)
        )

    @staticmethod
    def _has(exchange: Exchange, key: str, value: str | None) -> bool:
        return key in exchange.query and value in {None, exchange.query[key]}


Side = Literal["request", "answer"]


@dataclasses.dataclass(frozen=True, slots=True)
class Delay:
    """Forward the request only once the event is set."""

    until: threading.Event


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stall:
    """Stop moving the body of one side after some bytes, without closing, until the wire closes."""

    side: Side = "answer"
    after_bytes: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reset:
    """Reset the client's connection: ``answer`` means that the server did it, unheard."""

    side: Side = "request"


@dataclasses.dataclass(frozen=True, slots=True)
class Truncate:
    """Close the connection after some bytes of the body of one side, or reset it there."""

    after_bytes: int
    side: Side = "answer"
    by_reset: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class CutHead:
    """Reset the connection in the middle of the answer's head."""


@dataclasses.dataclass(frozen=True, slots=True)
class Gone:
    """Reset the connection and all others, and refuse new ones: for so long, or for good."""

    for_s: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Impostor:
    """Reset the connection and all others, and show another certificate to new ones."""

    certificate: Certificate


@dataclasses.dataclass(frozen=True, slots=True)
class Edit:
    """Change the body of the answer, which is held whole for it."""

    change: Callable[[bytes], bytes]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Replace:
    """Give this answer instead: with ``forward`` the server did it all the same."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    forward: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Flip:
    """Invert one bit of the byte at an offset of the payload of one side."""

    side: Side
    offset: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rewrite:
    """Change the head of the server's answer; a header set to None is removed."""

    status: int | None = None
    headers: Mapping[str, str | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class WholeObject:
    """Answer a GET of a range with 200 and the whole object, fetched as this identity."""

    owner: S3Endpoint


@dataclasses.dataclass(frozen=True, slots=True)
class Throttle:
    """Move bodies at no more than so many bytes a second.

    :param only: of one side alone; of the answer's side, its head too.
    """

    bytes_per_s: int
    only: Side | None = None


Action = (
    Delay
    | Stall
    | Reset
    | Truncate
    | CutHead
    | Gone
    | Impostor
    | Replace
    | Edit
    | Flip
    | Rewrite
    | WholeObject
    | Throttle
)


@dataclasses.dataclass(kw_only=True)
class Rule:
    """An action for the requests that match.

    ``nth`` picks one of them, counted from 1; ``times`` bounds how many get the action.
    """

    when: Predicate
    action: Action
    nth: int | None = None
    times: int | None = None
    seen: int = 0
    used: int = 0

    def applies_to(self, exchange: Exchange) -> bool:
        """Count the request if it matches, and return whether the action is for it."""
        if not self.when(exchange):
            return False
        self.seen += 1
        if self.nth is not None and self.seen != self.nth:
            return False
        if self.times is not None and self.used >= self.times:
            return False
        self.used += 1
        return True


def parse_target(target: str) -> tuple[str, dict[str, str]]:
    """Split the target of a request into the path as sent and the decoded query."""
    path, _, query = target.partition("?")
    return path, dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
