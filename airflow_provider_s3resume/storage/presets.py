"""Capabilities of services as measured or documented, to start from where nothing is declared."""

from __future__ import annotations

from typing import Final

from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.storage.base import Capabilities

AMAZON_S3: Final = Capabilities(
    ordered_listing=True,
    folds_keys=False,
    part_checksums=(
        ChecksumAlgorithm.CRC64NVME,
        ChecksumAlgorithm.CRC32C,
        ChecksumAlgorithm.CRC32,
        ChecksumAlgorithm.SHA256,
        ChecksumAlgorithm.SHA1,
        ChecksumAlgorithm.MD5,
    ),
    full_object_checksum=True,
    conditional_put=True,
    conditional_complete=True,
    part_layout=True,
    md5_etags=True,
    tags=True,
    streams_parts=True,
    streams_objects=True,
)
"""Amazon S3, general purpose buckets ("Checking object integrity", "Conditional writes")."""
