"""``ServerSide``: the part of a store that lets its service copy objects by itself.

It is the second half of the contract in ``storage.base``, and optional. No byte passes through this
process: the service reads the origin, with the credentials of the store that is written to, and
writes the copy. What every such part promises:

* Every copy names its origin by its identity; the service refuses to copy another object.
* Whether the service copies at all, and whether the credentials reach that far, is found out by
  asking, and never taken from a name.
* The rest is as in ``storage.base``: what a call raises, and that nothing is repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from airflow_provider_s3resume.exceptions import UnsupportedError

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.objects import ByteRange, ObjectInfo, SourceIdentity
    from airflow_provider_s3resume.storage.base import Condition, NewUpload, Written


class TakenForPutError(UnsupportedError):
    """A service that knows nothing of copies took one for a PutObject: of no bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The object that a service is to copy, in whatever bucket of that service it is.

    :param owner: account that its bucket has to belong to; the service refuses others.
    """

    bucket: str
    key: str
    identity: SourceIdentity
    owner: str | None = None


class ServerSide(Protocol):
    """See the module's docstring for what all methods promise."""

    def look_at(self, origin: Origin) -> ObjectInfo:
        """Return the headers of an origin, as this store's credentials get them.

        :raises AccessDeniedError: if they may not read it.
        :raises ObjectNotFoundError: if there is no such object for them.
        """

    def copy_object(
        self, key: str, origin: Origin, *, upload: NewUpload, condition: Condition | None
    ) -> Written:
        """Write an object that has the origin's bytes, and of the rest what ``upload`` says.

        :param upload: its ``algorithm`` is that of the checksum that the service computes.
        :raises PreconditionFailedError: if the origin is another object by now, or ``condition``
            does not hold; a service does not say which.
        :raises ObjectNotFoundError: if the origin is gone, or nothing is there that ``condition``
            could hold for.
        :raises TakenForPutError: if the answer names no copy: look at what was written then.
        """

    def copy_part(
        self, key: str, upload_id: str, part_number: int, origin: Origin, byte_range: ByteRange
    ) -> Written:
        """Make a part of an upload out of a range of the origin.

        :returns: the part's ETag, and the checksum that the upload was begun with, where the
            service computes it.
        :raises PreconditionFailedError, ObjectNotFoundError: if the origin is not that object.
        :raises UploadNotFoundError: if the upload is gone.
        """


def server_side_of(store: object) -> ServerSide | None:
    """Return a store's part for copies by its service, ``None`` if it has none."""
    found: ServerSide | None = getattr(store, "server_side", None)
    return found


def owner_of(store: object) -> str | None:
    """Return the account that a store's bucket has to belong to, ``None`` if none is named."""
    found: str | None = getattr(store, "bucket_owner", None)
    return found
