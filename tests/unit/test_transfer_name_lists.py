"""Lists of names, read in blocks: nothing is lost between them, and nothing is mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    InvalidInputError,
    PreconditionFailedError,
    TransientStoreError,
)
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from airflow_provider_s3resume.transfer import name_lists
from airflow_provider_s3resume.transfer.checking import check_sides
from airflow_provider_s3resume.transfer.name_lists import ListFile
from airflow_provider_s3resume.transfer.planning import make_plan
from airflow_provider_s3resume.transfer.selecting import Scope
from tests.unit.planning_cases import NOW, FailingCall, Sync, put

NAMES = [f"key {number:03d} é" for number in range(200)]
TEXT = "\n".join(NAMES).encode()


def listed(data: bytes, name: str = "keys.txt", **traits: Any) -> ListFile:
    """Return a list in a bucket whose answers come in small pieces."""
    at = MemoryStore("lists", traits=MemoryTraits(**{"read_size": 7, **traits}))
    put(at, name, data)
    return ListFile(parameter="selection.key_list", uri=f"s3://lists/{name}", name=name, store=at)


def store_of(file: ListFile) -> MemoryStore:
    """Return the bucket of a list."""
    assert isinstance(file.store, MemoryStore)
    return file.store


@pytest.mark.parametrize("block", [1, 64, 1000, 1 << 20])
def test_c01_no_name_is_lost_between_two_blocks(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a name is cut, and in however many pieces a block comes."""
    monkeypatch.setattr(name_lists, "_BLOCK", block)
    assert [name for _, name in listed(TEXT).keys()] == NAMES  # noqa: SIM118 - no mapping


def test_c10_a_list_that_is_replaced_while_it_is_read_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of one and half of another is what nobody has written."""
    monkeypatch.setattr(name_lists, "_BLOCK", 1000)
    file = listed(TEXT)
    at = store_of(file)
    seen: list[str] = []

    def replace(operation: str, _: Mapping[str, Any]) -> None:
        if operation == "GetObject":
            seen.append(operation)
            if len(seen) == 2:
                put(at, file.name, TEXT[::-1])

    at.observer.before = replace
    with pytest.raises(PreconditionFailedError):
        list(file.keys())


def test_c01_a_list_whose_body_breaks_off_again_and_again_is_an_error() -> None:
    """It is never a shorter list."""
    file = listed(TEXT)

    def fail(operation: str, _: Mapping[str, Any]) -> None:
        if operation == "GetObject":
            raise TransientStoreError(operation, file.uri, "reset")

    store_of(file).observer.before = fail
    with pytest.raises(TransientStoreError, match="reset"):
        list(file.keys())
    store_of(file).observer.before = FailingCall(operation="Read", number=3)
    assert len(list(file.keys())) == len(NAMES)


def test_c20_a_line_without_an_end_is_refused_before_all_of_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody has named an object of many gigabytes."""
    monkeypatch.setattr(name_lists, "_BLOCK", 40_000)
    file = listed(b"x" * 1_000_000, read_size=None)
    asked: list[str] = []
    store_of(file).observer.before = lambda operation, _: asked.append(operation)
    with pytest.raises(InvalidInputError, match="lines of at most 65536 bytes"):
        list(file.keys())
    assert asked.count("GetObject") == 2


@pytest.mark.parametrize(
    ("name", "data"),
    [("k.csv", b'key,n\na,1\n"",2\n'), ("k.jsonl", b'"a"\n""\n'), ("k.jsonl", b'"a"\n{"key":""}')],
)
def test_an_empty_key_is_refused_with_its_line(name: str, data: bytes) -> None:
    """No object has it; it would stand for the whole bucket."""
    with pytest.raises(InvalidInputError, match=r"found '', accepted is a key of 1 to 1024"):
        list(listed(data, name).keys())


@pytest.mark.parametrize(
    ("name", "data"), [("k.txt", b"\n"), ("k.csv", b"key\n"), ("k.jsonl", b"\n\n")]
)
@pytest.mark.parametrize("checked", [True, False])
def test_a_list_that_became_empty_is_no_list_of_nothing(
    name: str, data: bytes, *, checked: bool
) -> None:
    """Found out when the sides are checked, or, emptied since, when the plan is made."""
    file = listed(b'key\n"a"\n' if name.endswith("csv") else b'"a"\n', name)
    sync = Sync(scope=Scope(key_list=file))
    put(sync.source, "a")
    request = sync.request()
    sides = check_sides(sync.source, sync.target, sync.state, request, now=NOW)
    put(store_of(file), name, data)
    given = (sync.source, sync.target, sync.state, request)
    with pytest.raises(InvalidInputError, match="which holds nothing"):
        if checked:
            check_sides(*given, now=NOW)
        else:
            make_plan(*given, sides, now=NOW, stop=sync.stop)
    assert not [key for key in sync.target.objects if key.endswith("manifest.json")]


@pytest.mark.parametrize("name", ["ignore_list", "prefix_list", "key_list"])
def test_every_list_is_read_when_the_sides_are_checked(name: str) -> None:
    """Before anything is listed for nothing."""
    gone = listed(b"a\n")
    del store_of(gone).objects[gone.name]
    given: dict[str, Any] = {name: gone}
    sync = Sync(scope=Scope(**given))
    with pytest.raises(InvalidInputError, match="no such object"):
        check_sides(sync.source, sync.target, sync.state, sync.request(), now=NOW)


def test_an_ignore_list_that_became_empty_excludes_nothing() -> None:
    """Unlike a list of what to look at, it may."""
    sync = Sync(scope=Scope(ignore_list=listed(b"\n", "i.txt")))
    put(sync.source, "a")
    assert sync.plan()[1].counts == {"copy.missing_at_target": 1}
