"""Between parameters and headers of the calls that carry an object's bytes, by botocore's model.

What botocore makes of such a call's parameters is headers and a query, and of an answer's headers
parameters again. The names are read from the model that botocore ships, once; so that a header is
never called otherwise here than there. Bodies, and answers that are documents, are no part of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from botocore.utils import parse_timestamp

if TYPE_CHECKING:
    from botocore.model import OperationModel, StructureShape

_KEY_SAFE: Final = "/~"
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9/~_.\-]*")
_QUERY_SAFE: Final = "-_.~"
# Those that stand in the URL, or in no header.
_APART: Final = frozenset({"Bucket", "Key", "Body", "ContentLength"})


@lru_cache(maxsize=4096)
def _moment(text: str) -> object:
    """Return a header's time, ``None`` if it is none that HTTP knows (botocore would fail)."""
    try:
        return parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        pass
    try:
        # There are services that write other forms, which botocore knows.
        return parse_timestamp(text)
    except (ValueError, OverflowError, RuntimeError):
        return None


_READ: Final[Mapping[str, Callable[[str], object]]] = {
    "integer": int,
    "long": int,
    "boolean": lambda text: text.lower() == "true",
    "timestamp": _moment,
}


@dataclass(frozen=True, slots=True)
class _Answered:
    name: str
    read: Callable[[str], object] | None


class Shapes:
    """The names of one operation's parameters on the wire.

    :raises KeyError: from its methods, for a parameter that the operation does not have.
    """

    def __init__(self, model: OperationModel) -> None:
        self.method: str = str(model.http["method"])
        self._in_query: dict[str, str] = {}
        self._in_headers: dict[str, str] = {}
        self._metadata: tuple[str, str] | None = None
        self._read_asked(model.input_shape)
        self._answered: dict[str, _Answered] = {}
        self._answered_metadata: tuple[str, str] | None = None
        self._read_answered(model.output_shape)

    def _read_asked(self, shape: StructureShape | None) -> None:
        for name, member in shape.members.items() if shape else ():
            place, wire = _placed(member)
            if place == "querystring":
                self._in_query[name] = wire
            elif place == "header":
                self._in_headers[name] = wire.lower()
            elif place == "headers":
                self._metadata = name, wire.lower()

    def _read_answered(self, shape: StructureShape | None) -> None:
        for name, member in shape.members.items() if shape else ():
            place, wire = _placed(member)
            if place == "header":
                self._answered[wire.lower()] = _Answered(name, _READ.get(member.type_name))
            elif place == "headers":
                self._answered_metadata = name, wire.lower()

    def headers(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Return the headers that parameters make, by lower-case name."""
        made: dict[str, str] = {}
        for name, value in parameters.items():
            if name in self._in_headers:
                made[self._in_headers[name]] = value if isinstance(value, str) else _written(value)
            elif self._metadata and name == self._metadata[0]:
                made.update({self._metadata[1] + key.lower(): text for key, text in value.items()})
            elif name not in self._in_query and name not in _APART:
                raise KeyError(name)
        return made

    def query(self, parameters: Mapping[str, Any]) -> str:
        """Return the query that parameters make, sorted by name."""
        if self._in_query.keys().isdisjoint(parameters):
            return ""
        pairs = [
            f"{wire}={quote(str(parameters[name]), safe=_QUERY_SAFE)}"
            for name, wire in self._in_query.items()
            if name in parameters
        ]
        return "&".join(sorted(pairs))

    def answer(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return what an answer's headers say, as botocore would."""
        found: dict[str, Any] = {}
        metadata: dict[str, str] = {}
        answered, (name, prefix) = self._answered, self._answered_metadata or ("", "")
        for header, text in headers.items():
            member = answered.get(header)
            if member is not None:
                found[member.name] = member.read(text) if member.read else text
            if prefix and header.startswith(prefix):
                metadata[header[len(prefix) :]] = text
        if prefix:
            found[name] = metadata
        return found


def _written(value: object) -> str:
    """Return a value as botocore writes it into a header."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _placed(member: Any) -> tuple[str, str]:  # noqa: ANN401 - botocore's shapes
    given = member.serialization
    return given.get("location", ""), given.get("name", "")


def quoted_key(key: str) -> str:
    """Return a key as it stands in a URL, like botocore writes it."""
    return key if _PLAIN_KEY.fullmatch(key) else quote(key, safe=_KEY_SAFE)
