"""One object that is copied in parts: what every stage of its copy knows of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import S3ResumeError
from airflow_provider_s3resume.plan.digests import (
    COMBINABLE,
    ChecksumAlgorithm,
    normal_etag,
    part_count_of_etag,
)
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.attributes import digest_of, upload_of
from airflow_provider_s3resume.transfer.context import CopyContext, Landed
from airflow_provider_s3resume.transfer.losses import judged
from airflow_provider_s3resume.transfer.metadata import is_untouched
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from airflow_provider_s3resume.transfer.proving import (
    PLAIN_ENCRYPTION,
    Expected,
    algorithm_for,
    attribute_notes,
    expected_of,
    look,
    source_algorithm_for,
    source_proof,
)
from airflow_provider_s3resume.transfer.reading_back import has_landed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord
    from airflow_provider_s3resume.storage.base import NewUpload
    from airflow_provider_s3resume.transfer.lookups import Lookups
    from airflow_provider_s3resume.transfer.reading import ExactSource

log = logging.getLogger(__name__)


class StartOverError(S3ResumeError):
    """Inside a copy: the upload cannot be used, for this reason."""


class CopySubject:
    """The object, and what became known while its copy was tried; used from one thread.

    :param info: the source object's headers.
    :param lookups: what else is asked for at first.

    ``upload_id`` is that of the upload under way; ``last_expected`` what the parts last looked at
    would make; ``moved`` the sizes in bytes of the parts that were sent, filled by many threads.
    """

    def __init__(
        self,
        context: CopyContext,
        entry: CopyEntry,
        source: ExactSource,
        info: ObjectInfo,
        lookups: Lookups,
    ) -> None:
        self.context = context
        self.entry = entry
        self.source = source
        self.info = info
        self.lookups = lookups
        self.key = entry.target_key
        self.uri = uri_of(context.target, entry.target_key)
        self.source_uri = context.source_uri(entry.key)
        self.target_uri = context.target_uri(entry.target_key)
        self.algorithm = algorithm_for(info, context.target.capabilities, COMBINABLE)
        by_parts = self._tells_by_parts()
        # Of what the service copies by itself, nobody here sees the bytes.
        relayed = context.by_service.calls is None
        algorithm = source_algorithm_for(info, self.algorithm, by_parts=by_parts)
        self.source_algorithm = algorithm if relayed else None
        self.last_expected: Expected | None = None
        self.upload_id: str | None = None
        self.reason: str | None = None
        self.moved: list[int] = []
        self._made: tuple[NewUpload, list[str]] | None = None

    def _tells_by_parts(self) -> bool:
        """Tell whether the MD5s of parts, cut as the source was, say more than anything else.

        Where the target's ETags are made of them too, nobody need take them here.
        """
        source, info = self.context.source.capabilities, self.info
        md5s = source.md5_etags and info.md5_etag and info.encryption in PLAIN_ENCRYPTION
        reproduced = source.part_layout and self.context.config.reproduce_layout
        if not md5s or not reproduced or not self.context.target.capabilities.reads_back:
            return False
        return part_count_of_etag(info.etag) is not None

    @property
    def algorithm_name(self) -> str:
        """Name of the checksum that the target gets with each part."""
        return self.algorithm.value if self.algorithm else "none"

    @property
    def source_algorithm_name(self) -> str:
        """Name of the checksum that is only recorded, empty for none."""
        return self.source_algorithm.value if self.source_algorithm else ""

    @property
    def md5_etags(self) -> bool:
        """Whether the ETags of the parts that are sent should be their MD5s."""
        plain = self.context.config.options.encryption in PLAIN_ENCRYPTION
        return plain and self.context.target.capabilities.md5_etags

    def upload(self) -> tuple[NewUpload, list[str]]:
        """Return what CreateMultipartUpload is asked for, and what the target cannot hold."""
        if self._made is None:
            full = self.context.target.capabilities.full_object_checksum
            self._made = upload_of(
                self.context,
                self.entry,
                self.info,
                None if self.algorithm is ChecksumAlgorithm.MD5 else self.algorithm,
                full_object=full and self.algorithm in COMBINABLE,
            )
        return self._made

    def asked(self) -> str:
        """Return what tells this way of beginning the upload from others."""
        return digest_of(self.upload()[0], self.context.target.capabilities.customer_key)

    def expected(self, parts: Sequence[PartRecord]) -> Expected:
        """Return what the target object has to be, if it is made of these parts."""
        expected = expected_of(self.info.size, parts, self.algorithm, self.source_algorithm)
        # Where ETags are made in another way, the object's is not that of its parts' MD5s, though
        # these have ETags of that form: OSS, by its S3-compatible endpoint, is such a service.
        made_of_md5s = self.context.target.capabilities.md5_etags
        return expected if made_of_md5s else replace(expected, etag=None)

    def parts_of(self, upload_id: str) -> list[ListedPart]:
        """List an upload's parts; the same part listed twice, to the last digit, is one.

        SeaweedFS lists a part as often as it was sent, so also when only an answer was lost.

        :raises UploadNotFoundError: if the upload is gone.
        """
        return list(dict.fromkeys(self.context.target.list_parts(self.key, upload_id)))

    def lost(self, found: ObjectInfo) -> list[str]:
        """Return what was asked for and is not on the object at the target (c19).

        :raises AttributesLostError: if that is to be an error.
        """
        upload, _ = self.upload()
        asked = replace(self.info, attributes=upload.attributes)
        losses = attribute_notes(self.uri, asked, found, upload.options)
        return judged(self.context.config, self.uri, losses, landed=True)

    def is_there(self, found: ObjectInfo | None, expected: Expected) -> bool:
        """Tell whether the object at the target is provably the one that was expected."""
        asked = replace(self.info, attributes=self.upload()[0].attributes)
        stores = self.context.source, self.context.target
        tags = all(store.capabilities.tags for store in stores)
        if is_untouched(self.entry, asked, found, tags=tags):
            return False
        return has_landed(self.context.target, found, expected, self.context.stop)

    def landed_elsewhere(self) -> Landed | None:
        """Return the target object if it is provably what this copy would have made."""
        expected = self.last_expected
        found = look(self.context.target, self.key)
        if expected is None:
            expected = Expected(
                size=self.info.size,
                etag=normal_etag(self.info.etag),
                checksum=next((c for c in self.info.checksums if c.full_object), None),
            )
        if found is None or not self.is_there(found, expected):
            return None
        log.info("%s: is there already, completed by another attempt", self.uri)
        same = normal_etag(found.etag) == normal_etag(self.info.etag)
        return Landed(
            status=Status.ALREADY_THERE,
            target_etag=normal_etag(found.etag),
            proof=Proof.ETAG if same else self._proof_of_last(),
            sent_parts=len(self.moved),
            bytes_moved=sum(self.moved),
            checkpointed=True,
            # Whoever completed it may have been asked for other things.
            notes=tuple(self.lost(found)),
        )

    def _proof_of_last(self) -> Proof:
        """Return what the digests of the parts last sent prove, now that they have landed."""
        ours = self.last_expected.checksums if self.last_expected is not None else []
        return source_proof(self.info, ours) or Proof.PARTS
