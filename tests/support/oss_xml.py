"""The XML documents of OSS, written and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from tests.support.oss_messages import OSSError, malformed_xml

# Code points for private use stand for control characters while a document is read.
_HIDDEN = {code: chr(0xE000 + code) for code in range(0x20) if code != ord("\n")}
_SHOWN = {0xE000 + code: chr(code) for code in _HIDDEN}


class Fragment:
    """Finished XML: a sequence of elements that may stand inside another."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def __add__(self, other: Fragment) -> Fragment:
        return Fragment(self.text + other.text)


def element(name: str, value: str | int | bool | Fragment = "") -> Fragment:  # noqa: FBT001 - a value
    """Return one element; booleans as ``true`` and ``false``."""
    if isinstance(value, Fragment):
        inner = value.text
    elif isinstance(value, bool):
        inner = str(value).lower()
    else:
        inner = escape(str(value))
    return Fragment(f"<{name}>{inner}</{name}>")


def elements(values: Mapping[str, str | int | bool | Fragment]) -> Fragment:
    """Return one element for each item."""
    return join(element(name, value) for name, value in values.items())


def join(fragments: Iterable[Fragment]) -> Fragment:
    """Return fragments one behind the other."""
    return Fragment("".join(fragment.text for fragment in fragments))


def document(name: str, content: Fragment) -> bytes:
    """Return a document with this root."""
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return (head + element(name, content).text).encode()


def encoded(text: str, encoding_type: str | None) -> str:
    """Return a key as a listing shows it: percent-encoded when asked so, never with a plus."""
    return quote(text, safe="/") if encoding_type == "url" else text


def parsed(body: bytes, root: str) -> ET.Element:
    """Return the root of a client's document; MalformedXML if it is not one with that root.

    Control characters, which XML forbids but clients send in keys, come back from ``text_of``.
    """
    try:
        found = ET.fromstring(body.decode().translate(_HIDDEN))  # noqa: S314 - from the tests
    except (ET.ParseError, UnicodeDecodeError) as error:
        raise malformed_xml() from error
    if found.tag != root:
        raise malformed_xml()
    return found


def text_of(parent: ET.Element, path: str) -> str:
    """Return the text of a mandatory element."""
    found = parent.find(path)
    if found is None:
        raise malformed_xml()
    return (found.text or "").translate(_SHOWN)


def error_document(error: OSSError, request_id: str, host: str) -> bytes:
    """Return the document of an error, its extras between the host and the error's number."""
    known: dict[str, str | int | bool | Fragment] = {"Code": error.code, "Message": error.message}
    known |= {"RequestId": request_id, "HostId": host, **error.extras}
    if error.ec:
        link = f"https://api.aliyun.com/troubleshoot?q={error.ec}"
        known |= {"EC": error.ec, "RecommendDoc": link}
    return document("Error", elements(known))
