"""One call to OSS: its common parts, its errors, and answers in our own terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import oss2

from airflow_provider_s3resume.exceptions import (
    ListingError,
    RangeMismatchError,
    TransientStoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.archives import ARCHIVE_CLASSES, has_restored_copy
from airflow_provider_s3resume.plan.objects import (
    ByteRange,
    Hindrance,
    ListedObject,
    SourceIdentity,
    object_uri,
)
from airflow_provider_s3resume.storage._headers import bare
from airflow_provider_s3resume.storage._listing import ObjectPage
from airflow_provider_s3resume.storage._oss_errors import translated
from airflow_provider_s3resume.storage._oss_headers import (
    LINK_TYPE,
    PLAIN_TYPE,
    Answer,
    read_headers,
    size_of,
    version_parameters,
    whole_size,
)
from airflow_provider_s3resume.storage._pace import Awaited, awaiting

SCHEME: Final = "oss"
_FIRST_BYTE: Final = ByteRange(start=0, stop=1)
_PARTIAL: Final = 206
_UNREACHABLE: Final = frozenset({".", ".."})


def unreachable(key: str) -> bool:
    """Tell whether no request of the SDK can name a key.

    requests takes ``.`` and ``..`` for steps in a path and leaves them out; what arrives is a
    request for the bucket, whose signature is wrong. In other keys the slashes are encoded, so
    that their dots are none.
    """
    return key in _UNREACHABLE


class Calls:
    """Makes calls on one bucket of oss2."""

    def __init__(self, bucket: oss2.Bucket, *, request_payer: bool, md5_etags: bool = True) -> None:
        self._bucket = bucket
        self._md5_etags = md5_etags
        self.name: str = bucket.bucket_name
        self.payer = {"x-oss-request-payer": "requester"} if request_payer else {}

    def subject(self, key: str = "") -> str:
        """Return the bucket or object as it is named in messages."""
        return object_uri(self.name, key, SCHEME)

    def head(self, key: str, version_id: str | None) -> Answer:
        """Ask for the headers of an object."""
        operation = "HeadObject"
        with awaiting(Awaited.SMALL), translated(operation, self.subject(key)):
            answer = self._do(operation, "HEAD", key, {}, version_parameters(version_id))
            # It has no body, but the connection is in use until that was seen.
            answer.read()
        return self._answer(operation, key, answer)

    def open(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> tuple[Answer, int, Any]:
        """Ask for a range of exactly this object.

        :returns: the answer, its status, and urllib3's response with the body unread.
        """
        operation = "GetObject"
        headers = read_headers(byte_range, identity)
        parameters = version_parameters(identity.version_id)
        with translated(operation, self.subject(key)):
            answer = self._do(operation, "GET", key, headers, parameters)
        return self._answer(operation, key, answer), int(answer.status), answer.response.raw

    def end_of_link(self, key: str, version_id: str | None) -> tuple[Answer, int]:
        """Ask for the first byte of what a link leads to.

        HEAD gives some headers of the link instead: which of the two is documented for few.

        :returns: the answer, and the size of the whole.
        """
        identity = SourceIdentity(etag=None, size=0, version_id=version_id)
        try:
            answer, status, raw = self.open(key, _FIRST_BYTE, identity)
        except RangeMismatchError:
            # Nothing has no first byte.
            answer, status, raw = self.open(key, None, identity)
        try:
            size = whole_size(answer, ranged=status == _PARTIAL)
            with translated(answer.operation, answer.subject):
                _give_back(raw, size_of(answer))
        except BaseException:
            raw.close()
            raise
        return answer, size

    def page(self, prefix: str, size: int, after: str | None, token: str | None) -> ObjectPage:
        """Ask for one page of a listing.

        :param size: most entries.
        :param after: begin behind this key, unless ``token`` says where.
        :raises ListingError: if the answer lacks something that it must have.
        """
        subject = self.subject(prefix)
        with awaiting(Awaited.SMALL), translated("ListObjectsV2", subject):
            try:
                found = self._bucket.list_objects_v2(
                    prefix=prefix,
                    start_after=after or "",
                    continuation_token=token or "",
                    max_keys=size,
                    headers=self.payer,
                )
            except RuntimeError as error:
                # That is what oss2 raises over an entry that is missing or not what it should be.
                raise ListingError(f"listing of {subject}: {error}") from error
            except UnicodeError:
                # Of what was to be signed.
                raise
            except ValueError as error:
                detail = f"a number or time that is none: {error}"
                raise ListingError(f"listing of {subject}: {detail}") from error
        return ObjectPage(
            objects=[self._listed(entry) for entry in found.object_list],
            more=found.is_truncated,
            token=found.next_continuation_token if found.is_truncated else None,
        )

    def tags(self, key: str, version_id: str | None) -> Mapping[str, str]:
        """Ask for the tags of an object."""
        operation, subject = "GetObjectTagging", self.subject(key)
        self._require_reachable(operation, key)
        with awaiting(Awaited.SMALL), translated(operation, subject):
            try:
                found = self._bucket.get_object_tagging(
                    key, params=version_parameters(version_id), headers=self.payer
                )
            except RuntimeError as error:
                raise TransientStoreError(operation, subject, str(error)) from error
        if found.tag_set is None:
            raise TransientStoreError(operation, subject, "the answer has no set of tags")
        return dict(found.tag_set.tagging_rule)

    def _do(
        self, operation: str, method: str, key: str, headers: dict[str, str], parameters: object
    ) -> Any:  # noqa: ANN401 - oss2 has no types
        """Make a call by what all of oss2's calls are made of.

        Its results for objects convert headers as they are made, and raise over one that they
        cannot read without its name, or over a range that they only have to pass on.
        """
        self._require_reachable(operation, key)
        return self._bucket._do(  # noqa: SLF001 - see above
            method, self.name, key, headers={**headers, **self.payer}, params=parameters
        )

    def _require_reachable(self, operation: str, key: str) -> None:
        if not key or unreachable(key):
            detail = "no request of the OSS SDK can name this key; copy the object to another one"
            raise UnsupportedError(operation, self.subject(key), detail)

    def _answer(self, operation: str, key: str, answer: Any) -> Answer:  # noqa: ANN401 - oss2 has no types
        return Answer(operation=operation, subject=self.subject(key), headers=answer.headers)

    def _listed(self, entry: Any) -> ListedObject:  # noqa: ANN401 - oss2 has no types
        hindrance = Hindrance.SYMLINK if entry.type == LINK_TYPE else None
        return ListedObject(
            key=entry.key,
            size=entry.size,
            etag=bare(entry.etag),
            last_modified=float(entry.last_modified),
            storage_class=entry.storage_class or None,
            md5_etag=self._md5_etags and entry.type == PLAIN_TYPE,
            hindrance=Hindrance.UNREACHABLE_KEY if unreachable(entry.key) else hindrance,
            restored=_restored(entry) if entry.storage_class in ARCHIVE_CLASSES else None,
        )


def _restored(entry: Any) -> bool | None:  # noqa: ANN401 - oss2 has no types
    """Tell whether there is a restored copy; older versions of oss2 do not read what says so."""
    told = hasattr(entry, "restore_info")
    return has_restored_copy(entry.restore_info) if told else None


def _give_back(raw: Any, length: int) -> None:  # noqa: ANN401 - urllib3 1 and 2 differ
    """Let the next request have a connection, if the body is not longer than what was asked for."""
    if length > _FIRST_BYTE.length:
        raw.close()
        return
    raw.read(decode_content=False)
    raw.release_conn()
