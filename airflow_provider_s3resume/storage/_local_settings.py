"""What a folder is used for, and how."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from airflow_provider_s3resume.exceptions import InvalidInputError

LOCAL_FIELDS: Final = frozenset({"directory_markers", "guess_content_type", "inodes", "symlinks"})
"""Fields of a connection that are read here."""


class Symlinks(enum.Enum):
    """What is done about links in a folder that is read.

    ``REPORT``: skipped, and named in the report. ``FOLLOW``: what they lead to is read, if it lies
    in the folder of the connection. ``FAIL``: each is refused by name.
    """

    REPORT = "report"
    FOLLOW = "follow"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How a folder is used.

    :param writes: it is written to; one that is only read has to be there.
    :param symlinks: in a folder that is read; none is ever written through.
    :param directory_markers: each directory is an object of no bytes whose key ends with a slash.
    :param guess_content_type: objects have the content type that the end of their name tells.
    :param inodes: inode numbers are the same whenever, and from wherever, they are asked for.
    """

    writes: bool = False
    symlinks: Symlinks = Symlinks.REPORT
    directory_markers: bool = False
    guess_content_type: bool = False
    inodes: bool = True


def local_settings_from_extra(
    extra: Mapping[str, object], subject: str, *, writes: bool
) -> LocalSettings:
    """Read the settings of a connection.

    :param subject: how errors call the connection.
    :raises InvalidInputError: naming the field.
    """
    words = {one.value: one for one in Symlinks}
    word = extra.get("symlinks", Symlinks.REPORT.value)
    if word not in words:
        accepted = " or ".join(repr(one) for one in words)
        raise InvalidInputError(f"extra 'symlinks' of {subject}", found=word, accepted=accepted)
    return LocalSettings(
        writes=writes,
        symlinks=words[str(word)],
        directory_markers=_flag(extra, "directory_markers", subject, default=False),
        guess_content_type=_flag(extra, "guess_content_type", subject, default=False),
        inodes=_flag(extra, "inodes", subject, default=True),
    )


def _flag(extra: Mapping[str, object], name: str, subject: str, *, default: bool) -> bool:
    found = extra.get(name, default)
    if not isinstance(found, bool):
        field = f"extra {name!r} of {subject}"
        raise InvalidInputError(field, found=found, accepted="true or false")
    return found
