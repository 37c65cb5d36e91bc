"""The state of the OSS test server, with a direct way in for tests: special objects and damage."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from tests.support.oss_content import Content, Kept, Synthetic
from tests.support.oss_messages import NOTHING, OSSError, no_such_bucket
from tests.support.oss_model import Bucket, StoredObject, Upload, require_key
from tests.support.oss_options import apply_options

OWNER = "1000000000000001"
_PART_OF_SYNTHETIC = 64 * 1024 * 1024
_KEPT_HEADERS = {
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-oss-server-side-encryption",
    "x-oss-server-side-data-encryption",
    "x-oss-server-side-encryption-key-id",
}


def lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what of a request's headers an object keeps and gives back."""
    kept = {
        name: value
        for name, value in lower_names(headers).items()
        if name in _KEPT_HEADERS or name.startswith("x-oss-meta-")
    }
    if kept.get("x-oss-server-side-encryption") == "KMS":
        kept.setdefault("x-oss-server-side-encryption-key-id", "tests-default-key")
    return {"content-type": "application/octet-stream", **kept}


def multipart_etag(part_etags: Sequence[str]) -> str:
    """Return the ETag of parts with these: the MD5 of their hexadecimal texts in a row."""
    joined = "".join(etag.upper() for etag in part_etags).encode()
    return f"{_md5(joined)}-{len(part_etags)}"


def append_etag(content: Content) -> str:
    """Return the ETag of an appendable object: no hash of the bytes alone, and new each time."""
    return _md5(f"{content.crc64} {content.size}".encode())[:24] + "00000000"


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().upper()


class OSSState:
    """All buckets. ``clock`` may be replaced, to let credentials and URLs expire."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.address = ""
        self.buckets: dict[str, Bucket] = {}
        self.lock = threading.RLock()
        self.clock: Callable[[], float] = time.time
        self._numbers = itertools.count(1)

    @property
    def now(self) -> int:
        """The time in whole seconds, as fine as OSS knows it."""
        return int(self.clock())

    def bucket(self, name: str) -> Bucket:
        """Return a bucket; NoSuchBucket if there is none."""
        if name not in self.buckets:
            raise no_such_bucket(name)
        return self.buckets[name]

    def create_bucket(
        self,
        name: str,
        *,
        versioned: bool = False,
        direct_archive_read: bool = False,
        owner: str = OWNER,
    ) -> None:
        """Make a bucket, or change the settings of the one that is there."""
        with self.lock:
            bucket = self.buckets.setdefault(name, Bucket(name, owner, self.now))
            bucket.direct_archive_read = direct_archive_read
            if versioned:
                bucket.versioning = "Enabled"

    def store(self, bucket: str, made: StoredObject) -> str:
        """Make an object the current version and return its ETag."""
        require_key(made.key)
        with self.lock:
            made.modified = made.modified or self.now
            return self.bucket(bucket).store(made).etag

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        headers: Mapping[str, str] = NOTHING,
        crc: bool = True,
        opaque_etag: bool = False,
    ) -> str:
        """Store a Normal object; without ``crc`` it is one from before OSS had checksums.

        With ``opaque_etag`` it was made in a way that gives no MD5: its ETag only looks like one.
        """
        made = normal_object(key, Kept.of(data), headers, has_crc=crc)
        if opaque_etag:
            made.etag, made.has_md5 = _md5(b"made in another way: " + data), False
        apply_options(self.bucket(bucket), made, lower_names(headers))
        return self.store(bucket, made)

    def put_multipart(
        self,
        bucket: str,
        key: str,
        parts: Sequence[bytes],
        *,
        headers: Mapping[str, str] = NOTHING,
        crc: bool = True,
    ) -> str:
        """Store an object as an upload of these parts would; parts may be of any size here."""
        contents = [Kept.of(part) for part in parts]
        made = StoredObject(
            key=key,
            content=Kept.joined(contents),
            kind="Multipart",
            etag=multipart_etag([content.md5.hex() for content in contents]),
            headers=kept_headers(headers),
            has_crc=crc,
        )
        apply_options(self.bucket(bucket), made, lower_names(headers))
        return self.store(bucket, made)

    def append(self, bucket: str, key: str, data: bytes, *, crc: bool = True) -> str:
        """Append to an Appendable object, or begin one; return its ETag, another each time."""
        with self.lock:
            old = self.bucket(bucket).current(key)
            content = Kept.joined([appendable_content(old), Kept.of(data)])
            made = appended(key, content, old, has_crc=crc)
            return self.store(bucket, made)

    def put_symlink(self, bucket: str, key: str, target: str) -> str:
        """Store a symbolic link; the target need not exist."""
        return self.store(bucket, symlink_object(key, target, {}))

    def put_synthetic(
        self,
        bucket: str,
        key: str,
        size: int,
        seed: int = 0,
        *,
        kind: Literal["Normal", "Multipart"] = "Normal",
    ) -> str:
        """Store an object of any size that takes no memory.

        Its CRC is right. Its ETag has the right form, but only up to 64 MiB is that of a Normal
        one the MD5 of the bytes.
        """
        content = Synthetic(size, seed)
        made_up = _md5(f"{size} {seed}".encode())
        md5 = content.md5 if kind == "Normal" else None
        parts = max(1, -(-size // max(_PART_OF_SYNTHETIC, -(-size // 10_000))))
        etag = f"{made_up}-{parts}" if kind == "Multipart" else made_up
        made = StoredObject(
            key=key,
            content=content,
            kind=kind,
            etag=md5.hex().upper() if md5 else etag,
            has_md5=md5 is not None,
            headers=kept_headers({}),
        )
        return self.store(bucket, made)

    def set_class(
        self, bucket: str, key: str, storage_class: str, *, restored: bool = False
    ) -> None:
        """Move an object to a storage class, thawed or not."""
        found = self._current(bucket, key)
        found.storage_class = storage_class
        found.restore = "restored" if restored else "none"
        found.restored_until = self.now + 86_400

    def finish_restore(self, bucket: str, key: str) -> None:
        """End the restoring that a client asked for: the object can be read."""
        found = self._current(bucket, key)
        found.restore = "restored"
        found.restored_until = self.now + 86_400

    def set_tags(self, bucket: str, key: str, tags: Mapping[str, str]) -> None:
        """Replace the tags of an object."""
        self._current(bucket, key).tags = dict(tags)

    def set_encryption(self, bucket: str, key: str, algorithm: str) -> None:
        """Let an object say that the service keeps it encrypted: ``AES256`` or ``KMS``."""
        found = self._current(bucket, key)
        found.headers = kept_headers({**found.headers, "x-oss-server-side-encryption": algorithm})

    def set_modified(self, bucket: str, key: str, at: float) -> None:
        """Let an object have been changed at this time."""
        self._current(bucket, key).modified = int(at)

    def corrupt(self, bucket: str, key: str, offset: int, *, once: bool = False) -> None:
        """Serve the byte at an offset wrongly, with the headers of the right object."""
        self._current(bucket, key).corrupted[offset] = once

    def requester_pays(self, bucket: str, on: bool = True) -> None:  # noqa: FBT001, FBT002 - a switch
        """Let other accounts pay for what they do in a bucket."""
        self.bucket(bucket).requester_pays = on

    def delete(self, bucket: str, key: str, version_id: str | None = None) -> None:
        """Delete as a client would."""
        with self.lock:
            self.bucket(bucket).delete(key, version_id, self.now)

    def new_upload(self, bucket: Bucket, key: str, headers: dict[str, str]) -> Upload:
        """Begin an upload."""
        upload_id = _md5(f"upload {next(self._numbers)}".encode())
        upload = Upload(upload_id=upload_id, key=key, initiated=self.now, headers=headers)
        bucket.uploads[upload_id] = upload
        return upload

    def _current(self, bucket: str, key: str) -> StoredObject:
        with self.lock:
            return self.bucket(bucket).find(key)


def normal_object(
    key: str, content: Content, headers: Mapping[str, str], *, has_crc: bool = True
) -> StoredObject:
    """Return a Normal object, whose ETag is the MD5 of its bytes."""
    md5 = content.md5
    return StoredObject(
        key=key,
        content=content,
        etag=md5.hex().upper() if md5 else "",
        has_md5=md5 is not None,
        headers=kept_headers(headers),
        has_crc=has_crc,
    )


def appendable_content(old: StoredObject | None) -> Kept:
    """Return the bytes that more can be appended to; ObjectNotAppendable if there cannot."""
    if old is None or old.is_marker:
        return Kept.of(b"")
    if old.kind != "Appendable" or not isinstance(old.content, Kept):
        words = "The object is not appendable"
        raise OSSError(409, "ObjectNotAppendable", words, extras={"Key": old.key})
    return old.content


def appended(
    key: str,
    content: Content,
    old: StoredObject | None,
    headers: Mapping[str, str] = NOTHING,
    *,
    has_crc: bool = True,
) -> StoredObject:
    """Return an Appendable object with all but its bytes from the old one, if there is one."""
    made = StoredObject(
        key=key,
        content=content,
        kind="Appendable",
        etag=append_etag(content),
        headers=kept_headers(headers),
        has_crc=has_crc,
    )
    if old is not None and not old.is_marker:
        made.headers, made.has_crc = old.headers, has_crc and old.has_crc
        made.storage_class, made.acl, made.tags = old.storage_class, old.acl, old.tags
    return made


def symlink_object(key: str, target: str, headers: Mapping[str, str]) -> StoredObject:
    """Return a link, which has no bytes of its own."""
    require_key(target)
    return StoredObject(
        key=key,
        content=Kept.of(b""),
        kind="Symlink",
        etag=_md5(target.encode()),
        headers=kept_headers(headers),
        target=target,
    )


def resolved(bucket: Bucket, found: StoredObject) -> StoredObject:
    """Return the object that a link leads to, or the object itself."""
    if found.kind != "Symlink":
        return found
    target = bucket.current(found.target)
    if target is None or target.is_marker:
        words = "The symlink target object does not exist."
        raise OSSError(404, "SymlinkTargetNotExist", words, extras={"Key": found.target})
    if target.kind == "Symlink":
        words = "The symlink target object is a symlink."
        raise OSSError(400, "InvalidTargetType", words, extras={"Key": found.target})
    return target
