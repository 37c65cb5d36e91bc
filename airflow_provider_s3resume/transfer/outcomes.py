"""What became of one object: the lines that a batch stores and that verify and report read."""

from __future__ import annotations

import enum
from dataclasses import MISSING, dataclass, fields
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.exceptions import ManifestError
from airflow_provider_s3resume.plan.manifest import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Status(enum.Enum):
    """The end of one object's copy.

    ``ALREADY_THERE``: an earlier attempt, or another worker, had landed it. ``GONE``: the source
    object was deleted after the plan was made.
    """

    COPIED = "copied"
    ALREADY_THERE = "already_there"
    GONE = "gone"
    FAILED = "failed"


class Proof(enum.Enum):
    """How a landed object was proven equal to its source, strongest first.

    ``ETAG``: both services' own MD5s, over the same part layout. ``CRC64``: the CRC-64 that Alibaba
    Cloud OSS vouches for the whole object with, over the very bytes that the target's service
    checked by a checksum of its own when it took them. ``CHECKSUM``: full-object checksums of
    both. ``MD5``: the MD5 that the source's ETag is, over bytes that were read a second time and
    compared with those that were sent, or the MD5s that it is or is made of, over a file that was
    read back. ``PARTS``: size, and a digest of every part that the target's service checked when it
    took the part. ``SERVICE``: size, and the word of the service that it copied the very object
    named, where nothing that it shows of the two can be compared. ``NONE``: nothing could be
    compared.
    """

    ETAG = "etag"
    CRC64 = "crc64"
    CHECKSUM = "checksum"
    MD5 = "md5"
    PARTS = "parts"
    SERVICE = "copied_by_service"
    NONE = "none"


LANDED = frozenset({Status.COPIED, Status.ALREADY_THERE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One object's line.

    :param source_etag: of the object that was really copied.
    :param target_etag: of the object that is at the target now.
    :param sent_parts: parts sent by this attempt (1 for a single PUT).
    :param kept_parts: parts of earlier attempts that were not sent again.
    :param reread_parts: kept parts whose source range was read again to prove them.
    :param bytes_moved: bytes sent by this attempt.
    :param unprotected: the target could not make the write conditional on what the plan saw.
    :param by_service: the target's service copied it by itself.
    :param notes: what the target could not hold, why a layout was not reproduced, and the like.
    :param checkpointed: a checkpoint stands until this line is written.
    :param superseded: ids of uploads that were given up on the way.
    :param error: only if failed; ``error_kind`` is the class, ``retryable`` its verdict.
    """

    key: str
    target_key: str
    status: Status
    size: int
    source_etag: str | None = None
    target_etag: str | None = None
    proof: Proof = Proof.NONE
    sent_parts: int = 0
    kept_parts: int = 0
    reread_parts: int = 0
    bytes_moved: int = 0
    unprotected: bool = False
    by_service: bool = False
    checkpointed: bool = False
    superseded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None
    error_kind: str | None = None
    retryable: bool = False

    def to_line(self) -> str:
        """Return the JSON line, with its newline."""
        # As ``dumps`` writes it. There is a line for each small object, and a general encoder takes
        # as long for one as the network does.
        if _USUALLY_SAME(self) == _USUAL:
            line, values = _USUAL_LINE, _OTHERS(self)
        elif self.by_service:
            line, values = _SERVICE_LINE, _SERVICE_VALUES(self)
        else:
            line, values = _LINE, _VALUES(self)
        return line % tuple([_WRITERS.get(type(value), dumps)(value) for value in values])

    @classmethod
    def from_line(cls, line: str | bytes) -> Outcome:
        """Read a line.

        :raises ManifestError: if it is damaged.
        """
        data: dict[str, Any] = loads(line, what="outcome line")
        try:
            data["status"], data["proof"] = Status(data["status"]), Proof(data["proof"])
            data["notes"] = tuple(data["notes"])
            data["superseded"] = tuple(data["superseded"])
            return cls(**data)
        except (KeyError, TypeError, ValueError) as error:
            raise ManifestError(
                "outcome line", found=str(error), accepted="the fields that this version writes"
            ) from error


def _list(value: tuple[str, ...]) -> str:
    return dumps(value) if value else "[]"


def _word(value: enum.Enum) -> str:
    return _WORDS[value]


_FIELDS: Final = sorted({*Outcome.__slots__} - {"by_service"})
_VALUES: Final = attrgetter(*_FIELDS)
_SERVICE_FIELDS: Final = sorted(Outcome.__slots__)
"""Lines of objects that were relayed are as they were before services copied."""
_SERVICE_VALUES: Final = attrgetter(*_SERVICE_FIELDS)
_WORDS: Final[Mapping[enum.Enum, str]] = {
    member: encode_basestring_ascii(member.value) for member in (*Status, *Proof)
}
_WRITERS: Final[Mapping[type, Callable[[Any], str]]] = {
    str: encode_basestring_ascii,
    int: str,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    tuple: _list,
    Status: _word,
    Proof: _word,
}
"""How each kind of value is written, as ``dumps`` does."""


def _line_with(known: Mapping[str, object], names: Sequence[str] = _FIELDS) -> str:
    """Return a line in which the values of all other fields have to be put."""
    texts = {name: _WRITERS.get(type(value), dumps)(value) for name, value in known.items()}
    pairs = [f'"{name}":{texts.get(name, "%s")}' for name in names]
    return "{" + ",".join(pairs) + "}\n"


_LINE: Final = _line_with({})
_SERVICE_LINE: Final = _line_with({}, _SERVICE_FIELDS)
_DIFFERENT: Final = {"source_etag", "target_etag", "proof", "sent_parts", "bytes_moved"}
_SAME: Final = {
    field.name: field.default
    for field in fields(Outcome)
    if field.default is not MISSING and field.name not in _DIFFERENT
}
"""What is the same in nearly all outcomes of small objects."""
_USUALLY_SAME: Final = attrgetter(*_SAME)
_USUAL: Final = tuple(_SAME.values())
_USUAL_LINE: Final = _line_with(_SAME)
_OTHERS: Final = attrgetter(*[name for name in _FIELDS if name not in _SAME])
