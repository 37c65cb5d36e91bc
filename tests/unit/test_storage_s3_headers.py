"""Parameters of writes, and what is made once for many objects of them."""

from __future__ import annotations

from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.storage._s3_headers import (
    create_parameters,
    object_info,
    upload_parameters,
)
from airflow_provider_s3resume.storage.base import NewUpload

TEXT = NewUpload(
    attributes=ContentAttributes(content_type="text/plain"),
    algorithm=ChecksumAlgorithm.CRC32,
    full_object=True,
)
GIF = NewUpload(attributes=ContentAttributes(content_type="image/gif", metadata={"a": "b"}))


def test_uploads_by_turns_are_not_taken_for_each_other() -> None:
    """Each has its own parameters, however often they are asked for."""
    for _ in range(3):
        assert upload_parameters(TEXT) == {"ContentType": "text/plain"}
        assert upload_parameters(GIF) == {"ContentType": "image/gif", "Metadata": {"a": "b"}}
        assert upload_parameters(GIF) == {"ContentType": "image/gif", "Metadata": {"a": "b"}}


def test_what_creates_an_upload_stays_out_of_a_put() -> None:
    """The checksum's algorithm is a parameter of CreateMultipartUpload alone."""
    assert upload_parameters(TEXT) == {"ContentType": "text/plain"}
    assert create_parameters(TEXT)["ChecksumAlgorithm"] == "CRC32"
    assert upload_parameters(TEXT) == {"ContentType": "text/plain"}


def test_metadata_is_of_one_object_only() -> None:
    """Objects that have the same headers otherwise share no metadata."""

    def info(metadata: dict[str, str]) -> ContentAttributes:
        said = {"HTTPStatusCode": 200, "HTTPHeaders": {}}
        answer = {"ContentType": "a/b", "Metadata": metadata, "ResponseMetadata": said}
        return object_info("k", answer, 1).attributes

    first, second, third = info({}), info({"X": "1"}), info({})
    assert first == third == ContentAttributes(content_type="a/b")
    assert second == ContentAttributes(content_type="a/b", metadata={"x": "1"})
