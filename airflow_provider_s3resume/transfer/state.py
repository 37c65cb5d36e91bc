"""The state location: where manifests, checkpoints, outcomes and reports are kept.

It carries a marker object, and is used only with it, so that a user's own keys are never taken
for state and state is never taken for data (c33).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CredentialsExpiredError,
    DigestRejectedError,
    InvalidInputError,
    ObjectNotFoundError,
    PreconditionFailedError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.manifest import dumps
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.storage.base import Condition, NewUpload
from airflow_provider_s3resume.transfer.denials import refusal_at_state
from airflow_provider_s3resume.transfer.hashing import checksum_of

if TYPE_CHECKING:
    from airflow_provider_s3resume.storage.base import ObjectStore

DEFAULT_PREFIX = ".s3resume/"
MARKER = "marker.json"
FORMAT = "airflow-provider-s3resume state"
SCHEMA = 1
_TRIES = 5
_NOT_CARRIED_OUT = (ThrottledError, CredentialsExpiredError, DigestRejectedError)
"""Refusals, which the store's layers have repeated as often as can help."""


def run_prefix(run_id: str) -> str:
    """Return where a run's records are, under the state prefix."""
    safe = "".join(c if c.isalnum() or c in "._-+=:@/" else "_" for c in run_id)[:160]
    # The state may be in a store whose keys are paths, and a run id may end in an object's key.
    segments = [s for s in safe.split("/") if s not in {"", ".", ".."}]
    # Two run ids that are made alike by this must not share a place.
    mark = hashlib.sha256(run_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"runs/{'/'.join(segments)}.{mark}"


class StateLocation:
    """A prefix in a bucket that holds our own records.

    :param prefix: ends with ``/``.
    :raises InvalidInputError: if it does not.
    """

    def __init__(self, store: ObjectStore, prefix: str = DEFAULT_PREFIX) -> None:
        if not prefix.endswith("/") or prefix.startswith("/"):
            raise InvalidInputError(
                "state_uri", found=prefix, accepted="a prefix that ends with '/', not '/' alone"
            )
        self.store = store
        self.prefix = prefix

    def ensure(self, now: float) -> None:
        """Make sure that the location is ours: write the marker, or recognise it.

        :raises InvalidInputError: if other objects are there and no marker is.
        """
        if has_marker(self.store, self.prefix):
            return
        foreign = next(iter(self.store.list_objects(self.prefix)), None)
        # Another task may have written the marker between the two requests.
        if foreign is not None and not has_marker(self.store, self.prefix):
            raise InvalidInputError(
                "state_uri",
                found=f"{self.store.bucket}/{self.prefix} holding {foreign.key!r} and no marker",
                accepted="an empty prefix, or one that this provider made; name another prefix",
            )
        marker = {"format": FORMAT, "schema": SCHEMA, "id": str(uuid.uuid4()), "created": now}
        self.write_text(MARKER, dumps(marker))

    def check_ours(self) -> None:
        """Make sure that the location is ours already; nothing is written.

        :raises InvalidInputError: if our marker is not there.
        """
        if not has_marker(self.store, self.prefix):
            raise InvalidInputError(
                "state_uri",
                found=f"{self.store.bucket}/{self.prefix} without a marker of this provider",
                accepted="the state location of a sync that has run",
            )

    def is_in(self, store: ObjectStore) -> bool:
        """Tell whether the location lies in this bucket."""
        return (self.store.service, self.store.bucket) == (store.service, store.bucket)

    def read_text(self, name: str) -> str | None:
        """Return a record's text, ``None`` if it is not there."""
        found = self.read_with_etag(name)
        return None if found is None else found[0]

    def read_with_etag(self, name: str) -> tuple[str, str | None] | None:
        """Return a record's text and ETag, ``None`` if it is not there.

        Bytes that are no UTF-8 become what no JSON reader takes: the record is then damaged, which
        its reader can say better.
        """
        data = read_all(self.store, self.prefix + name)
        return None if data is None else (data[0].decode("utf-8", "backslashreplace"), data[1])

    def write_text(self, name: str, text: str, condition: Condition | None = None) -> str | None:
        """Write a record in one request and return its ETag.

        An answer that was lost is resolved by reading the record again. Only what the store's own
        layers do not repeat is tried again here: a conditional write that did not take effect.

        :raises PreconditionFailedError: if ``condition`` does not hold.
        """
        body = text.encode("utf-8")
        for last in [False] * (_TRIES - 1) + [True]:
            try:
                return self._put(name, body, condition)
            except (PreconditionFailedError, TransientStoreError) as error:
                if isinstance(error, _NOT_CARRIED_OUT):
                    raise
                found = read_all(self.store, self.prefix + name)
                if found is not None and found[0] == body:
                    return found[1]
                if last or condition is None or not self.store.capabilities.conditional_put:
                    raise
                if not _holds(condition, found):
                    raise PreconditionFailedError(
                        "PutObject", self.prefix + name, "written by another worker meanwhile"
                    ) from None
        msg = "unreachable"
        raise AssertionError(msg)

    def delete(self, name: str) -> None:
        """Remove a record; nothing happens if it is gone.

        :raises AccessDeniedError: naming the connection; no check of a sync tries a delete.
        """
        try:
            self.store.delete_object(self.prefix + name)
        except AccessDeniedError as error:
            raise refusal_at_state(error) from error

    def _put(self, name: str, body: bytes, condition: Condition | None) -> str | None:
        capabilities = self.store.capabilities
        algorithm = next(iter(capabilities.part_checksums), None)
        written = self.store.put_object(
            self.prefix + name,
            body,
            upload=NewUpload(attributes=ContentAttributes(content_type="application/json")),
            checksum=checksum_of(algorithm, body) if algorithm else None,
            condition=condition if capabilities.conditional_put else None,
        )
        return written.etag


def _holds(condition: Condition, found: tuple[bytes, str | None] | None) -> bool:
    if found is None:
        return condition.absent
    return condition.etag is not None and condition.etag == found[1]


def has_marker(store: ObjectStore, prefix: str) -> bool:
    """Tell whether our marker stands under ``prefix`` of a bucket.

    :raises InvalidInputError: if it is a marker of another version.
    """
    data = read_all(store, prefix + MARKER)
    if data is None:
        return False
    try:
        marker = json.loads(data[0])
    except ValueError:
        return False
    if not isinstance(marker, dict) or marker.get("format") != FORMAT:
        return False
    if marker.get("schema") != SCHEMA:
        raise InvalidInputError(
            "state_uri",
            found=f"state of version {marker.get('schema')}",
            accepted=f"version {SCHEMA}; name another prefix",
        )
    return True


def read_all(store: ObjectStore, key: str) -> tuple[bytes, str | None] | None:
    """Return a small object's bytes and ETag, ``None`` if it is not there."""
    for last in [False] * (_TRIES - 1) + [True]:
        try:
            info = store.head(key)
            if info.size == 0:
                return b"", info.etag
            reader = store.open_range(key, None, info.identity())
        except ObjectNotFoundError:
            return None
        except PreconditionFailedError:
            if last:  # Replaced between the two requests.
                raise
            continue
        try:
            with reader:
                data = bytearray(info.size)
                view, filled = memoryview(data), 0
                while filled < info.size and (n := reader.readinto(view[filled:])):
                    filled += n
            return bytes(data), info.etag
        except TransientStoreError:
            if last:  # The body broke off; no layer reads it again.
                raise
    msg = "unreachable"
    raise AssertionError(msg)
