"""What OSS says of an object becomes our values, or an error that names what it said."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    ObjectNotFoundError,
    TransientStoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import (
    ByteRange,
    Hindrance,
    KeyRange,
    ObjectInfo,
    SourceIdentity,
)
from airflow_provider_s3resume.storage._oss_headers import Answer, object_info, size_of
from airflow_provider_s3resume.storage.base import NewUpload, ObjectStore
from airflow_provider_s3resume.storage.checksums import checksum_value
from airflow_provider_s3resume.storage.oss import OSSSettings
from tests.support.oss_faults import Fault
from tests.support.oss_world import OSSWorld, read_all

PLAIN = SourceIdentity(etag=None, size=1)


def _info(**headers: str) -> ObjectInfo:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return object_info("k", Answer(operation="HeadObject", subject="oss://b/k", headers=named), 1)


def test_the_crc_of_the_whole_is_given_on_every_answer(oss: OSSWorld) -> None:
    """HEAD and a ranged read both tell the CRC-64 of the whole object, as S3 would write it."""
    oss.put("k", b"123456789")
    store = oss.store()
    expected = Checksum(
        algorithm=ChecksumAlgorithm.CRC64XZ,
        value=checksum_value(ChecksumAlgorithm.CRC64XZ, b"123456789"),
        full_object=True,
    )
    info = store.head("k")
    assert info.checksums == (expected,)
    with store.open_range("k", ByteRange(start=1, stop=3), info.identity()) as reader:
        assert reader.info.checksums == (expected,)
        assert reader.info.size == 9
    oss.server.state.put(oss.bucket, "old", b"123456789", crc=False)
    assert store.head("old").checksums == ()


@pytest.mark.parametrize("value", ["", "-1", "0x1f", "1.0", "\u0663", str(1 << 64), "abc"])
def test_a_crc_that_is_none_is_an_error(value: str) -> None:
    """A CRC that cannot be read is not taken for none: the error names the header and its value."""
    with pytest.raises(TransientStoreError, match="x-oss-hash-crc64ecma"):
        _info(x_oss_hash_crc64ecma=value)
    assert _info(x_oss_hash_crc64ecma="0").checksums[0].value == "AAAAAAAAAAA="
    assert _info(x_oss_hash_crc64ecma=str((1 << 64) - 1)).checksums[0].value == "//////////8="


def test_other_headers_that_cannot_be_read_are_named() -> None:
    """So it is for sizes, times and numbers of tags."""
    with pytest.raises(TransientStoreError, match="last-modified"):
        _info(last_modified="yesterday")
    with pytest.raises(TransientStoreError, match="x-oss-tagging-count"):
        _info(x_oss_tagging_count="some")
    for headers in ({}, {"content-length": "long"}):
        with pytest.raises(TransientStoreError, match="content-length"):
            size_of(Answer(operation="HeadObject", subject="oss://b/k", headers=headers))


def test_only_objects_of_one_request_have_md5s(oss: OSSWorld) -> None:
    """HEAD and listing agree whose ETag is an MD5, and spell it as the service does."""
    oss.put("normal", b"data")
    oss.server.state.put_multipart(oss.bucket, "parts", [b"da", b"ta"])
    oss.server.state.append(oss.bucket, "log", b"data")
    oss.server.state.put_symlink(oss.bucket, "link", "normal")
    store = oss.store()
    listed = {one.key: one for one in store.list_objects()}
    infos = {key: store.head(key) for key in listed}
    plain = {key: info.md5_etag for key, info in infos.items()}
    assert plain == {"normal": True, "parts": False, "log": False, "link": False}
    assert {key: one.md5_etag for key, one in listed.items()} == plain
    assert {key: one.etag for key, one in listed.items()} == {
        key: info.etag for key, info in infos.items()
    }
    assert infos["normal"].etag == "8D777F385D3DFEC8815D20F7496026DC"
    assert {key: info.part_count for key, info in infos.items()} == {
        "normal": None,
        "parts": 2,
        "log": None,
        "link": None,
    }
    assert store.head_part("parts", 1, infos["parts"].identity()) is None


def test_c18_an_etag_that_only_looks_like_an_md5_is_none(oss: OSSWorld) -> None:
    """The type says nothing of how an object was made; the digest that OSS gives with it does."""
    oss.server.state.put(oss.bucket, "k", b"data", opaque_etag=True)
    store = oss.store()
    info = store.head("k")
    assert len(info.etag or "") == 32
    assert not info.md5_etag
    for byte_range in (None, ByteRange(start=1, stop=3)):
        with store.open_range("k", byte_range, info.identity()) as reader:
            assert not reader.info.md5_etag
    oss.put("k", b"data")
    info = store.head("k")
    assert info.md5_etag
    with store.open_range("k", ByteRange(start=1, stop=3), info.identity()) as reader:
        assert reader.info.md5_etag


@pytest.mark.parametrize(
    ("md5", "kind", "is_md5"),
    [
        ("jXd/OF09/siBXSD3SWAm3A==", "Normal", True),
        ("jXd/OF09/siBXSD3SWAm3A==", "Multipart", False),
        ("jXd/OF09/siBXSD3SWAm3A==", "Symlink", False),
        ("jXd/OF09/siBXSD3SWAm3Q==", "Normal", False),
        ("jXd/OF09/siBXSD3SWAm3A", "Normal", False),
        ("\u00e9", "Normal", False),
        ("", "Normal", False),
    ],
)
def test_c18_an_md5_is_one_that_the_service_tells(md5: str, kind: str, *, is_md5: bool) -> None:
    """It has to be the ETag to the last bit."""
    etag = '"8D777F385D3DFEC8815D20F7496026DC"'
    assert _info(etag=etag, content_md5=md5, x_oss_object_type=kind).md5_etag is is_md5
    assert not _info(etag=etag, x_oss_object_type=kind).md5_etag
    assert not _info(content_md5="", x_oss_object_type=kind).md5_etag


def test_etags_are_no_md5s_where_that_is_said(oss: OSSWorld) -> None:
    """The setting reaches listings, HEAD and reads."""
    oss.put("k", b"data")
    store = oss.store(OSSSettings(md5_etags=False))
    assert [one.md5_etag for one in store.list_objects()] == [False]
    info = store.head("k")
    assert not info.md5_etag
    with store.open_range("k", None, info.identity()) as reader:
        assert not reader.info.md5_etag


def test_c19_content_headers_are_the_text_that_was_meant(oss: OSSWorld) -> None:
    """Of bytes that are UTF-8 that text; of others what they are in Latin-1."""
    text = "inline; filename=\u62a5\u544a.pdf"
    names = ("type", "language", "disposition", "encoding")
    headers = {f"content_{name}": text.encode().decode("latin-1") for name in names}
    oss.put("k", b"x", **headers, cache_control="caf\u00e9", expires="\u00c3\u00a9")
    found = oss.store().head("k").attributes
    assert found.content_type == found.content_language == text
    assert found.content_disposition == found.content_encoding == text
    assert (found.cache_control, found.expires) == ("caf\u00e9", "\u00e9")


def test_attributes_are_as_they_were_sent(oss: OSSWorld) -> None:
    """Content headers come raw, metadata as the Unicode that was meant, names in lower case."""
    oss.put(
        "k",
        b"x",
        content_type="text/x-odd; charset=utf-8",
        content_language="de",
        content_disposition='attachment; filename="a b"',
        cache_control="no-cache",
        expires="some day",
        x_oss_meta_plain="a b+c=d",
        x_oss_meta_Title="\u65e5\u672c",
        x_oss_meta_latin="caf\u00e9",
        x_oss_tagging="a=1&b=2",
        x_oss_storage_class="IA",
    )
    oss.server.state.set_encryption(oss.bucket, "k", "KMS")
    store = oss.store()
    info = store.head("k")
    found = info.attributes
    assert found.content_type == "text/x-odd; charset=utf-8"
    assert (found.content_language, found.cache_control) == ("de", "no-cache")
    assert found.content_disposition == 'attachment; filename="a b"'
    assert found.expires == "some day"
    assert found.metadata == {"plain": "a b+c=d", "title": "\u65e5\u672c", "latin": "caf\u00e9"}
    assert (info.storage_class, info.encryption) == ("IA", "KMS")
    assert info.tag_count == 2
    assert store.get_tags("k") == {"a": "1", "b": "2"}
    with store.open_range("k", None, info.identity()) as reader:
        assert reader.info.attributes == found
    oss.put("bare", b"x")
    assert store.head("bare").tag_count is None
    assert store.head("bare").encryption is None
    assert store.get_tags("bare") == {}


def test_kms_keys_are_named() -> None:
    """The encryption is in the service's own words, and so is its key."""
    info = _info(x_oss_server_side_encryption="KMS", x_oss_server_side_encryption_key_id="key-1")
    assert (info.encryption, info.kms_key) == ("KMS", "key-1")


def test_access_is_checked_by_a_listing_of_the_prefix(oss: OSSWorld) -> None:
    """One key of the prefix is asked for; an unknown bucket and wrong credentials are errors."""
    oss.put("data/k", b"x")
    oss.store().check_access("data/")
    asked = oss.last("ListObjectsV2").query
    assert (asked["prefix"], asked["max-keys"]) == ("data/", "1")
    with pytest.raises(BucketNotFoundError):
        oss.store(bucket="unknown-bucket").check_access()
    wrong = dataclasses.replace(oss.endpoint, access_key_secret="wrong")
    with pytest.raises(AccessDeniedError, match="SignatureDoesNotMatch"):
        oss.store(endpoint=wrong).check_access()


def test_the_requester_pays_for_every_call(oss: OSSWorld) -> None:
    """Another account's caller is let in because each request says who pays."""
    oss.put("k", b"data")
    oss.server.state.put_symlink(oss.bucket, "link", "k")
    oss.server.state.requester_pays(oss.bucket)
    oss.server.add_credentials("LTAI5tOtherAccount", "other-secret", account="other")
    other = dataclasses.replace(
        oss.endpoint, access_key_id="LTAI5tOtherAccount", access_key_secret="other-secret"
    )
    with pytest.raises(AccessDeniedError):
        oss.store(endpoint=other).head("k")
    begun = len(oss.server.requests)
    store = oss.store(OSSSettings(request_payer=True), endpoint=other)
    store.check_access()
    assert len(list(store.list_objects())) == 2
    assert read_all(store, "k") == b"data"
    store.get_tags("k")
    seen = oss.server.requests[begun:]
    assert {one.operation for one in seen} == {
        "GetObject",
        "GetObjectTagging",
        "HeadObject",
        "ListObjectsV2",
    }
    assert {one.headers.get("x-oss-request-payer") for one in seen} == {"requester"}


WRITES: list[Callable[[ObjectStore], object]] = [
    lambda store: store.put_object("k", b"x", upload=NewUpload(), checksum=None),
    lambda store: store.put_object_stream(
        "k", _Nothing(), 0, upload=NewUpload(), content_md5="1B2M2Y8AsgTpgAmY7PhCfg=="
    ),
    lambda store: store.create_upload("k", NewUpload()),
    lambda store: store.upload_part("k", "u", 1, b"x", None),
    lambda store: store.upload_part_stream("k", "u", 1, _Nothing(), 0, None),
    lambda store: store.list_parts("k", "u"),
    lambda store: store.list_uploads("k"),
    lambda store: store.list_all_uploads("k"),
    lambda store: store.complete_upload("k", "u", [], size=1, checksum=None),
    lambda store: store.abort_upload("k", "u"),
    lambda store: store.delete_object("k"),
]


class _Nothing:
    def read(self, size: int = -1, /) -> bytes:
        """Return the end."""
        del size
        return b""


def test_a_source_is_not_written_to(oss: OSSWorld) -> None:
    """Every call that writes is refused before it is made, with the way out."""
    store = oss.store()
    for write in WRITES:
        with pytest.raises(UnsupportedError, match=r"oss://source-bucket/k: .*S3 connection"):
            write(store)
    assert oss.server.requests == []


def test_what_the_store_can_do(oss: OSSWorld) -> None:
    """It lists in order and by ranges; of writing it claims nothing."""
    store = oss.store()
    can = store.capabilities
    assert can.ordered_listing
    assert can.lists_ranges
    assert can.md5_etags
    assert can.tags
    assert can.reread_for_md5
    assert can.part_checksums == ()
    assert not any((can.conditional_put, can.conditional_complete, can.full_object_checksum))
    assert not any((can.part_layout, can.streams_parts, can.streams_objects, can.folds_keys))
    assert (store.limits.max_key_bytes, store.limits.list_page) == (1023, 1000)
    assert (store.scheme, store.bucket) == ("oss", "source-bucket")
    assert store.service == oss.endpoint.endpoint_url


@pytest.mark.parametrize("key", [".", ".."])
def test_c04_keys_that_cannot_be_named_are_told(oss: OSSWorld, key: str) -> None:
    """The two keys that the SDK's addresses lose are listed as such, and not asked for."""
    for name in (key, f"{key}..", f"a/{key}", f"{key}/a"):
        oss.put(name, name.encode())
    store = oss.store()
    hindered = {one.key: one.hindrance for one in store.list_objects() if one.hindrance}
    assert hindered == {key: Hindrance.UNREACHABLE_KEY}
    begun = len(oss.server.requests)
    for call in (
        lambda: store.head(key),
        lambda: store.open_range(key, None, PLAIN),
        lambda: store.get_tags(key),
    ):
        with pytest.raises(UnsupportedError, match="can name this key"):
            call()
    assert len(oss.server.requests) == begun
    assert read_all(store, f"a/{key}") == f"a/{key}".encode()


def test_the_longest_key_is_read(oss: OSSWorld) -> None:
    """1,023 bytes are a key, listed from any place before it."""
    key = "\u00e9" * 511 + "k"
    oss.put(key, b"data")
    store = oss.store()
    assert [one.key for one in store.list_objects(key)] == [key]
    assert [one.key for one in store.list_objects("", KeyRange(start=key))] == [key]
    assert len(oss.last("ListObjectsV2").query["start-after"].encode()) == 1023
    # A place that would take 1,024 bytes is too long by one.
    list(store.list_objects("", KeyRange(start="k" * 1020)))
    assert len(oss.last("ListObjectsV2").query["start-after"].encode()) == 1020
    assert read_all(store, key) == b"data"
    assert store.get_tags(key) == {}


def test_tags_that_cannot_be_read_are_an_error(
    oss: OSSWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is cut off, or has no set of tags, is not an object without tags."""
    oss.put("k", b"x", x_oss_tagging="a=1")
    store = oss.store()
    oss.fault(Fault(kind="broken_xml", operation="GetObjectTagging"))
    with pytest.raises(TransientStoreError, match="GetObjectTagging"):
        store.get_tags("k")
    oss.fault(Fault(kind="truncate", operation="GetObjectTagging", after_bytes=9))
    with pytest.raises(TransientStoreError):
        store.get_tags("k")

    def none_told(*_: Any, **__: Any) -> Any:
        return type("Result", (), {"tag_set": None})()

    monkeypatch.setattr(store._calls._bucket, "get_object_tagging", none_told)
    with pytest.raises(TransientStoreError, match="no set of tags"):
        store.get_tags("k")


def test_missing_things_are_what_they_are(oss: OSSWorld) -> None:
    """HEAD has no body to give a reason in, and gives it all the same."""
    store = oss.store()
    with pytest.raises(ObjectNotFoundError, match="NoSuchKey"):
        store.head("absent")
    with pytest.raises(BucketNotFoundError, match="NoSuchBucket"):
        oss.store(bucket="unknown-bucket").head("k")
