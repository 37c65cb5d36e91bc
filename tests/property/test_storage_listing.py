"""Listings against a service played by a few lines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.plan.objects import KeyRange, ListedObject, key_bytes
from airflow_provider_s3resume.storage._listing import start_after
from airflow_provider_s3resume.storage._s3_listing import list_objects
from airflow_provider_s3resume.storage.sorting import sort_listing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = st.text(st.sampled_from("a/b +%~\0\ud7ff\ue000\uffff\U00010000\U0010ffff"), max_size=5)


def _service(keys: set[str], size: int) -> Any:
    ordered = sorted(keys, key=key_bytes)

    def fetch(parameters: dict[str, Any]) -> dict[str, Any]:
        begin = parameters.get("ContinuationToken", parameters.get("StartAfter"))
        behind = [
            key
            for key in ordered
            if key.startswith(parameters["Prefix"])
            and (begin is None or key_bytes(key) > key_bytes(begin))
        ]
        page = behind[:size]
        entries = [{"Key": quote(k, safe="/"), "Size": 1, "LastModified": NOW} for k in page]
        answer: dict[str, Any] = {"EncodingType": "url", "Contents": entries}
        answer["IsTruncated"] = len(behind) > size
        if answer["IsTruncated"]:
            answer["NextContinuationToken"] = page[-1]
        return answer

    return fetch


@given(
    keys=st.sets(KEYS.filter(bool)),
    prefix=st.text("a/", max_size=2),
    start=st.none() | KEYS,
    stop=st.none() | KEYS,
    size=st.integers(1, 4),
)
def test_a_listing_is_the_range_and_nothing_else(
    keys: set[str], prefix: str, start: str | None, stop: str | None, size: int
) -> None:
    """Whatever the keys, the page size and the range: exactly its keys, in order."""
    wanted = KeyRange(start=start, stop=stop)
    listing = list_objects(_service(keys, size), "s3://b/", prefix, wanted, ordered=True)
    expected = [key for key in keys if key.startswith(prefix) and wanted.contains(key)]
    assert [listed.key for listed in listing] == sorted(expected, key=key_bytes)


@given(prefix=KEYS, start=KEYS)
def test_c05_the_place_before_a_start_is_before_it(prefix: str, start: str) -> None:
    """StartAfter never reaches the start itself, so no key from there on is left out."""
    place = start_after(prefix, start)
    assert place is None or key_bytes(place) < key_bytes(start)


@given(keys=st.lists(KEYS, max_size=40), records=st.integers(1, 50))
def test_c02_sorting_keeps_every_record(keys: list[str], records: int) -> None:
    """However few records fit in memory, what comes out is what went in, in byte order."""
    listing = [
        ListedObject(key=key, size=n, etag=None, last_modified=n / 3, storage_class="S\n")
        for n, key in enumerate(keys)
    ]
    found = list(sort_listing(listing, records))
    assert found == sorted(listing, key=lambda listed: key_bytes(listed.key))
