"""What a tree of files can hold, against the rules written down once more, and a real tree."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.plan.file_keys import FileTree, KeyFault, TreeWatch
from airflow_provider_s3resume.plan.objects import key_bytes

SEGMENTS = st.sampled_from(["a", "b", "a-", "a.", "a0", "ab", "\u00e9", "\U00010000", ".a", ".."])
KEYS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)
PLAIN = KEYS.filter(lambda key: ".." not in key.split("/"))


def collides(key: str, keys: set[str]) -> bool:
    """Tell whether a key lies under one of the others."""
    return any(key.startswith(f"{other}/") for other in keys)


@given(st.sets(PLAIN, max_size=30))
def test_c04_a_file_and_a_key_under_it_are_seen(keys: set[str]) -> None:
    """For every key that lies under another one, and for no other, whatever comes in between."""
    watch = TreeWatch()
    for key in sorted(keys, key=key_bytes):
        parent = watch.parent_of(key)
        assert (parent is not None) is collides(key, keys)
        assert parent is None or (parent in keys and key.startswith(f"{parent}/"))


@given(st.sets(PLAIN, max_size=20))
def test_c04_what_is_not_seen_can_be_written(keys: set[str]) -> None:
    """A file system takes all keys of a set without a collision."""
    taken = {key for key in keys if not collides(key, keys)}
    with tempfile.TemporaryDirectory() as folder:
        for key in taken:
            path = Path(folder, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(key.encode())
        assert all(Path(folder, key).read_bytes() == key.encode() for key in taken)


@given(st.text(max_size=12).filter(lambda key: not key.endswith("/")))
def test_c43_a_key_without_fault_stays_in_its_folder(key: str) -> None:
    """Joined to a folder, it names something below it, under that very name."""
    if FileTree().fault(key, 1) is not None:
        return
    joined = os.path.normpath(f"/base/{key}")
    assert joined == f"/base/{key}"


@pytest.mark.parametrize(
    ("key", "size", "fault"),
    [
        ("a/b", 1, None),
        ("...", 1, None),
        ("a\\b", 1, None),
        ("a\nb", 1, None),
        ("", 1, KeyFault.NOT_KEPT),
        ("/a", 1, KeyFault.NOT_KEPT),
        ("a//b", 1, KeyFault.NOT_KEPT),
        ("a/./b", 1, KeyFault.NOT_KEPT),
        ("../a", 1, KeyFault.NOT_KEPT),
        ("a/..", 1, KeyFault.NOT_KEPT),
        ("a\0b", 1, KeyFault.NOT_KEPT),
        ("a\udcff", 1, KeyFault.NOT_KEPT),
        ("a//", 0, KeyFault.NOT_KEPT),
        ("/", 0, KeyFault.NOT_KEPT),
        ("a/", 1, KeyFault.NOT_KEPT),
        ("a/", 0, KeyFault.MARKER),
        ("x" * 255, 1, None),
        ("x" * 256, 1, KeyFault.TOO_LONG),
        ("\u00e9" * 128, 1, KeyFault.TOO_LONG),
        (".s3resume-parts/x", 1, KeyFault.RESERVED),
        ("a/.s3resume-parts/x", 1, KeyFault.RESERVED),
        (".s3resume-parts2", 1, None),
    ],
)
def test_c04_each_key_has_its_fault(key: str, size: int, fault: KeyFault | None) -> None:
    """With directories as objects, a marker has none."""
    assert FileTree().fault(key, size) is fault
    with_markers = FileTree(directory_markers=True).fault(key, size)
    assert with_markers is (None if fault is KeyFault.MARKER else fault)
