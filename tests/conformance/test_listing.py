"""What every store does with keys and their order."""

from __future__ import annotations

import itertools

import pytest

from airflow_provider_s3resume.exceptions import StoreError
from airflow_provider_s3resume.plan.objects import KeyRange, key_bytes
from airflow_provider_s3resume.storage.base import ObjectStore
from tests.conformance.actions import put, read
from tests.conformance.cases import Case
from tests.conformance.keys import ODD_KEYS, is_kept_by_file_trees, prefixes_of_others


def _keys(store: ObjectStore, prefix: str = "", key_range: KeyRange | None = None) -> list[str]:
    return [listed.key for listed in store.list_objects(prefix, key_range or KeyRange())]


def test_c04_odd_keys_arrive_unchanged(case: Case) -> None:
    """Each of 44 odd keys is written, listed, read and deleted under its own name, or refused."""
    store, folds = case.store, case.store.capabilities.folds_keys
    keys = [key for key in ODD_KEYS if not folds or is_kept_by_file_trees(key)]
    assert len(ODD_KEYS) == 44
    refused = [
        key for key in keys if case.refuses(key) or len(key_bytes(key)) > store.limits.max_key_bytes
    ]
    for key in refused:
        with pytest.raises(StoreError):
            put(store, key, b"x")
    taken = [key for key in keys if key not in refused]
    for key in taken:
        put(store, key, key_bytes(key))
    assert _keys(store) == sorted(taken, key=key_bytes)
    for key in taken:
        assert read(store, key) == key_bytes(key)
        assert _keys(store, key)[0] == key
        store.delete_object(key)
    assert _keys(store) == []


def test_c05_order_is_by_utf8_bytes(store: ObjectStore) -> None:
    """Keys come by their bytes: U+FFEE before U+10000, and no path segment before its time."""
    keys = prefixes_of_others(store)
    for key in keys:
        put(store, key, b"x")
    expected = sorted(keys, key=key_bytes)
    assert _keys(store) == expected
    # By UTF-16 units, as Java and JavaScript sort, the last two would change places.
    assert expected != sorted(expected, key=lambda key: key.encode("utf-16-be"))


def test_key_ranges_begin_with_their_start_and_end_before_their_stop(store: ObjectStore) -> None:
    """Every range between any two places gives just the keys from start to before stop."""
    keys = prefixes_of_others(store)
    for key in keys:
        put(store, key, b"x")
    ordered = sorted(keys, key=key_bytes)
    # None begins with an empty prefix or lies between two keys only by chance.
    places = [None, "", "p", "p\0", "p q", "p!", "p/q", "p0", "p\ue000", "p\U00010000", "q"]
    for start, stop in itertools.product(places, places):
        wanted = KeyRange(start=start, stop=stop)
        expected = [key for key in ordered if wanted.contains(key)]
        assert _keys(store, key_range=wanted) == expected, wanted


def test_a_prefix_is_no_folder(store: ObjectStore) -> None:
    """A prefix is a string that keys begin with, whatever separators are in it."""
    keys = prefixes_of_others(store)
    for key in keys:
        put(store, key, b"x")
    for prefix in ("p", "p/", "p-", "p ", "pq", "q", "p/q"):
        expected = [key for key in keys if key.startswith(prefix)]
        assert _keys(store, prefix) == sorted(expected, key=key_bytes)
        started = KeyRange(start="p/q")
        ranged = [key for key in expected if started.contains(key)]
        assert _keys(store, prefix, started) == sorted(ranged, key=key_bytes)


def test_listed_fields_are_those_of_head(store: ObjectStore) -> None:
    """A listing says of size and ETag what HEAD says."""
    put(store, "k", b"12345")
    (listed,) = store.list_objects("k")
    info = store.head("k")
    assert (listed.size, listed.etag) == (info.size, info.etag)
    assert abs(listed.last_modified - info.last_modified) < 2
