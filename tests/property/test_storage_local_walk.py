"""The listing of a folder, against a list of its files that is sorted whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_s3resume.plan.objects import KeyRange, key_bytes
from airflow_provider_s3resume.storage._local_paths import Tree
from airflow_provider_s3resume.storage._local_settings import LocalSettings
from airflow_provider_s3resume.storage._local_walk import Walk, Wanted

# What sorts differently by segments, by UTF-16 units and by bytes, and what is no UTF-8 at all.
SEGMENTS = st.sampled_from(
    ["a", "a ", "a-", "a.b", "a0", "aa", "b", "B", "\uffee", "\U00010000", "\udcff"]
)
KEYS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)
PLACES = st.one_of(st.none(), KEYS, KEYS.map(lambda key: key + "/"), st.just("a/\0"))


@contextmanager
def tree_of(keys: set[str]) -> Iterator[Tree]:
    """Give a folder with files under all keys that do not lie under another one."""
    with tempfile.TemporaryDirectory() as folder:
        for key in sorted(keys, key=key_bytes):
            path = Path(folder, key)
            if path.exists() or any(parent.is_file() for parent in path.parents):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        yield Tree.resolved(folder, folder, may_miss=False, parameter="uri")


def files_of(tree: Tree) -> list[str]:
    """Return the keys of all files, in order."""
    found = [
        os.path.relpath(f"{folder}/{name}", tree.path)
        for folder, _, names in os.walk(tree.path)
        for name in names
    ]
    return sorted(found, key=key_bytes)


def listed(
    tree: Tree, prefix: str = "", key_range: KeyRange | None = None, records: int = 1000
) -> list[str]:
    """Return what a walk lists."""
    wanted = Wanted(base="", prefix=prefix, key_range=key_range or KeyRange())
    return [one.key for one in Walk(tree, LocalSettings(), wanted, records).objects()]


@settings(max_examples=60, deadline=None)
@given(st.sets(KEYS, max_size=25), st.integers(min_value=1, max_value=4))
def test_c05_a_walk_is_in_the_order_of_bytes(keys: set[str], records: int) -> None:
    """Whatever the names, and however few of them are held at once."""
    with tree_of(keys) as tree:
        assert listed(tree, records=records) == files_of(tree)


@settings(max_examples=60, deadline=None)
@given(st.sets(KEYS, max_size=25), PLACES, PLACES, st.one_of(st.just(""), KEYS))
def test_a_walk_gives_just_the_keys_of_a_range(
    keys: set[str], start: str | None, stop: str | None, prefix: str
) -> None:
    """Under a prefix that need not end where a name ends."""
    wanted = KeyRange(start=start, stop=stop)
    with tree_of(keys) as tree:
        expected = [k for k in files_of(tree) if k.startswith(prefix) and wanted.contains(k)]
        assert listed(tree, prefix, wanted) == expected
