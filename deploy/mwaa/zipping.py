"""Zip files whose bytes depend on nothing but what is in them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644


def write_zip(target: Path, members: Mapping[str, bytes], *, compress: bool = False) -> None:
    """Write a zip file: members by name, no dates, the same mode for all.

    :param compress: makes it smaller, and its bytes depend on the release of zlib.
    """
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", method) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = method
            info.create_system = 3  # Unix, whatever made it: else the mode means nothing.
            info.external_attr = _MODE << 16
            archive.writestr(info, members[name])


def read_zip(source: Path) -> dict[str, bytes]:
    """Return the members of a zip file."""
    with zipfile.ZipFile(source) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def bundle(target: Path, files: list[Path]) -> None:
    """Write a zip file of files, without their folders; wheels are compressed already."""
    write_zip(target, {file.name: file.read_bytes() for file in files})
