"""Requests as they would be sent, to whatever host: caught in the client, answered by script."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

Answer = tuple[int, Mapping[str, str], bytes]
Say = Callable[[AWSPreparedRequest], Answer]


class _Body(io.BytesIO):
    """What botocore reads an answer from."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        """Yield all."""
        while piece := self.read():
            yield piece


@dataclass(frozen=True, slots=True)
class Sent:
    """A request; headers by lower-case name."""

    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def region(self) -> str:
        """The region that it is signed for."""
        return self.headers["authorization"].partition("Credential=")[2].split("/")[2]


class Captured:
    """Answers all requests of a client, which reach no network."""

    def __init__(self, client: S3Client, say: Say) -> None:
        self.requests: list[Sent] = []
        self._say = say
        events: Any = client.meta.events
        events.register("before-send.s3", self._take)

    @property
    def sent(self) -> Sent:
        """The last request."""
        return self.requests[-1]

    def _take(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        parts = urlsplit(request.url)
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        self.requests.append(
            Sent(str(request.method), parts.netloc, parts.path, parts.query, headers)
        )
        status, said, body = self._say(request)
        given: Any = dict(said)
        return AWSResponse(request.url, status, given, _Body(body))


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def sent_directly(place: Any, head: bytes) -> Sent:
    """Return a request that is made past botocore, of where it goes and its head."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    parts = urlsplit(target)
    host = urlsplit(place.url).netloc
    assert headers["host"] == host.removesuffix(":443")
    return Sent(method, headers["host"], parts.path, parts.query, headers)
