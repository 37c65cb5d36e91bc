"""Finding the files of a folder by their keys: where one lies, opening it, what it is."""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path
from typing import Final

from airflow_provider_s3resume.plan.file_keys import FileTree, KeyFault
from airflow_provider_s3resume.plan.objects import ContentAttributes, ObjectInfo
from airflow_provider_s3resume.storage._local_paths import Tree, etag_of, open_file
from airflow_provider_s3resume.storage._local_settings import LocalSettings, Symlinks
from airflow_provider_s3resume.storage._local_walk import MARKER_ETAG

_NO_ATTRIBUTES: Final = ContentAttributes()


class Files:
    """The files of a folder, and its directories where these are objects.

    :param base: what all keys begin with.
    """

    def __init__(self, tree: Tree, base: str, settings: LocalSettings) -> None:
        self.rules = FileTree(directory_markers=settings.directory_markers)
        self._tree = tree
        self._base = base
        self._settings = settings

    def segments(self, key: str) -> list[str]:
        """Return the segments from the folder to what a key names.

        :raises FileNotFoundError: if no file here can have that key.
        """
        fault = self.rules.fault(key, 0)
        if fault is KeyFault.RESERVED and not self._settings.writes:
            fault = None  # Somebody else's directory of that name: ours is never listed.
        if not key.startswith(self._base) or fault is not None:
            raise FileNotFoundError(2, "no file has such a name")
        rest = key[len(self._base) :].removesuffix("/")
        return rest.split("/") if rest else []

    def open(self, key: str) -> tuple[int | None, ObjectInfo]:
        """Open a file, which the caller closes; a directory is only looked at.

        :raises OSError: if it cannot be opened, or is no file.
        """
        if is_marker(key):
            with self._tree.folder(self.segments(key)) as fd:
                return None, self._marker(key, os.fstat(fd))
        opened = self._open_plain(key)
        try:
            return opened, self._info(key, os.fstat(opened))
        except BaseException:
            os.close(opened)
            raise

    def look(self, key: str) -> ObjectInfo:
        """Return what a file, or a directory, is.

        :raises OSError: if it cannot be opened, or is no file.
        """
        opened, info = self.open(key)
        if opened is not None:
            os.close(opened)
        return info

    def _open_plain(self, key: str) -> int:
        *folders, name = self.segments(key) or [""]
        follow = not self._settings.writes and self._settings.symlinks is Symlinks.FOLLOW
        try:
            with self._tree.folder(folders) as fd:
                return open_file(fd, name)
        except OSError as error:
            if not follow or isinstance(error, PermissionError | FileNotFoundError):
                raise
        real = Path(os.path.realpath(Path(self._tree.path, *folders, name)))
        fd = self._tree.open_real(str(real.parent))
        try:
            return open_file(fd, real.name)
        finally:
            os.close(fd)

    def _info(self, key: str, found: os.stat_result) -> ObjectInfo:
        guessed = mimetypes.guess_type(key)[0] if self._settings.guess_content_type else None
        return ObjectInfo(
            key=key,
            size=found.st_size,
            etag=etag_of(found, inodes=self._settings.inodes),
            last_modified=found.st_mtime,
            attributes=ContentAttributes(content_type=guessed) if guessed else _NO_ATTRIBUTES,
            md5_etag=False,
        )

    def _marker(self, key: str, found: os.stat_result) -> ObjectInfo:
        return ObjectInfo(
            key=key, size=0, etag=MARKER_ETAG, last_modified=found.st_mtime, md5_etag=False
        )


def is_marker(key: str) -> bool:
    """Tell whether a key stands for a directory."""
    return key.endswith("/")
