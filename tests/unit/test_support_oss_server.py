"""The OSS test server keeps objects as OSS does, and says of them what OSS says."""

from __future__ import annotations

import base64
import hashlib
import http.client
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import oss2
import pytest
import requests
from fastcrc import crc64
from oss2.exceptions import NotFound, OssError, ServerError

from tests.support.oss_content import BLOCK
from tests.support.oss_listing import list_object_versions, list_objects, list_objects_v2
from tests.support.oss_messages import Request
from tests.support.oss_server import OSSServer
from tests.support.tls import make_certificate

NAME = "bucket"
DATA = bytes(range(256)) * 10
SIZE = len(DATA)
KIB = 1024
PART = 100 * KIB


class Answered(NamedTuple):
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def running() -> Iterator[OSSServer]:
    """Give a server that all tests of this file share."""
    with OSSServer() as server:
        yield server


@pytest.fixture
def server(running: OSSServer) -> Iterator[OSSServer]:
    """Give the server with one new bucket that everybody may write."""
    running.state.create_bucket(NAME)
    running.state.bucket(NAME).acl = "public-read-write"
    yield running
    running.state.buckets.clear()
    running.requests.clear()


@pytest.fixture
def bucket(server: OSSServer) -> oss2.Bucket:
    """Give the SDK's client of the bucket."""
    return server.endpoint.bucket(NAME)


def ask(server: OSSServer, method: str, target: str, **named: str) -> Answered:
    """Send a request that nobody signed; ``if_match`` stands for ``If-Match``."""
    headers = {name.replace("_", "-"): value for name, value in named.items()}
    connection = http.client.HTTPConnection(
        server.endpoint.endpoint_url.removeprefix("http://"), timeout=10
    )
    try:
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answered(answer.status, found, answer.read())
    finally:
        connection.close()


def code_of(answer: Answered) -> str:
    """Return the code of an error answer, wherever it stands."""
    document = base64.b64decode(answer.headers.get("x-oss-err", "")) or answer.body
    return ET.fromstring(document).findtext("Code", "")  # noqa: S314 - of our own server


# Range, then (status, first, end) without and with the standard behaviour.
WHOLE = (200, 0, SIZE)
REFUSED = (416, 0, 0)
RANGES = [
    ("bytes=0-0", (206, 0, 1), (206, 0, 1)),
    ("bytes=5-9", (206, 5, 10), (206, 5, 10)),
    (f"bytes=7-{SIZE - 1}", (206, 7, SIZE), (206, 7, SIZE)),
    ("bytes=7-", (206, 7, SIZE), (206, 7, SIZE)),
    ("bytes=-9", (206, SIZE - 9, SIZE), (206, SIZE - 9, SIZE)),
    (f"bytes=7-{SIZE}", WHOLE, (206, 7, SIZE)),
    (f"bytes={SIZE}-{SIZE + 9}", WHOLE, REFUSED),
    (f"bytes={SIZE}-", WHOLE, REFUSED),
    (f"bytes=-{SIZE + 1}", WHOLE, (206, 0, SIZE)),
    ("bytes=-0", WHOLE, REFUSED),
    ("bytes=9-5", WHOLE, WHOLE),
    ("bytes=0-1,3-4", WHOLE, WHOLE),
    ("bytes=-", WHOLE, WHOLE),
    ("octets=0-1", WHOLE, WHOLE),
    ("bytes=a-b", WHOLE, WHOLE),
]


@pytest.mark.parametrize("standard", [False, True])
@pytest.mark.parametrize(("asked", "plain", "strict"), RANGES)
def test_a_range_is_served_ignored_or_refused(
    server: OSSServer,
    asked: str,
    plain: tuple[int, int, int],
    strict: tuple[int, int, int],
    *,
    standard: bool,
) -> None:
    """What leaves the object is ignored, unless the request wants the standard behaviour."""
    server.state.put(NAME, "k", DATA)
    wanted = {"x_oss_range_behavior": "standard"} if standard else {}
    answer = ask(server, "GET", f"/{NAME}/k", Range=asked, **wanted)
    status, start, end = strict if standard else plain
    assert answer.status == status
    if status == 416:
        assert code_of(answer) == "InvalidRange"
        return
    assert answer.body == DATA[start:end]
    told = f"bytes {start}-{end - 1}/{SIZE}" if status == 206 else None
    assert answer.headers.get("content-range") == told
    assert answer.headers["x-oss-hash-crc64ecma"] == str(crc64.xz(DATA))


CONDITIONS = [
    ("if_match", "{etag}", 200),
    ("if_match", '"{etag}"', 200),
    ("if_match", "other", 412),
    ("if_none_match", "{etag}", 304),
    ("if_none_match", "other", 200),
    ("if_modified_since", "Tue, 01 Jan 2019 00:00:00 GMT", 200),
    ("if_modified_since", "Thu, 02 Jan 2020 00:00:00 GMT", 304),
    ("if_unmodified_since", "Tue, 01 Jan 2019 00:00:00 GMT", 412),
    ("if_unmodified_since", "Thu, 02 Jan 2020 00:00:00 GMT", 200),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("name", "value", "status"), CONDITIONS)
def test_a_condition_is_kept(
    server: OSSServer, method: str, name: str, value: str, status: int
) -> None:
    """Conditions on ETag and time hold for GET and HEAD."""
    etag = server.state.put(NAME, "k", DATA)
    server.state.set_modified(NAME, "k", 1_577_836_800)
    answer = ask(server, method, f"/{NAME}/k", **{name: value.format(etag=etag)})
    assert answer.status == status
    if status == 412:
        assert code_of(answer) == "PreconditionFailed"


def test_a_put_object_has_its_md5_and_its_crc_everywhere(
    server: OSSServer, bucket: oss2.Bucket
) -> None:
    """The ETag is the MD5 in upper case; PUT, GET, HEAD, and the meta call tell the CRC."""
    put = bucket.put_object("k", DATA)
    assert put.etag == hashlib.md5(DATA, usedforsecurity=False).hexdigest().upper()
    assert put.crc == crc64.xz(DATA)
    found = bucket.head_object("k")
    assert found.headers["Content-MD5"] == base64.b64encode(bytes.fromhex(put.etag)).decode()
    assert (found.object_type, found.content_length) == ("Normal", SIZE)
    for answer in (found, bucket.get_object("k"), bucket.get_object_meta("k")):
        assert answer.headers["x-oss-hash-crc64ecma"] == str(crc64.xz(DATA))
    server.state.put(NAME, "old", DATA, crc=False)
    assert "x-oss-hash-crc64ecma" not in bucket.head_object("old").headers


def test_a_multipart_etag_is_of_the_texts_of_the_parts_etags(bucket: oss2.Bucket) -> None:
    """OSS hashes the hexadecimal texts, where S3 hashes the digests themselves."""
    bodies = [b"a" * PART, b"b" * (PART + 1), b"c"]
    upload = bucket.init_multipart_upload("k").upload_id
    parts = []
    for number, body in zip((1, 2, 7), bodies, strict=True):
        done = bucket.upload_part("k", upload, number, body)
        assert done.crc == crc64.xz(body)
        parts.append(oss2.models.PartInfo(number, done.etag))
    completed = bucket.complete_multipart_upload("k", upload, parts)
    texts = "".join(hashlib.md5(b, usedforsecurity=False).hexdigest().upper() for b in bodies)
    expected = hashlib.md5(texts.encode(), usedforsecurity=False).hexdigest().upper()
    assert completed.etag == f"{expected}-3"
    assert completed.crc == crc64.xz(b"".join(bodies))
    found = bucket.head_object("k")
    assert found.object_type == "Multipart"
    assert "Content-MD5" not in found.headers
    assert bucket.get_object("k").read() == b"".join(bodies)


UPLOADS: list[tuple[list[tuple[int, int]], list[int], str]] = [
    ([(1, PART - 1), (2, 1)], [1, 2], "EntityTooSmall"),
    ([(1, PART), (2, 1)], [2, 1], "InvalidPartOrder"),
    ([(1, PART)], [1, 1], "InvalidPartOrder"),
    ([(1, PART)], [1, 2], "InvalidPart"),
]


@pytest.mark.parametrize(("sent", "named", "code"), UPLOADS)
def test_an_upload_that_breaks_a_rule_is_refused(
    bucket: oss2.Bucket, sent: list[tuple[int, int]], named: list[int], code: str
) -> None:
    """Parts that are too small, out of order, or missing are refused; the upload stays."""
    upload = bucket.init_multipart_upload("k").upload_id
    etags = {n: bucket.upload_part("k", upload, n, b"x" * size).etag for n, size in sent}
    parts = (
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etags.get(number, 'none')}</ETag></Part>"
        for number in named
    )
    # Not by the SDK, which puts parts in order.
    document = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>"
    url = bucket.sign_url("POST", "k", 60, params={"uploadId": upload})
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(url, document)
    assert answer.status_code == 400
    assert f"<Code>{code}</Code>" in answer.text
    assert [u.upload_id for u in oss2.MultipartUploadIterator(bucket)] == [upload]
    bucket.abort_multipart_upload("k", upload)
    with pytest.raises(oss2.exceptions.NoSuchUpload):
        bucket.upload_part("k", upload, 1, b"x")


def test_part_numbers_and_pages_have_limits(bucket: oss2.Bucket) -> None:
    """Parts are numbered from 1 to 10,000; a page has from 1 to 1,000 entries."""
    upload = bucket.init_multipart_upload("k").upload_id
    for number in (0, 10_001):
        with pytest.raises(oss2.exceptions.InvalidArgument):
            bucket.upload_part("k", upload, number, b"x")
    bucket.upload_part("k", upload, 10_000, b"x")
    assert [part.part_number for part in bucket.list_parts("k", upload).parts] == [10_000]
    for most in (0, 1_001):
        with pytest.raises(oss2.exceptions.InvalidArgument):
            bucket.list_objects_v2(max_keys=most)


def test_an_appended_object_changes_its_etag_each_time(bucket: oss2.Bucket) -> None:
    """An appendable ETag ends in zeroes; the position has to be the length."""
    first = bucket.append_object("log", 0, b"one").headers["ETag"]
    second = bucket.append_object("log", 3, b"two")
    assert second.next_position == 6
    assert second.crc == crc64.xz(b"onetwo")
    assert first != second.headers["ETag"]
    assert second.headers["ETag"].strip('"')[24:] == "00000000"
    with pytest.raises(oss2.exceptions.PositionNotEqualToLength) as caught:
        bucket.append_object("log", 3, b"two")
    assert caught.value.next_position == 6
    bucket.put_object("plain", b"")
    with pytest.raises(oss2.exceptions.ObjectNotAppendable):
        bucket.append_object("plain", 0, b"x")


def test_a_link_shows_its_target(bucket: oss2.Bucket) -> None:
    """Length and ETag are the target's, metadata the link's; a link must lead to an object."""
    etag = bucket.put_object("target", DATA).etag
    bucket.put_symlink("target", "link", headers={"x-oss-meta-a": "b"})
    found = bucket.head_object("link")
    assert (found.object_type, found.etag, found.content_length) == ("Symlink", etag, SIZE)
    assert found.headers["x-oss-meta-a"] == "b"
    assert bucket.get_object("link").read() == DATA
    bucket.put_symlink("link", "second")
    bucket.put_symlink("nothing", "dangling")
    for key, code in (("second", "InvalidTargetType"), ("dangling", "SymlinkTargetNotExist")):
        with pytest.raises(OssError) as caught:
            bucket.get_object(key)
        assert caught.value.code == code


def test_a_frozen_object_is_read_when_restored(server: OSSServer, bucket: oss2.Bucket) -> None:
    """It is refused, restored twice, and served once the restoring ends."""
    bucket.put_object("k", DATA, headers={"x-oss-storage-class": "ColdArchive"})
    with pytest.raises(OssError) as caught:
        bucket.get_object("k")
    assert (caught.value.status, caught.value.code) == (403, "InvalidObjectState")
    assert bucket.restore_object("k").status == 202
    with pytest.raises(OssError) as caught:
        bucket.restore_object("k")
    assert (caught.value.status, caught.value.code) == (409, "RestoreAlreadyInProgress")
    assert bucket.head_object("k").headers["x-oss-restore"] == 'ongoing-request="true"'
    server.state.finish_restore(NAME, "k")
    assert bucket.get_object("k").read() == DATA
    server.state.set_class(NAME, "k", "Archive")
    server.state.create_bucket(NAME, direct_archive_read=True)
    assert bucket.get_object("k").read() == DATA


def test_versions_are_kept_and_markers_hide_them(server: OSSServer, bucket: oss2.Bucket) -> None:
    """Each version is read by its id; a marker answers 404 as current and 405 by its id."""
    server.state.create_bucket(NAME, versioned=True)
    ids = [bucket.put_object("k", body).versionid for body in (b"1", b"2")]
    marker = bucket.delete_object("k").versionid
    bodies = [bucket.get_object("k", params={"versionId": one}).read() for one in ids]
    assert bodies == [b"1", b"2"]
    with pytest.raises(NotFound) as caught:
        bucket.get_object("k")
    assert caught.value.headers["x-oss-delete-marker"] == "true"
    for version, status in ((marker, 405), ("CAEQ" + "a" * 40, 404), ("bad", 400), ("", 400)):
        answer = ask(server, "GET", f"/{NAME}/k?versionId={version}")
        assert answer.status == status
    listed = bucket.list_object_versions()
    assert [v.versionid for v in listed.versions] == ids[::-1]
    assert [m.versionid for m in listed.delete_marker] == [marker]
    assert bucket.list_objects_v2().object_list == []
    bucket.delete_object("k", params={"versionId": marker})
    assert bucket.get_object("k").read() == b"2"


ODD_KEYS = ["a b", "a%2Fb", "a+b", "a/../b", "a//b", "a/b", "ä", "日本", "\x01", "~", "𝄞", "\uffff"]


@pytest.mark.parametrize("most", [1, 2, 5, 1000])
def test_pages_are_in_the_order_of_bytes_for_odd_keys(
    server: OSSServer, bucket: oss2.Bucket, most: int
) -> None:
    """All listings give every key once, in the order of its UTF-8 bytes, at any page size."""
    for key in ODD_KEYS:
        server.state.put(NAME, key, b"")
    ordered = sorted(ODD_KEYS, key=str.encode)
    first = [one.key for one in oss2.ObjectIterator(bucket, max_keys=most)]
    second = [one.key for one in oss2.ObjectIteratorV2(bucket, max_keys=most)]
    assert first == second == ordered
    assert _versions(bucket, most) == ordered


def _versions(bucket: oss2.Bucket, most: int) -> list[str]:
    keys: list[str] = []
    markers: dict[str, Any] = {}
    while True:
        page = bucket.list_object_versions(max_keys=most, **markers)
        keys += [version.key for version in page.versions]
        if not page.is_truncated:
            return keys
        markers = {
            "key_marker": page.next_key_marker,
            "versionid_marker": page.next_versionid_marker,
        }


@pytest.mark.parametrize("most", [1, 2, 1000])
def test_common_prefixes_are_listed_once(server: OSSServer, bucket: oss2.Bucket, most: int) -> None:
    """A delimiter groups keys, also when a page ends at a group."""
    for key in ("a", "b/1", "b/2", "b/3/x", "c", "d/1"):
        server.state.put(NAME, key, b"")
    found = [one.key for one in oss2.ObjectIteratorV2(bucket, delimiter="/", max_keys=most)]
    assert found == ["a", "b/", "c", "d/"]
    below = oss2.ObjectIterator(bucket, prefix="b/", delimiter="/", max_keys=most)
    assert [one.key for one in below] == ["b/1", "b/2", "b/3/"]


def test_keys_come_percent_encoded_without_a_plus(server: OSSServer) -> None:
    """A space is %20 in an encoded listing, for clients do not take a plus for one."""
    server.state.put(NAME, "a b+c/d", b"")
    request = Request(method="GET", bucket=NAME, key="", query={"encoding-type": "url"}, headers={})
    for listing in (list_objects, list_objects_v2, list_object_versions):
        document = listing(server.state, request).body
        assert isinstance(document, bytes)
        assert b"<Key>a%20b%2Bc/d</Key>" in document


def test_deleting_many_takes_keys_that_xml_cannot_have(bucket: oss2.Bucket) -> None:
    """Control characters in keys are deleted too, and reported as they are."""
    keys = ["<a>", "\x0c", "b\r\n", "there is none"]
    for key in keys[:3]:
        bucket.put_object(key, b"")
    assert bucket.batch_delete_objects(keys).deleted_keys == keys
    assert bucket.list_objects_v2().object_list == []


@pytest.mark.parametrize("key", ["/a", "\\a", "a" * 1024])
def test_names_that_oss_does_not_take_are_refused(bucket: oss2.Bucket, key: str) -> None:
    """A key has up to 1,023 bytes, and does not begin with a slash of either kind."""
    with pytest.raises(oss2.exceptions.InvalidObjectName):
        bucket.put_object(key, b"")
    bucket.put_object("ü" * 511 + "x", b"")


def test_a_wrong_digest_and_a_forbidden_overwrite_are_refused(bucket: oss2.Bucket) -> None:
    """Neither leaves anything behind."""
    with pytest.raises(oss2.exceptions.InvalidDigest):
        bucket.put_object("k", DATA, headers={"Content-MD5": oss2.utils.content_md5(b"other")})
    bucket.put_object("k", b"first")
    with pytest.raises(ServerError, match="FileAlreadyExists"):
        bucket.put_object("k", b"second", headers={"x-oss-forbid-overwrite": "true"})
    assert bucket.get_object("k").read() == b"first"


def test_errors_name_themselves_also_without_a_body(server: OSSServer) -> None:
    """A HEAD tells its error in a header; every answer has an id of its own."""
    answers = [ask(server, method, f"/{NAME}/nothing") for method in ("GET", "HEAD")]
    for answer in answers:
        assert (answer.status, code_of(answer)) == (404, "NoSuchKey")
        assert answer.headers["x-oss-ec"] == "0026-00000001"
    assert answers[1].body == b""
    first, second = (answer.headers["x-oss-request-id"] for answer in answers)
    assert (len(first), first == second) == (24, False)


def test_texts_are_compressed_for_who_accepts_it(server: OSSServer) -> None:
    """Such an answer has neither length nor ETag."""
    server.state.put(NAME, "k", b"text" * KIB, headers={"Content-Type": "text/plain"})
    answer = ask(server, "GET", f"/{NAME}/k", Accept_Encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert not {"etag", "content-length"} & answer.headers.keys()


def test_an_object_of_two_terabytes_is_there_without_being_anywhere(
    server: OSSServer, bucket: oss2.Bucket
) -> None:
    """Its head and any range come at once, and neighbouring ranges fit together."""
    server.state.put_synthetic(NAME, "big", 2 << 40, kind="Multipart")
    found = bucket.head_object("big")
    assert (found.content_length, found.object_type) == (2 << 40, "Multipart")
    start = 19 * (1 << 40) // 10
    whole = bucket.get_object("big", byte_range=(start, start + 3 * BLOCK - 1)).read()
    cuts = [0, 1, BLOCK - 5, BLOCK + 5, 3 * BLOCK]
    parts = [
        bucket.get_object("big", byte_range=(start + low, start + high - 1)).read()
        for low, high in pairwise(cuts)
    ]
    assert b"".join(parts) == whole
    assert whole[:BLOCK] != whole[BLOCK : 2 * BLOCK]


@pytest.mark.parametrize("size", [0, 1, BLOCK, 16 * BLOCK - 1, 16 * BLOCK, 35 * BLOCK + 77])
def test_the_crc_of_a_synthetic_object_is_that_of_its_bytes(server: OSSServer, size: int) -> None:
    """It is combined instead of computed, and comes to the same."""
    server.state.put_synthetic(NAME, "k", size, seed=3)
    answer = ask(server, "GET", f"/{NAME}/k")
    assert len(answer.body) == size
    assert answer.headers["x-oss-hash-crc64ecma"] == str(crc64.xz(answer.body))
    md5 = hashlib.md5(answer.body, usedforsecurity=False).hexdigest().upper()
    assert answer.headers["etag"] == f'"{md5}"'


def test_a_corrupted_byte_has_the_headers_of_the_right_object(server: OSSServer) -> None:
    """Only ranges with the byte are wrong; ``once`` heals it with the first of them."""
    server.state.put(NAME, "k", DATA)
    server.state.corrupt(NAME, "k", 300, once=True)
    assert ask(server, "GET", f"/{NAME}/k", Range="bytes=0-299").body == DATA[:300]
    damaged = ask(server, "GET", f"/{NAME}/k")
    assert [i for i, b in enumerate(damaged.body) if b != DATA[i]] == [300]
    assert damaged.headers["x-oss-hash-crc64ecma"] == str(crc64.xz(DATA))
    assert ask(server, "GET", f"/{NAME}/k").body == DATA


def test_requests_are_remembered(server: OSSServer) -> None:
    """The operation, the key, and the status of each; the authorization is not kept."""
    server.state.put(NAME, "k", DATA)
    server.endpoint.bucket(NAME).get_object("k", byte_range=(0, 1)).read()
    ask(server, "GET", f"/{NAME}/nothing")
    one = server.requests.seen(operation="GetObject", key="k")[0]
    assert (one.status, one.headers["range"], one.method) == (206, "bytes=0-1", "GET")
    assert "authorization" not in one.headers
    assert [seen.status for seen in server.requests.seen(key="nothing")] == [404]


def test_the_server_speaks_tls(tmp_path: Path) -> None:
    """With a certificate it serves whoever trusts it, several requests on a connection."""
    with OSSServer(certificate=make_certificate(tmp_path)) as server:
        assert server.endpoint.endpoint_url.startswith("https://127.0.0.1:")
        bucket = server.endpoint.bucket(NAME)
        bucket.create_bucket()
        bucket.put_object("k", DATA)
        assert bucket.get_object("k").read() == DATA
