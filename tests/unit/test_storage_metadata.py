"""c19: user metadata of any script goes through the headers of S3 and comes back as it was."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.storage._s3_headers import object_info, upload_parameters
from airflow_provider_s3resume.storage.base import NewUpload

WORD = "=?UTF-8?B?Q2l0dMOgIOaXpeacrA==?="


def written(value: str) -> str:
    """Return what is sent for a value of metadata."""
    upload = NewUpload(attributes=ContentAttributes(metadata={"name": value}))
    return str(upload_parameters(upload)["Metadata"]["name"])


def read(value: str) -> str:
    """Return what a value in an answer means."""
    answer = {"ResponseMetadata": {"HTTPHeaders": {}}, "Metadata": {"name": value}}
    return object_info("k", answer, 0).attributes.metadata["name"]


@pytest.mark.parametrize("text", ["", "plain", "Città 日本", "é", "\U0001f600", "a" * 500 + "é"])
def test_what_was_written_is_read(text: str) -> None:
    """Values that are not ASCII travel as one RFC 2047 word, and come back as themselves."""
    assert written(text).isascii()
    assert read(written(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        WORD,
        "=?UTF-8?Q?Citt=C3=A0?=",
        "=?utf-8?b?w6k=?=",
        "=?UTF-8?B?cGxhaW4=?=",
        "=?UTF-8?B?w6k?=",
        "=?UTF-8?B?/w==?=",
        "=?UTF-8?B?w6k=?= =?UTF-8?B?w6k=?=",
        "a =?UTF-8?B?w6k=?=",
    ],
)
def test_words_that_somebody_else_wrote_are_kept_to_the_letter(text: str) -> None:
    """Copied on, they are sent just as they were found."""
    assert written(read(text)) == text


def test_raw_utf8_is_understood() -> None:
    """Services that send bytes above ASCII mean UTF-8; HTTP hands them out as Latin-1."""
    assert read("Città".encode().decode("latin-1")) == "Città"


def test_c19_content_headers_in_raw_utf8_are_understood() -> None:
    """So it is for all that describes the content, or it would be encoded twice when written."""
    text = "inline; filename=报告.pdf"
    sent = text.encode().decode("latin-1")
    fields = {
        "ContentType": "content_type",
        "ContentEncoding": "content_encoding",
        "ContentLanguage": "content_language",
        "ContentDisposition": "content_disposition",
        "CacheControl": "cache_control",
        "WebsiteRedirectLocation": "website_redirect",
    }
    answer = {"ResponseMetadata": {"HTTPHeaders": {"expires": sent}}, **dict.fromkeys(fields, sent)}
    found = object_info("k", answer, 0).attributes
    assert {getattr(found, name) for name in fields.values()} == {text}
    assert found.expires == text
    given = upload_parameters(NewUpload(attributes=found))
    assert {given[parameter] for parameter in fields} == {text}
    answer = {"ResponseMetadata": {"HTTPHeaders": {}}}
    assert object_info("k", answer, 0).attributes == ContentAttributes()
