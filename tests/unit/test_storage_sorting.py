"""Listings of unordered services are sorted, in bounded memory (c02)."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_s3resume.exceptions import ListingError
from airflow_provider_s3resume.plan.objects import ALL_KEYS, KeyRange, ListedObject
from airflow_provider_s3resume.storage.base import NewUpload
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.storage.sorting import SortedListing, sort_listing

UNORDERED = dataclasses.replace(AMAZON_S3, ordered_listing=False)


def _one(key: str) -> ListedObject:
    return ListedObject(key=key, size=1, etag="e" * 32, last_modified=0.5)


class Repeating(MemoryStore):
    """Lists a key twice, far apart."""

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield everything and the first key again."""
        first = None
        for listed in super().list_objects(prefix, key_range):
            first = first or listed
            yield listed
        if first is not None:
            yield first


def _filled(store: MemoryStore) -> MemoryStore:
    for key in ("a/b", "a b", "a", "b"):
        store.put_object(key, b"", upload=NewUpload(), checksum=None)
    return store


@pytest.mark.parametrize("records", [1, 2, 100])
def test_c02_a_key_listed_twice_is_an_error(records: int) -> None:
    """A repeat is found wherever the two lie, in memory or in the file."""
    store = SortedListing(_filled(Repeating(capabilities=UNORDERED)), records_in_memory=records)
    with pytest.raises(ListingError, match="twice"):
        list(store.list_objects())


def test_c02_a_declared_order_is_sorted() -> None:
    """The store by path segments becomes one by bytes, and says so."""
    raw = _filled(MemoryStore(capabilities=UNORDERED))
    store = SortedListing(raw, records_in_memory=2)
    assert [listed.key for listed in raw.list_objects()] == ["a", "a/b", "a b", "b"]
    assert [listed.key for listed in store.list_objects()] == ["a", "a b", "a/b", "b"]
    assert store.capabilities.ordered_listing


def test_c02_memory_does_not_grow_with_the_listing() -> None:
    """Ten times the keys take hardly more memory."""

    def peak(count: int) -> int:
        listing = (_one(f"{n * 7919 % count:08d}") for n in range(count))
        tracemalloc.start()
        last = ""
        for listed in sort_listing(listing, 1000):
            assert last < listed.key
            last = listed.key
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(5_003), peak(30_011)
    # Each run costs a block while it is merged; holding all would be 9 MB more.
    assert many < few + 3_000_000


def test_the_temporary_file_goes_when_the_reader_stops(tmp_path: Path) -> None:
    """Nothing is left behind, whether the listing is read to its end, given up, or fails."""
    ordered = sort_listing(map(_one, "dcba"), 2, str(tmp_path))
    assert next(ordered).key == "a"
    ordered.close()
    assert list(tmp_path.iterdir()) == []

    def failing() -> Iterator[ListedObject]:
        yield from map(_one, "dcba")
        raise ListingError("cut")

    with pytest.raises(ListingError):
        next(sort_listing(failing(), 2, str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_sorted_listing_says_that_ranges_cost_a_whole_listing() -> None:
    """So that nobody cuts such a bucket into ranges, each of which would list all of it."""
    unordered = dataclasses.replace(AMAZON_S3, ordered_listing=False)
    capabilities = SortedListing(MemoryStore(capabilities=unordered)).capabilities
    assert capabilities.ordered_listing
    assert not capabilities.lists_ranges
