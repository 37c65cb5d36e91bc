"""The listing of a folder: ordered by the keys' bytes, in bounded memory, complete or an error.

Sorted one directory at a time, a directory by its name with a slash behind it: that is where its
keys stand (``a.txt`` before ``a/b``, ``a-`` before both). Nothing is held but the names of the
directories on the way down, and of one with very many of them only so many.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from airflow_provider_s3resume.exceptions import ListingError
from airflow_provider_s3resume.plan.file_keys import PARTS_FOLDER
from airflow_provider_s3resume.plan.objects import (
    Hindrance,
    KeyRange,
    ListedObject,
    key_bytes,
    object_uri,
)
from airflow_provider_s3resume.storage._local_area import is_ours
from airflow_provider_s3resume.storage._local_paths import (
    Tree,
    etag_of,
    open_inside,
    segments_below,
)
from airflow_provider_s3resume.storage._local_settings import LocalSettings, Symlinks
from airflow_provider_s3resume.storage.sorting import RECORDS_IN_MEMORY, sort_listing

MARKER_ETAG: Final = "d"
"""Of a directory: what is in it does not make it another one."""

_LINKED: Final = {
    Symlinks.REPORT: Hindrance.SYMLINK,
    Symlinks.FAIL: Hindrance.REFUSED_SYMLINK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a walk is asked for.

    :param base: what all keys begin with: the folder's own path.
    """

    base: str
    prefix: str
    key_range: KeyRange

    def may_hold(self, folder: str) -> bool:
        """Tell whether a directory, whose key ends with a slash, may hold a key that is wanted."""
        if not folder.startswith(self.prefix) and not self.prefix.startswith(folder):
            return False
        start, raw = key_bytes(self.key_range.start or ""), key_bytes(folder)
        return raw >= start or start.startswith(raw)

    def has(self, key: str) -> bool:
        """Tell whether a key is wanted."""
        return key.startswith(self.prefix) and self.key_range.contains(key)

    def is_behind(self, key: str) -> bool:
        """Tell whether neither a key nor any that follows is wanted."""
        stop = self.key_range.stop
        return stop is not None and key_bytes(key) >= key_bytes(stop)


@dataclass(slots=True, kw_only=True)
class _Level:
    """A directory that the walk is in.

    :param path: without links, for looking where links lead.
    :param names: what it holds, in order; only key and hindrance are known yet.
    """

    fd: int
    key: str
    path: str
    place: tuple[int, int]
    names: Generator[ListedObject]

    def close(self) -> None:
        self.names.close()
        os.close(self.fd)


class Walk:
    """One listing of a tree.

    :param records_in_memory: names of one directory that are held at once.
    """

    def __init__(
        self,
        tree: Tree,
        settings: LocalSettings,
        wanted: Wanted,
        records_in_memory: int = RECORDS_IN_MEMORY,
    ) -> None:
        self._tree = tree
        self._settings = settings
        self._wanted = wanted
        self._records = records_in_memory
        self._levels: list[_Level] = []
        # No link in a folder that is written to is ever followed.
        self._symlinks = Symlinks.REPORT if settings.writes else settings.symlinks

    def objects(self) -> Iterator[ListedObject]:
        """Yield the objects, in order.

        :raises OSError: if a part of the tree cannot be read.
        :raises ListingError: if it changes so that it cannot be listed.
        """
        try:
            fd = self._tree.open_folder()
        except FileNotFoundError:
            return  # To be made; where it has to be there, that is another error.
        try:
            self._enter(fd, self._wanted.base, self._tree.path)
            while self._levels:
                found = next(self._levels[-1].names, None)
                if found is None:
                    self._levels.pop().close()
                    continue
                if self._wanted.is_behind(found.key):
                    return
                listed = self._folder(found) if found.key.endswith("/") else self._file(found)
                if listed is not None and self._wanted.has(listed.key):
                    yield listed
        finally:
            for level in self._levels:
                level.close()

    def _enter(self, fd: int, key: str, path: str) -> None:
        """Go on in a directory."""
        found = os.fstat(fd)
        place = (found.st_dev, found.st_ino)
        # Its names are read only when the first of them is wanted.
        names = sort_listing(self._names(fd, key, path), self._records)
        self._levels.append(_Level(fd=fd, key=key, path=path, place=place, names=names))

    def _names(self, fd: int, key: str, path: str) -> Iterator[ListedObject]:
        with os.scandir(fd) as entries:
            for entry in entries:
                named = self._named(entry, key + entry.name, path)
                begins = named.key.startswith(self._wanted.prefix)
                if begins or self._wanted.prefix.startswith(named.key):
                    yield named

    def _named(self, entry: os.DirEntry[str], key: str, path: str) -> ListedObject:
        """Return what is to stand in the order: a directory's key ends with a slash."""
        named = ListedObject(key=key, size=0, etag=None, last_modified=0.0, md5_etag=False)
        if entry.is_symlink():
            return self._linked(named, f"{path}/{entry.name}")
        if entry.is_dir(follow_symlinks=False):
            return replace(named, key=key + "/")
        return named

    def _linked(self, named: ListedObject, path: str) -> ListedObject:
        hindrance = _LINKED.get(self._symlinks)
        if hindrance is not None:
            return replace(named, hindrance=hindrance)
        real = os.path.realpath(path)
        if segments_below(self._tree.root, real) is None:
            return replace(named, hindrance=Hindrance.OUTSIDE_SYMLINK)
        try:
            found = os.lstat(real)
        except OSError:
            return replace(named, hindrance=Hindrance.DANGLING_SYMLINK)
        if not stat.S_ISDIR(found.st_mode):
            return named
        # One that leads to a directory it lies in would never end.
        if (found.st_dev, found.st_ino) in {level.place for level in self._levels}:
            return replace(named, hindrance=Hindrance.DANGLING_SYMLINK)
        return replace(named, key=named.key + "/")

    def _folder(self, found: ListedObject) -> ListedObject | None:
        """Go on in a directory; return what it is as an object, if it is one."""
        level, key = self._levels[-1], found.key
        name = key[len(level.key) : -1]
        if name == PARTS_FOLDER and is_ours(level.fd, name):
            return None
        if not self._wanted.may_hold(key):
            return None
        path = f"{level.path}/{name}"
        try:
            fd = open_inside(level.fd, name)
        except FileNotFoundError:
            return None  # Deleted meanwhile, with all that was in it.
        except OSError as error:
            if not Path(path).is_symlink():
                raise self._changed(key, error) from error
            path = os.path.realpath(path)
            fd = self._tree.open_real(path)
        modified = os.fstat(fd).st_mtime
        self._enter(fd, key, path)
        if not self._settings.directory_markers:
            return None
        hindrance = None if _is_text(key) else Hindrance.UNREACHABLE_KEY
        return replace(found, etag=MARKER_ETAG, last_modified=modified, hindrance=hindrance)

    def _changed(self, key: str, error: OSError) -> OSError | ListingError:
        if isinstance(error, NotADirectoryError):
            uri = object_uri("", key, "file")
            return ListingError(f"listing of {uri}: it is no directory any more; list again")
        return error

    def _file(self, found: ListedObject) -> ListedObject | None:
        """Return what stands under a name that is none of a directory."""
        level = self._levels[-1]
        name = found.key[len(level.key) :]
        try:
            there = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
            if stat.S_ISLNK(there.st_mode) and found.hindrance is None:
                there = os.lstat(os.path.realpath(f"{level.path}/{name}"))
        except FileNotFoundError:
            return None  # Deleted meanwhile.
        if stat.S_ISDIR(there.st_mode):
            uri = object_uri("", found.key, "file")
            raise ListingError(f"listing of {uri}: it became a directory; list again")
        hindrance = found.hindrance or _hindrance_of(found.key, there)
        size = 0 if stat.S_ISLNK(there.st_mode) else there.st_size
        etag = etag_of(there, inodes=self._settings.inodes)
        return replace(
            found, size=size, etag=etag, last_modified=there.st_mtime, hindrance=hindrance
        )


def _hindrance_of(key: str, there: os.stat_result) -> Hindrance | None:
    if not stat.S_ISREG(there.st_mode):
        return Hindrance.SPECIAL_FILE
    return None if _is_text(key) else Hindrance.UNREACHABLE_KEY


def _is_text(key: str) -> bool:
    """Tell whether every name in a key is UTF-8; no bucket has a key in which one is not."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
