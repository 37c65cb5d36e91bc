"""Which keys a tree of files can hold, and which of them cannot be there together (c04, c43).

Source of the rules: POSIX.1, "Pathname Resolution"; a name has at most 255 bytes on the file
systems of Linux (``NAME_MAX``).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

PARTS_FOLDER = ".s3resume-parts"
"""Where a folder that is written to keeps unfinished files; never data."""

_NAMELESS = frozenset({"", ".", ".."})


class KeyFault(enum.Enum):
    """Why a tree of files cannot hold an object under its key.

    ``NOT_KEPT``: no file can have that name (empty, ``.`` or ``..`` segments, NUL, bytes behind a
    trailing slash). ``TOO_LONG``: a segment is. ``RESERVED``: it would lie among our own unfinished
    files. ``MARKER``: it stands for a directory, and these are not asked for.
    """

    NOT_KEPT = "not_kept"
    TOO_LONG = "too_long"
    RESERVED = "reserved"
    MARKER = "marker"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTree:
    """What a store says of itself whose keys are paths in a tree of files.

    :param max_segment_bytes: UTF-8 bytes between two slashes.
    :param directory_markers: objects of no bytes whose key ends with a slash are directories.
    """

    max_segment_bytes: int = 255
    directory_markers: bool = False

    def fault(self, key: str, size: int) -> KeyFault | None:
        """Return why an object of ``size`` bytes cannot be held, ``None`` if it can."""
        is_marker = key.endswith("/")
        segments = key.removesuffix("/").split("/")
        # Lone surrogates are what names that are no UTF-8 become: they are in no bucket.
        if "\0" in key or not _NAMELESS.isdisjoint(segments) or _has_surrogates(key):
            return KeyFault.NOT_KEPT
        if any(len(segment.encode()) > self.max_segment_bytes for segment in segments):
            return KeyFault.TOO_LONG
        if PARTS_FOLDER in segments:
            return KeyFault.RESERVED
        if is_marker and size:
            return KeyFault.NOT_KEPT
        return KeyFault.MARKER if is_marker and not self.directory_markers else None


def _has_surrogates(key: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in key)


class TreeWatch:
    """Watches keys go by in order for a file and one that would lie under it.

    Between ``a`` and ``a/b`` any number of keys may come (``a-1``), but all of them begin with
    ``a``: what is held are keys that begin one another.
    """

    def __init__(self) -> None:
        self._files: list[str] = []

    def parent_of(self, key: str) -> str | None:
        """Return the file that ``key`` would lie under, ``None`` if there is none.

        Keys have to come in the order of their UTF-8 bytes.
        """
        while self._files and not key.startswith(self._files[-1]):
            self._files.pop()
        found = next((file for file in self._files if key[len(file) :].startswith("/")), None)
        if not key.endswith("/"):
            self._files.append(key)
        return found
