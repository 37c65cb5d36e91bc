"""Listings are complete, ordered and free of repeats, or they raise (c01, c02, c05, c13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import ListingError, TransientStoreError
from airflow_provider_s3resume.plan.objects import ALL_KEYS, KeyRange
from airflow_provider_s3resume.storage._listing import start_after
from airflow_provider_s3resume.storage._s3_listing import list_objects, list_parts, list_uploads

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Page = Mapping[str, Any]
FAULT = TransientStoreError("ListObjectsV2", "s3://b/", "cut")


def _entry(key: str) -> dict[str, Any]:
    return {"Key": key, "Size": 1, "ETag": '"e"', "LastModified": NOW}


def _page(*keys: str, token: str | None = None, **more: object) -> Page:
    page: dict[str, Any] = {"IsTruncated": token is not None, "Contents": [*map(_entry, keys)]}
    return {**page, **({"NextContinuationToken": token} if token else {}), **more}


class Answers:
    """Gives prepared answers in turn and keeps the parameters asked with."""

    def __init__(self, *answers: Page | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def __call__(self, parameters: dict[str, Any]) -> Page:
        """Return the next answer; the last one is given for ever."""
        self.asked.append(parameters)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def _objects(
    *answers: Page | Exception,
    ordered: bool = True,
    prefix: str = "",
    key_range: KeyRange = ALL_KEYS,
) -> list[str]:
    listing = list_objects(Answers(*answers), "s3://b/", prefix, key_range, ordered=ordered)
    return [listed.key for listed in listing]


def _parts(*answers: Page | Exception) -> list[int]:
    return [part.part_number for part in list_parts(Answers(*answers), "s3://b/k")]


def _uploads(*answers: Page | Exception, key: str = "k") -> list[str]:
    return [upload.upload_id for upload in list_uploads(Answers(*answers), "s3://b/k", key)]


def _parts_page(*numbers: int, marker: int | None = None) -> Page:
    parts = [{"PartNumber": n, "Size": 1, "ETag": '"e"'} for n in numbers]
    more = {"NextPartNumberMarker": marker} if marker is not None else {}
    return {"IsTruncated": marker is not None, "Parts": parts, **more}


def _uploads_page(*pairs: tuple[str, str], **more: object) -> Page:
    uploads = [{"Key": k, "UploadId": u, "Initiated": NOW} for k, u in pairs]
    return {"IsTruncated": False, "Uploads": uploads, **more}


_MARKERS = {"IsTruncated": True, "NextKeyMarker": "k", "NextUploadIdMarker": "1"}
HALF_WAY: list[Callable[[], object]] = [
    lambda: _objects(_page("a", token="t"), FAULT),
    lambda: _objects(_page("a", token="t"), FAULT, ordered=False),
    lambda: _parts(_parts_page(1, marker=1), FAULT),
    lambda: _uploads(_uploads_page(("k", "1"), **_MARKERS), FAULT),
]
NOWHERE: list[Callable[[], object]] = [
    lambda: _objects(_page("a", IsTruncated=True)),
    lambda: _parts({**_parts_page(1), "IsTruncated": True}),
    lambda: _parts({**_parts_page(), "IsTruncated": True, "NextPartNumberMarker": 1}),
    lambda: _uploads(_uploads_page(("k", "1"), IsTruncated=True)),
    # What SeaweedFS answers.
    lambda: _uploads(_uploads_page(("k", "1"), IsTruncated=True, NextUploadIdMarker="1")),
]
ENDLESS: list[Callable[[], object]] = [
    lambda: _objects({**_page("a"), "IsTruncated": None}),
    lambda: _parts({**_parts_page(1), "IsTruncated": None}),
    lambda: _uploads(_uploads_page(("k", "1"), IsTruncated=None)),
]
SILENT: list[Callable[[], object]] = [
    # 200 with an empty body.
    lambda: _objects({}),
    lambda: _parts({}),
    lambda: _uploads({}),
]
NAMELESS: list[Callable[[], object]] = [
    lambda: _objects({"IsTruncated": False, "Contents": [{"Size": 1}]}),
    lambda: _parts({"IsTruncated": False, "Parts": [{"PartNumber": 1}]}),
    lambda: _uploads({"IsTruncated": False, "Uploads": [{"Key": "k"}]}),
]
CIRCLES: list[Callable[[], object]] = [
    lambda: _objects(_page("a", token="t"), _page("b", token="t")),
    lambda: _objects(_page(token="t")),
    lambda: _objects(_page("a", token="t"), _page("b", token="t"), ordered=False),
    lambda: _objects(_page("b", token="t"), _page("b"), ordered=False),
    lambda: _parts(_parts_page(1, marker=1), _parts_page(2, marker=1)),
    lambda: _uploads(_uploads_page(("k", "1"), **_MARKERS)),
    lambda: _uploads(_uploads_page(("k", "1"), **_MARKERS), _uploads_page(("k", "1"))),
    lambda: _uploads(_uploads_page(("k", "1"), **_MARKERS), _uploads_page(("k", "2"), **_MARKERS)),
]


@pytest.mark.parametrize("call", HALF_WAY)
def test_c01_a_fault_half_way_is_an_error(call: Callable[[], object]) -> None:
    """A page that cannot be had ends the listing with its error, for all three listings."""
    with pytest.raises(TransientStoreError):
        call()


@pytest.mark.parametrize("call", NOWHERE)
def test_c01_more_without_a_place_is_an_error(call: Callable[[], object]) -> None:
    """More announced but not reachable is an error at once, and no end."""
    with pytest.raises(ListingError, match="more was announced"):
        call()


@pytest.mark.parametrize("call", ENDLESS)
def test_c01_an_answer_without_an_end_is_an_error(call: Callable[[], object]) -> None:
    """An answer that does not say whether it is complete is not the whole."""
    with pytest.raises(ListingError, match="complete"):
        call()


@pytest.mark.parametrize("call", SILENT)
def test_c01_an_answer_that_says_nothing_is_asked_for_again(call: Callable[[], object]) -> None:
    """It is no listing at all, whoever gave it: a fault that may pass, and no empty bucket."""
    with pytest.raises(TransientStoreError, match="lists nothing"):
        call()


@pytest.mark.parametrize("call", NAMELESS)
def test_c01_an_entry_that_lacks_what_names_it_is_an_error(call: Callable[[], object]) -> None:
    """What is listed without a key, size or id cannot be relied upon."""
    with pytest.raises(ListingError, match=r"an entry has no (Key|Size|UploadId)"):
        call()


@pytest.mark.parametrize("call", CIRCLES)
def test_c02_a_listing_in_circles_is_an_error(call: Callable[[], object]) -> None:
    """A repeated token, marker or page ends the listing at once."""
    with pytest.raises(ListingError, match="repeats"):
        call()


@pytest.mark.parametrize(
    "pages",
    [
        [_page("a", "c", "b")],
        [_page("a/b", "a b")],
        [_page("b", token="t"), _page("a")],
        [_page("\U00010000", "\uffee")],
    ],
)
def test_c02_another_order_is_refused_with_advice(pages: list[Page]) -> None:
    """Undeclared, another order is an error that names the field to set; declared, it is fine."""
    with pytest.raises(ListingError, match='"list_order": "unordered"'):
        _objects(*pages)
    expected = [entry["Key"] for page in pages for entry in page["Contents"]]
    assert _objects(*pages, ordered=False) == expected


def test_c02_a_repeated_key_is_an_error() -> None:
    """A key twice, on one page or two, is an error."""
    for pages in ([_page("a", "a")], [_page("a", token="t"), _page("a", "b")]):
        with pytest.raises(ListingError, match="repeats"):
            _objects(*pages)


def test_c05_order_is_that_of_utf8() -> None:
    """U+FFEE is before U+10000, which UTF-16 puts the other way round."""
    assert _objects(_page("\uffee", "\U00010000")) == ["\uffee", "\U00010000"]


def test_keys_of_another_prefix_are_an_error() -> None:
    """A service that does not look at the prefix is not believed."""
    with pytest.raises(ListingError, match="prefix"):
        _objects(_page("a", "b"), prefix="a")


def test_names_are_decoded_once_and_only_if_encoded() -> None:
    """A name is decoded when the answer says that it is encoded."""
    names = ("a%2520b", "a+b", "%2B")
    assert _objects(_page(*sorted(names), EncodingType="url"), ordered=False) == [
        "+",
        "a%20b",
        "a b",
    ]
    assert _objects(_page("a%2520b", "a+b")) == ["a%2520b", "a+b"]


def test_a_range_stops_asking_at_its_stop() -> None:
    """Behind the stop of a range no page is asked for."""
    answers = Answers(_page("a", "b", token="t"))
    listing = list_objects(answers, "s3://b/", "", KeyRange(start="a", stop="b"), ordered=True)
    assert [listed.key for listed in listing] == ["a"]
    assert len(answers.asked) == 1
    assert answers.asked[0]["StartAfter"] == "`\U0010ffff"


def test_the_place_before_a_start() -> None:
    """StartAfter lies just before the start; where there is none to send, none is sent."""
    assert start_after("", None) is None
    assert start_after("p", "p") is None
    assert start_after("p", "a") is None
    assert start_after("", "b\0") == "b"
    assert start_after("", "\0") is None
    assert start_after("", "\ue000") == "\ud7ff\U0010ffff"
    assert start_after("", "k" * 1023 + "b") == "k" * 1023 + "a"


@pytest.mark.parametrize(
    ("key", "page"),
    [
        # Amazon S3 encodes names and the prefix; a space becomes a plus sign.
        (
            "a b+c",
            _uploads_page(
                ("a+b%2Bc", "1"), ("a+b%2Bc%2Fx", "2"), EncodingType="url", Prefix="a+b%2Bc"
            ),
        ),
        # SeaweedFS says so and does not.
        (
            "a b+c",
            _uploads_page(("a b+c/x", "2"), ("a b+c", "1"), EncodingType="url", Prefix="a b+c"),
        ),
        # Others do not say so.
        ("a b+c", _uploads_page(("a b+c", "1"), ("a b+c2", "2"), Prefix="a b+c")),
        # `%2525` is another key that would decode to this one.
        ("%25", _uploads_page(("%25", "1"), ("%2525", "2"), EncodingType="url", Prefix="%25")),
    ],
)
def test_c13_only_uploads_of_exactly_the_key_count(key: str, page: Page) -> None:
    """An upload of a longer key is not this key's, however the service spells names."""
    assert _uploads(page, key=key) == ["1"]


def test_parts_listed_twice_stay_twice() -> None:
    """What a service lists twice is for the engine to judge, not for the listing to hide."""
    assert _parts(_parts_page(1, 1, 2)) == [1, 1, 2]
