"""Plans of sources that list more than plain objects: opaque ETags, links, keys out of reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from airflow_provider_s3resume.plan.diff import Reason
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    Hindrance,
    KeyRange,
    ListedObject,
)
from airflow_provider_s3resume.storage.checksums import checksum_value
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.storage.sorting import sort_listing
from airflow_provider_s3resume.transfer.reporting import _WAYS_OUT
from airflow_provider_s3resume.transfer.verification import load_noted
from tests.unit.planning_cases import SMALL, Sync, put, without_state

CRC64XZ = ChecksumAlgorithm.CRC64XZ
APPENDABLE = "0123456789ABCDEF0123456700000000"


class Hindering(MemoryStore):
    """A store that lists some keys as hindered, and reads none of them."""

    hindered: dict[str, Hindrance]

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects, with what hinders them."""
        for listed in super().list_objects(prefix, key_range):
            yield replace(listed, hindrance=self.hindered.get(listed.key))


def hindered_sync(**hindered: Hindrance) -> Sync:
    """Return a sync with one good object and these."""
    source = Hindering("source", service="memory://source", limits=SMALL)
    source.hindered = hindered
    for key in ("good", *hindered):
        put(source, key)
    return Sync(source=source)


def vouched(data: bytes) -> tuple[Checksum, ...]:
    """Return the CRC-64 that OSS keeps."""
    return (Checksum(algorithm=CRC64XZ, value=checksum_value(CRC64XZ, data), full_object=True),)


def test_a_link_that_is_to_be_reported_is_skipped_and_named() -> None:
    """It is no failure: that is what was asked for. The report counts it, the plan names it."""
    sync = hindered_sync(link=Hindrance.SYMLINK)
    key, manifest = sync.plan()
    assert manifest.counts == {"copy.missing_at_target": 1, "skip.symlink": 1}
    assert [(n.key, n.reason) for n in load_noted(sync.state, manifest.noted)] == [
        ("link", "symlink")
    ]
    sync.copy(manifest)
    sync.verify(key)
    report = sync.report(key)
    report.raise_for_failures()
    assert dict(report.skipped) == {"symlink": 1}
    assert report.links == ("link",)
    assert "link, not followed: 'link'" in report.short_text()
    assert "link" not in report.to_json_dict()
    noted = report.noted_key.removeprefix(f"s3://{sync.target.bucket}/")
    assert [k for k in sync.target.keys() if k.startswith(noted)]  # noqa: SIM118 - a method
    assert without_state(sync.target) == {"good": b"data"}


@pytest.mark.parametrize("hindrance", [Hindrance.DANGLING_SYMLINK, Hindrance.UNREACHABLE_KEY])
def test_c40_what_cannot_be_read_is_refused_by_name(hindrance: Hindrance) -> None:
    """All others are copied, and the run fails with the key and the reason."""
    sync = hindered_sync(bad=hindrance)
    key, manifest = sync.plan()
    assert manifest.counts == {"copy.missing_at_target": 1, f"refuse.{hindrance.value}": 1}
    sync.copy(manifest)
    sync.verify(key)
    report = sync.report(key)
    assert (report.copied, report.failed) == (1, 1)
    assert report.failures[0].key == "bad"
    assert hindrance.value in report.failures[0].error
    assert without_state(sync.target) == {"good": b"data"}


def test_a_refusal_says_what_to_do() -> None:
    """The report is what a person reads at night."""
    for reason in ("dangling_symlink", "unreachable_key"):
        sync = hindered_sync(bad=Hindrance(reason))
        key, _ = sync.plan()
        told = {found.key: found.error for found in sync.report(key).failures}
        assert told["bad"] == f"refused: {reason}{_WAYS_OUT[reason]}"
        assert len(_WAYS_OUT[reason]) > 20
    assert set(_WAYS_OUT) <= {reason.value for reason in Reason}


def test_every_hindrance_is_planned_for() -> None:
    """None of them passes for an object that can be copied."""
    for hindrance in Hindrance:
        _, manifest = hindered_sync(bad=hindrance).plan()
        assert manifest.copy_objects == 1


def test_c07_an_opaque_etag_is_not_compared_with_an_md5() -> None:
    """An appendable object is copied once, proven by its CRC-64, and then left alone."""
    sync = Sync()
    put(
        sync.source,
        "log",
        b"appended",
        etag=APPENDABLE,
        md5_etag=False,
        checksums=vouched(b"appended"),
    )
    put(sync.target, "log", b"appended")
    key, manifest = sync.plan()
    assert manifest.counts == {"copy.digest_unknown": 1}
    sync.copy(manifest)
    assert dict(sync.verify(key).proofs) == {"crc64": 1}
    _, again = sync.plan()
    assert again.counts == {"skip.proven_before": 1}
    put(sync.source, "log", b"grownnow", etag="F" * 24 + "0" * 8, md5_etag=False)
    _, grown = sync.plan()
    assert grown.counts == {"copy.digest_unknown": 1}


def test_the_proof_by_crc64_stands_in_the_report() -> None:
    """Also of objects whose ETags could be compared: the report names the source's own digest."""
    sync = Sync()
    put(sync.source, "a", b"aaaa", checksums=vouched(b"aaaa"))
    put(sync.source, "b", b"bbbb")
    key, manifest = sync.plan()
    sync.copy(manifest)
    assert dict(sync.verify(key).proofs) == {"crc64": 1, "etag": 1}
    assert dict(sync.report(key).verified_by) == {"crc64": 1, "etag": 1}
    _, again = sync.plan()
    # Their ETags tell: no record has to be kept of them.
    assert again.counts == {"skip.same_digest": 2}


def test_c18_a_target_replaced_after_the_proof_is_not_verified() -> None:
    """The proof by CRC-64 is of the object that was written, and of no other."""
    sync = Sync()
    put(sync.source, "a", b"aaaa", checksums=vouched(b"aaaa"))
    key, manifest = sync.plan()
    sync.copy(manifest)
    put(sync.target, "a", b"else")
    summary = sync.verify(key)
    assert (summary.verified, summary.failed) == (0, 1)


@pytest.mark.parametrize("records", [1, 100])
def test_c02_sorting_a_listing_keeps_what_it_says(records: int) -> None:
    """In memory and through the temporary file."""
    listing = [
        ListedObject(
            key=f"k{n}", size=n, etag=None, last_modified=0, md5_etag=n != 2, hindrance=hindrance
        )
        for n, hindrance in enumerate([None, *Hindrance])
    ]
    assert list(sort_listing(reversed(listing), records)) == listing
