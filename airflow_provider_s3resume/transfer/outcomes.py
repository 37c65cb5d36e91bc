"""What became of one object: the lines that a batch stores and that verify and report read."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from airflow_provider_s3resume.exceptions import ManifestError
from airflow_provider_s3resume.plan.manifest import dumps, loads


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
    compared with those that were sent. ``PARTS``: size, and a digest of every part that the
    target's service checked when it took the part. ``NONE``: nothing could be compared.
    """

    ETAG = "etag"
    CRC64 = "crc64"
    CHECKSUM = "checksum"
    MD5 = "md5"
    PARTS = "parts"
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
        fields = ",".join([start + _json(getattr(self, name)) for name, start in _FIELDS])
        return f"{{{fields}}}\n"

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


_FIELDS: Final = tuple((name, f'"{name}":') for name in sorted(Outcome.__slots__))


def _json(value: object) -> str:
    """Return a field's value as ``dumps`` writes it."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, enum.Enum):
        return encode_basestring_ascii(value.value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else dumps(value)
