"""Listings of OSS are complete and ordered, or they raise (c01, c02, c05)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import oss2
import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CredentialsExpiredError,
    ListingError,
    StoreError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import Hindrance, KeyRange, ListedObject
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.oss import OSSSettings, OSSStore
from tests.support.oss_faults import Fault
from tests.support.oss_server import Seen
from tests.support.oss_world import OSSWorld

MANY = 2_500
ENTRY = (
    "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    '<ETag>"5B3C1A2E053D763E1B002CC607C5A0FE"</ETag><Type>Normal</Type><Size>1</Size>'
    "<StorageClass>Standard</StorageClass></Contents>"
)


def _page(*keys: str, token: str | None = None, entries: str = "") -> str:
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token is not None else ""
    listed = "".join(ENTRY.format(key=quote(key)) for key in keys) + entries
    truncated = f"<IsTruncated>{str(token is not None).lower()}</IsTruncated>"
    encoding = "<EncodingType>url</EncodingType>"
    return f"<ListBucketResult>{encoding}{truncated}{more}{listed}</ListBucketResult>"


class Canned:
    """A bucket of oss2 that answers listings with prepared documents, the last one for ever."""

    bucket_name = "canned"

    def __init__(self, *documents: str) -> None:
        self.documents = list(documents)
        self.asked: list[dict[str, Any]] = []

    def list_objects_v2(self, **parameters: Any) -> Any:
        """Parse the next document as oss2 does."""
        self.asked.append(parameters)
        document = self.documents.pop(0) if len(self.documents) > 1 else self.documents[0]
        answer = type("Response", (), {"status": 200, "headers": {}, "request_id": ""})()
        result = oss2.models.ListObjectsV2Result(answer)
        return oss2.xml_utils.parse_list_objects_v2(result, document)


def _canned(*documents: str) -> Iterator[ListedObject]:
    return OSSStore(Canned(*documents), service="https://oss").list_objects()


@pytest.fixture
def full(oss: OSSWorld) -> OSSWorld:
    """Give a bucket with more objects than two pages hold."""
    for number in range(MANY):
        oss.put(f"k{number:05}", b"x")
    return oss


def _asked(world: OSSWorld) -> list[Seen]:
    return world.server.requests.seen(operation="ListObjectsV2")


def test_a_listing_goes_on_to_its_true_end(full: OSSWorld) -> None:
    """All pages are asked for, each as large as OSS gives them."""
    store = full.store()
    assert [one.key for one in store.list_objects()] == [f"k{n:05}" for n in range(MANY)]
    assert [one.query["max-keys"] for one in _asked(full)] == ["1000"] * 3


def test_a_range_costs_no_more_than_its_pages(full: OSSWorld) -> None:
    """A range begins just before its start, and behind its stop nothing is asked for."""
    wanted = KeyRange(start="k01200", stop="k01300")
    listed = [one.key for one in full.store().list_objects("k", wanted)]
    assert listed == [f"k{n:05}" for n in range(1200, 1300)]
    assert [one.query["start-after"] for one in _asked(full)] == ["k0120/\U0010ffff"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(kind="broken_xml", skip=1), TransientStoreError),
        (Fault(kind="truncate", skip=1, after_bytes=500), TransientStoreError),
        (Fault(kind="reset", skip=1, after_bytes=500), TransientStoreError),
        (Fault(kind="unavailable", skip=1), ThrottledError),
        (Fault(kind="internal_error", skip=1), TransientStoreError),
        (Fault(kind="expired_token", skip=1), CredentialsExpiredError),
        (Fault(kind="clock_skew", skip=1), AccessDeniedError),
        (Fault(kind="redirect", skip=1, location="http://elsewhere"), StoreError),
        (Fault(kind="repeated_page"), ListingError),
        (Fault(kind="truncated_without_marker", skip=1), ListingError),
    ],
)
def test_c01_a_page_that_cannot_be_had_is_an_error(
    full: OSSWorld, fault: Fault, kind: type[Exception]
) -> None:
    """No fault half way makes a listing shorter; each says what it is."""
    full.fault(fault)
    seen: list[str] = []
    with pytest.raises(kind) as caught:
        seen.extend(one.key for one in full.store().list_objects())
    assert type(caught.value) is kind


def test_c01_a_listing_through_the_layers_goes_on_behind_a_fault(full: OSSWorld) -> None:
    """Retried, a listing is whole, whichever page failed."""
    for skip in range(3):
        full.fault(Fault(kind="reset", operation="ListObjectsV2", skip=skip, after_bytes=900))
    store = build_store(full.store(), wait=lambda _: False)
    assert len([one.key for one in store.list_objects()]) == MANY


@pytest.mark.parametrize(
    "document",
    [
        "<ListBucketResult/>",
        "<html><body>Welcome</body></html>",
        _page("a").replace("<IsTruncated>false</IsTruncated>", ""),
        _page("a").replace("false", "perhaps"),
        _page("a", token="t").replace("NextContinuationToken", "Next"),
        _page("a", entries="<Contents><Key>b</Key></Contents>"),
        _page("a").replace("<Size>1<", "<Size>one<"),
        _page("a").replace("T00:00:00.000Z", " midnight"),
        _page("a").replace("<Type>Normal</Type>", ""),
    ],
)
def test_c01_an_answer_that_lacks_something_is_no_listing(document: str) -> None:
    """An entry that cannot be read is an error with the bucket's name, never one less object."""
    with pytest.raises(ListingError, match="oss://canned/"):
        list(_canned(document))


@pytest.mark.parametrize("document", ["", "busy", "<ListBucketResult>", _page("a")[:-3]])
def test_c01_an_answer_that_is_cut_off_may_be_asked_for_again(document: str) -> None:
    """What is no document at all was broken on its way."""
    with pytest.raises(TransientStoreError):
        list(_canned(document))


def test_c02_another_order_and_repeats_are_refused() -> None:
    """Order is that of UTF-8 bytes; repeated keys, pages and tokens end the listing."""
    for documents, match in (
        ([_page("b", "a")], "not their order"),
        ([_page("\U00010000", "\uffee")], "not their order"),
        ([_page("b", token="t"), _page("a")], "not their order"),
        ([_page("a", "a")], "repeats a key"),
        ([_page("a", token="t"), _page("a", "b")], "repeats a page"),
        ([_page("a", token="t"), _page("b", token="t")], "same continuation token"),
        ([_page(token="t")], "same continuation token"),
        ([_page("a", token="")], "where it begins"),
    ):
        with pytest.raises(ListingError, match=match):
            list(_canned(*documents))
    assert [one.key for one in _canned(_page("\uffee", "\U00010000"))] == ["\uffee", "\U00010000"]


def test_keys_of_another_prefix_are_an_error() -> None:
    """A service that does not look at the prefix is not believed."""
    store = OSSStore(Canned(_page("a", "b")), service="https://oss")
    with pytest.raises(ListingError, match="prefix"):
        list(store.list_objects("a"))


def test_keys_are_decoded_once() -> None:
    """A key that looks encoded is the key that it looks like."""
    keys = ["%", "%20", "a%2Fb", "a+b", "a b", "a\x01\nb", "\u65e5"]
    document = _page(*sorted(keys))
    assert [one.key for one in _canned(document)] == sorted(keys)


def _links(world: OSSWorld) -> dict[str, str]:
    """Store links of all kinds; return what each leads to."""
    world.put("target", b"12345", x_oss_storage_class="IA")
    leads = {"chain": "link", "dangling": "absent", "link": "target"}
    for link, target in leads.items():
        world.server.state.put_symlink(world.bucket, link, target)
    return leads


def test_links_are_listed_as_what_they_lead_to(oss: OSSWorld) -> None:
    """Size, ETag and class are those of the end; a link to nowhere or to a link is hindered."""
    _links(oss)
    store = oss.store()
    listed = {one.key: one for one in store.list_objects()}
    found, target = listed["link"], listed["target"]
    assert (found.size, found.etag, found.storage_class) == (5, target.etag, "IA")
    assert found.hindrance is None
    assert not found.md5_etag
    assert store.head("link").identity().etag == found.etag
    assert listed["dangling"].hindrance is Hindrance.DANGLING_SYMLINK
    assert listed["chain"].hindrance is Hindrance.DANGLING_SYMLINK
    assert target.hindrance is None
    asked = oss.server.requests.seen(operation="GetObject")
    assert {one.key for one in asked} == {"chain", "dangling", "link"}
    assert {one.headers["range"] for one in asked} == {"bytes=0-0"}


def test_links_are_reported_where_that_is_asked_for(oss: OSSWorld) -> None:
    """No link is followed then; each is listed with the hindrance."""
    leads = _links(oss)
    listed = list(oss.store(OSSSettings(symlinks="report")).list_objects())
    hindered = {one.key: one.hindrance for one in listed if one.hindrance}
    assert hindered == dict.fromkeys(leads, Hindrance.SYMLINK)
    assert {one.operation for one in oss.server.requests} == {"ListObjectsV2"}


def test_c31_a_fault_at_a_link_is_no_verdict_about_it(oss: OSSWorld) -> None:
    """A service that is busy when a link is followed fails the listing, and it can be repeated."""
    _links(oss)
    oss.fault(Fault(kind="unavailable", operation="GetObject", key="link"))
    with pytest.raises(ThrottledError):
        list(oss.store().list_objects())
    oss.fault(Fault(kind="unavailable", operation="GetObject", key="link"))
    listed = {one.key: one for one in build_store(oss.store(), wait=lambda _: False).list_objects()}
    assert listed["link"].size == 5
    assert len(listed) == 4


def test_c31_a_link_that_may_not_be_read_is_listed(oss: OSSWorld) -> None:
    """What this caller may list and not read is there all the same, hindered."""
    _links(oss)
    oss.fault(Fault(kind="clock_skew", operation="GetObject", key="link"))
    listed = {one.key: one for one in oss.store().list_objects()}
    assert listed["link"].hindrance is Hindrance.DANGLING_SYMLINK


def test_only_links_in_the_range_are_followed(oss: OSSWorld) -> None:
    """A link outside of the range is not asked about."""
    _links(oss)
    assert [one.key for one in oss.store().list_objects("", KeyRange(start="m"))] == ["target"]
    assert {one.operation for one in oss.server.requests} == {"ListObjectsV2"}
