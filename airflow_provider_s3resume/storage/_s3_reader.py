"""The body of a ranged read of S3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_s3resume.plan.objects import ByteRange, ObjectInfo
from airflow_provider_s3resume.storage import _range_reader
from airflow_provider_s3resume.storage._range_reader import BodyReader, check_identity
from airflow_provider_s3resume.storage._s3_errors import translated

__all__ = ["S3RangeReader", "check_answer", "check_identity"]


def check_answer(
    answer: Mapping[str, Any], byte_range: ByteRange | None, size: int, subject: str
) -> None:
    """Refuse an answer of botocore that is not exactly what was asked for (c12).

    :param size: bytes that the whole object must have.
    :raises RangeMismatchError: naming what was found and what was expected.
    """
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    found = (
        answer["ResponseMetadata"]["HTTPStatusCode"],
        headers.get("content-length"),
        headers.get("content-range"),
    )
    _range_reader.check_answer(found, byte_range, size, subject)


class S3RangeReader(BodyReader):
    """A ``RangeReader`` on the raw body of a botocore answer.

    :param raw: urllib3's response; it decodes nothing.
    :param length: bytes that the body must have.
    """

    def __init__(self, raw: Any, info: ObjectInfo, length: int, subject: str) -> None:  # noqa: ANN401 - urllib3 1 and 2 differ
        super().__init__(raw, info, length, subject, translated)
