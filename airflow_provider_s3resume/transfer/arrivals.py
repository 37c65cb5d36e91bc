"""What tells that a part arrived at the target as it was sent: a checksum it shows, or its ETag."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import ListingError, VerificationError
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm, normal_etag
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.hashing import md5_hex
from airflow_provider_s3resume.transfer.proving import PLAIN_ENCRYPTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_s3resume.plan.digests import Checksum
    from airflow_provider_s3resume.plan.resume import PartRecord
    from airflow_provider_s3resume.transfer.context import CopyContext

log = logging.getLogger(__name__)

_SMALL = 4 * MIB


class Arrivals:
    """Finds out, once in a task, what the target shows of parts, and judges each part by it.

    :param key: the target's.
    :param upload_id: waits for the upload, and returns its id.
    """

    def __init__(self, context: CopyContext, key: str, upload_id: Callable[[], str]) -> None:
        self._context = context
        self._key = key
        self._upload_id = upload_id

    def md5_etags(self) -> bool:
        """Tell whether the ETags of the parts that are sent should be their MD5s."""
        encryption = self._context.config.options.encryption
        return self._context.target.capabilities.md5_etags and encryption in PLAIN_ENCRYPTION

    def is_its_md5(self, etag: str, view: memoryview) -> bool:
        """Tell, while another thread asks what else tells what arrived, whether an ETag does.

        Of a small part that is known sooner than the answer to the other thread is there.
        """
        verdict = self._context.verdict
        is_asked = verdict.kept is None and verdict.asking.locked()
        return is_asked and len(view) <= _SMALL and normal_etag(etag) == md5_hex(view)

    def only_etag_tells(
        self, number: int, checksum: Checksum | None, *, streamed: int | None = None
    ) -> bool:
        """Tell whether a part's ETag is all that says what arrived, and should be its MD5.

        A service may take a checksum header and ignore it without a word; one that does not shows
        the checksum in ListParts. That is asked once in a task.

        :param streamed: the part's size in bytes, if its checksum followed it.
        """
        if not self.md5_etags():
            return False
        if checksum is None:
            return True
        if checksum.algorithm is ChecksumAlgorithm.MD5:
            return False  # No service lists it; Content-MD5 is as old as S3.
        verdict = self._context.verdict
        if verdict.kept is None:
            # Whoever comes meanwhile waits for the answer, which it would get no sooner itself.
            with verdict.asking:
                if not self._found_kept(number, checksum, streamed):
                    return True
        return not verdict.kept

    def keeps_streams(self, part: PartRecord) -> bool:
        """Tell whether streamed parts are at the target as they were meant to be.

        A service that does not know of trailers may keep their frames as if they were bytes, so the
        first one is looked at in ListParts.
        """
        verdict = self._context.verdict
        if verdict.streams is None:
            with verdict.asking:
                self._look_at(part.part_number, part.checksum, streamed=part.size)
        if verdict.streams is False:
            log.info("%s keeps no trailers: parts are held", self._context.target.bucket)
        return bool(verdict.streams)

    def differs(self, number: int, why: str) -> VerificationError:
        """Return the error that says that a part is not what it should be."""
        uri = uri_of(self._context.target, self._key)
        return VerificationError(f"{uri}: part {number}: {why}")

    def etag_differs(self, number: int) -> VerificationError:
        """Return the error that says so of a part's ETag."""
        return self.differs(
            number,
            "the target's ETag is not the MD5 of what was sent; if the service makes ETags in "
            "another way, set md5_etags to false in its connection",
        )

    def _found_kept(self, number: int, checksum: Checksum, streamed: int | None) -> bool:
        """Ask whether the target keeps checksums, if nobody has; tell whether it answered."""
        if self._context.verdict.kept is not None:
            return True
        try:
            self._look_at(number, checksum.value, streamed=streamed)
        except ListingError:
            return False
        if not self._context.verdict.kept:
            bucket = self._context.target.bucket
            log.info("%s shows no checksums of parts: MD5s are compared too", bucket)
        return True

    def _look_at(self, number: int, checksum: str | None, *, streamed: int | None) -> None:
        """Find out, in ListParts, what the target keeps of a part.

        :param streamed: its size, if its checksum followed it.
        """
        verdict = self._context.verdict
        listed = self._context.target.list_parts(self._key, self._upload_id())
        found = {(part.size, part.checksum) for part in listed if part.part_number == number}
        verdict.kept = checksum in {shown for _, shown in found}
        if streamed is not None:
            verdict.framed = bool(found) and streamed not in {size for size, _ in found}
            verdict.streams = (streamed, checksum) in found
