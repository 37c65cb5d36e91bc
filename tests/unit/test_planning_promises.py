"""A service that ignores what its connection promises is refused before any byte moves (c18)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError, UnsupportedError
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.storage.base import Written
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.checking import check_sides
from airflow_provider_s3resume.transfer.probing import PROBED
from tests.unit.planning_cases import NOW, Sync, put, store

NOTHING = replace(AMAZON_S3, conditional_put=False, part_checksums=(), full_object_checksum=False)
MD5 = replace(AMAZON_S3, part_checksums=(ChecksumAlgorithm.MD5,), full_object_checksum=False)


class Ignoring(MemoryStore):
    """A store that takes a field of PutObject and does not look at it."""

    ignored: str

    def put_object(self, *args: Any, **given: Any) -> Written:
        """Write whatever it is told to refuse."""
        return super().put_object(*args, **{**given, self.ignored: None})


class Refusing(MemoryStore):
    """A store that knows no conditions."""

    def put_object(self, *args: Any, **given: Any) -> Written:
        """Refuse what it does not know."""
        if given.get("condition"):
            raise UnsupportedError("PutObject", "s3://target/", "NotImplemented")
        return super().put_object(*args, **given)


def ignoring(field: str, **given: Any) -> Sync:
    """Return a sync into a store that ignores a field."""
    target = Ignoring("target", service="memory://target", clock=lambda: NOW, **given)
    target.ignored = field
    return Sync(target=target)


@pytest.mark.parametrize(
    ("ignored", "advice"),
    [
        ("condition", "extra 'conditional_writes' of the connection of memory://target: .* false"),
        ("checksum", "extra 'checksums' of the connection of memory://target: .* or 'none'"),
    ],
)
def test_c18_a_service_that_ignores_what_it_is_told_is_refused(ignored: str, advice: str) -> None:
    """The message names the field of the connection; no plan is made."""
    sync = ignoring(ignored)
    put(sync.source, "a")
    for _ in range(2):  # It is not forgotten by being asked.
        with pytest.raises(InvalidInputError, match=advice):
            sync.plan()
    assert "a" not in sync.target.objects


def test_c18_a_checksum_of_md5_is_tried_as_well() -> None:
    """It goes another way: Content-MD5."""
    with pytest.raises(InvalidInputError, match="extra 'checksums'"):
        ignoring("checksum", capabilities=MD5).plan()
    Sync(target=store("target", capabilities=MD5)).plan()


def test_c18_a_service_without_conditions_is_refused_by_name() -> None:
    """What it answers then is no reason to go on."""
    target = Refusing("target", service="memory://target", clock=lambda: NOW)
    with pytest.raises(InvalidInputError, match="extra 'conditional_writes'"):
        Sync(target=target).plan()


def test_c18_what_is_not_promised_is_not_tried() -> None:
    """A connection that says so may have any service."""
    for field in ("condition", "checksum"):
        sync = ignoring(field, capabilities=NOTHING)
        sync.plan()
        assert '"conditional_writes":false' in (sync.state.read_text(PROBED) or "")


def test_c18_a_promise_is_tried_once_a_day_and_when_it_changes() -> None:
    """A sensor asks every minute, and a refused write is repeated by the retry layer."""
    sync = Sync()
    seen: Counter[str] = Counter()
    sync.target.observer.after = lambda operation, _: seen.update([operation])

    def writes(now: float) -> int:
        seen.clear()
        check_sides(sync.source, sync.target, sync.state, sync.request(), now=now)
        return seen["PutObject"]

    writes(NOW)
    assert writes(NOW + 60) == 1  # The time, and nothing to try.
    assert writes(NOW + 86_401) == 4
    sync.target.capabilities = replace(AMAZON_S3, conditional_put=False)
    assert writes(NOW + 86_402) == 3


@pytest.mark.parametrize(
    ("checksums", "md5_etags", "is_provable"),
    [((), False, False), ((), True, True), ((ChecksumAlgorithm.MD5,), False, True)],
)
def test_c18_a_target_that_nothing_could_be_proven_of_is_refused_before_it_is_written(
    checksums: tuple[ChecksumAlgorithm, ...], *, md5_etags: bool, is_provable: bool
) -> None:
    """Neither checksums nor ETags that are MD5s: every verification would fail, after the copy."""
    can = replace(NOTHING, part_checksums=checksums, md5_etags=md5_etags)
    sync = Sync(target=store("target", capabilities=can))
    if is_provable:
        check_sides(sync.source, sync.target, sync.state, sync.request(), now=NOW)
        return
    with pytest.raises(InvalidInputError, match=r"'checksums' and 'md5_etags'.*'md5'"):
        check_sides(sync.source, sync.target, sync.state, sync.request(), now=NOW)
    assert list(sync.target.list_objects()) == []
