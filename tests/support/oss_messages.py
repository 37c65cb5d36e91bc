"""A request as the test server understood it, the answer to it, and the errors of OSS."""

from __future__ import annotations

import dataclasses
import email.utils
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType

from tests.support.oss_content import Kept

NOTHING: Mapping[str, str] = MappingProxyType({})


class OSSError(Exception):
    """An error answer: its status, code, and message, and what its document holds besides."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        ec: str | None = None,
        extras: Mapping[str, str] = NOTHING,
        headers: Mapping[str, str] = NOTHING,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.ec = ec
        self.extras = extras
        self.headers = headers


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who sent a request; an anonymous caller has neither a key nor an account."""

    access_key_id: str | None = None
    account: str | None = None


ANONYMOUS = Caller()


@dataclasses.dataclass(kw_only=True)
class Request:
    """One request: header names are in lower case, values are latin-1, the rest is decoded."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    caller: Caller = ANONYMOUS
    operation: str = ""
    target: str = ""

    @cached_property
    def content(self) -> Kept:
        """The body as the content of an object."""
        return Kept.of(self.body)

    def header_or_query(self, name: str) -> str | None:
        """Return a parameter that may stand in either place."""
        return self.headers.get(name, self.query.get(name))


@dataclasses.dataclass(kw_only=True)
class Body:
    """A body that is sent piece by piece; its pieces make ``length`` bytes."""

    length: int
    pieces: Iterator[memoryview]


@dataclasses.dataclass(kw_only=True)
class Answer:
    """What the server says; without ``length_known`` the body goes out in chunks."""

    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | Body = b""
    length_known: bool = True


def xml_answer(
    document: bytes, *, status: int = 200, headers: Mapping[str, str] = NOTHING
) -> Answer:
    """Return an answer with an XML document."""
    return Answer(
        status=status, headers={"Content-Type": "application/xml", **headers}, body=document
    )


def http_date(at: float) -> str:
    """Return a time as HTTP headers have it."""
    return email.utils.formatdate(at, usegmt=True)


def from_http_date(text: str) -> float | None:
    """Return the time behind an HTTP date, or None if it is none."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError):
        return None


def iso_date(at: float) -> str:
    """Return a time as OSS writes it in documents: whole seconds, and zeroes behind the point."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))


def invalid_argument(message: str, name: str = "", value: str = "", **more: str) -> OSSError:
    """Return the error for a parameter that cannot be."""
    extras = {"ArgumentName": name, "ArgumentValue": value} if name else {}
    return OSSError(400, "InvalidArgument", message, extras=extras, ec=more.get("ec"))


def malformed_xml() -> OSSError:
    """Return the error for a document that is not what the operation takes."""
    words = "The XML you provided was not well-formed or did not validate against our schema."
    return OSSError(400, "MalformedXML", words)


def access_denied(message: str, ec: str | None = None) -> OSSError:
    """Return the refusal of a caller."""
    return OSSError(403, "AccessDenied", message, ec=ec)


def no_such_bucket(name: str) -> OSSError:
    """Return the error for a bucket that is not."""
    words = "The specified bucket does not exist."
    return OSSError(404, "NoSuchBucket", words, ec="0015-00000101", extras={"BucketName": name})


def no_such_key(key: str, headers: Mapping[str, str] = NOTHING) -> OSSError:
    """Return the error for an object that is not."""
    words = "The specified key does not exist."
    extras = {"Key": key}
    return OSSError(404, "NoSuchKey", words, ec="0026-00000001", extras=extras, headers=headers)
