"""What an OSS service remembers: buckets, the versions of their objects, and uploads."""

from __future__ import annotations

import base64
import bisect
import dataclasses
import itertools
import re
from collections.abc import Iterator
from typing import Literal

from tests.support.oss_content import Content, Kept
from tests.support.oss_messages import OSSError, http_date, invalid_argument, no_such_key

Kind = Literal["Normal", "Multipart", "Appendable", "Symlink"]
Restore = Literal["none", "ongoing", "restored"]
Versioning = Literal["", "Enabled", "Suspended"]

NULL_VERSION = "null"
FROZEN = ("Archive", "ColdArchive", "DeepColdArchive")
CLASSES = ("Standard", "IA", *FROZEN)
_LONGEST_KEY = 1023
_VERSION_ID = re.compile(r"CAEQ[A-Za-z0-9]{20,}")
_numbers = itertools.count(1)


@dataclasses.dataclass(kw_only=True, slots=True)
class StoredObject:
    """One version of an object, or a delete marker.

    ``headers`` are those a reader gets back: the content's description and ``x-oss-meta-…``.
    """

    key: str
    content: Content
    etag: str = ""
    kind: Kind = "Normal"
    has_crc: bool = True
    has_md5: bool = False
    modified: int = 0
    version_id: str = NULL_VERSION
    is_marker: bool = False
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    storage_class: str = "Standard"
    acl: str = "default"
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    target: str = ""
    restore: Restore = "none"
    restored_until: float = 0
    corrupted: dict[int, bool] = dataclasses.field(default_factory=dict)

    @property
    def is_frozen(self) -> bool:
        """Whether it has to be restored before it can be read."""
        return self.storage_class in FROZEN and self.restore != "restored"

    @property
    def restore_info(self) -> str:
        """What ``x-oss-restore`` says; empty if there is nothing to say."""
        if self.restore == "none":
            return ""
        if self.restore == "ongoing":
            return 'ongoing-request="true"'
        return f'ongoing-request="false", expiry-date="{http_date(self.restored_until)}"'


@dataclasses.dataclass(kw_only=True, slots=True)
class Part:
    """One uploaded part."""

    content: Kept
    has_crc: bool
    modified: int

    @property
    def etag(self) -> str:
        """The MD5 of its bytes in upper case."""
        return self.content.md5.hex().upper()


@dataclasses.dataclass(kw_only=True, slots=True)
class Upload:
    """An upload that was begun; ``sequential`` ones give objects that keep an MD5."""

    upload_id: str
    key: str
    initiated: int
    headers: dict[str, str]
    sequential: bool = False
    parts: dict[int, Part] = dataclasses.field(default_factory=dict)


class Bucket:
    """A bucket: the versions of each key, newest first, and its settings."""

    def __init__(self, name: str, owner: str, created: int) -> None:
        self.name = name
        self.owner = owner
        self.created = created
        self.acl = "private"
        self.storage_class = "Standard"
        self.versioning: Versioning = ""
        self.requester_pays = False
        self.direct_archive_read = False
        self.uploads: dict[str, Upload] = {}
        self.documents: dict[str, bytes] = {}
        self.channels: dict[str, bytes] = {}
        self._versions: dict[str, list[StoredObject]] = {}
        self._keys: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether it holds neither objects nor older versions nor delete markers."""
        return not self._keys

    def keys_from(self, start: str, *, after: bool) -> Iterator[str]:
        """Yield the keys from a place on in the order of their bytes.

        Code points sort as their UTF-8 bytes do.
        """
        find = bisect.bisect_right if after else bisect.bisect_left
        for index in range(find(self._keys, start), len(self._keys)):
            yield self._keys[index]

    def versions_of(self, key: str) -> list[StoredObject]:
        """Return all versions of a key, newest first."""
        return list(self._versions.get(key, ()))

    def current(self, key: str) -> StoredObject | None:
        """Return the newest version, be it a delete marker."""
        versions = self._versions.get(key)
        return versions[0] if versions else None

    def find(self, key: str, version_id: str | None = None) -> StoredObject:
        """Return the version to read; an OSSError if there is none or it is a marker."""
        if version_id is None:
            return self._found_current(key)
        require_version_id(version_id)
        for version in self._versions.get(key, ()):
            if version.version_id == version_id:
                if version.is_marker:
                    raise _marker_refused(version)
                return version
        words = "The specified version does not exist."
        extras = {"Key": key, "VersionId": version_id}
        raise OSSError(404, "NoSuchVersion", words, extras=extras)

    def _found_current(self, key: str) -> StoredObject:
        found = self.current(key)
        if found is None:
            raise no_such_key(key)
        if found.is_marker:
            marks = {"x-oss-delete-marker": "true", "x-oss-version-id": found.version_id}
            raise no_such_key(key, marks)
        return found

    def store(self, made: StoredObject) -> StoredObject:
        """Make an object the current version, as the bucket's versioning has it."""
        versions = self._versions.setdefault(made.key, [])
        if not versions:
            bisect.insort(self._keys, made.key)
        if self.versioning == "Enabled":
            made.version_id = _new_version_id()
        else:
            made.version_id = NULL_VERSION
            versions[:] = [v for v in versions if v.version_id != NULL_VERSION]
        versions.insert(0, made)
        return made

    def delete(self, key: str, version_id: str | None, now: int) -> StoredObject | None:
        """Delete a version, or the object; return what was removed, or the marker made."""
        if version_id is not None:
            require_version_id(version_id)
            return self._remove(key, version_id)
        if not self.versioning:
            return self._remove(key, NULL_VERSION)
        marker = StoredObject(key=key, content=Kept.of(b""), is_marker=True, modified=now)
        return self.store(marker)

    def _remove(self, key: str, version_id: str) -> StoredObject | None:
        versions = self._versions.get(key, [])
        for index, version in enumerate(versions):
            if version.version_id == version_id:
                del versions[index]
                break
        else:
            return None
        if not versions:
            del self._versions[key]
            del self._keys[bisect.bisect_left(self._keys, key)]
        return version

    def shown_version(self, version: StoredObject) -> dict[str, str]:
        """Return the header with a version's id, which an unversioned bucket does not send."""
        return {"x-oss-version-id": version.version_id} if self.versioning else {}


def _new_version_id() -> str:
    text = base64.b64encode(f"version {next(_numbers):020d} of the test server".encode())
    return "CAEQ" + text.decode().rstrip("=")


def require_version_id(version_id: str) -> None:
    """Raise InvalidArgument for what cannot be the id of a version."""
    if version_id != NULL_VERSION and not _VERSION_ID.fullmatch(version_id):
        raise invalid_argument("Invalid version id specified", "versionId", version_id)


def _marker_refused(marker: StoredObject) -> OSSError:
    return OSSError(
        405,
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        extras={"Method": "GET", "ResourceType": "DeleteMarker"},
        headers={"x-oss-delete-marker": "true", "x-oss-version-id": marker.version_id},
    )


def require_key(key: str) -> None:
    """Raise InvalidObjectName for a key that OSS does not take."""
    if not 1 <= len(key.encode()) <= _LONGEST_KEY or key[0] in "/\\":
        words = "The specified object is not valid."
        raise OSSError(400, "InvalidObjectName", words, extras={"ObjectName": key})
