"""A plan that is run later, elsewhere, or from other files than were stored (c35)."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError, ManifestError
from airflow_provider_s3resume.transfer.config import OnSourceChange
from airflow_provider_s3resume.transfer.loading import load_entries
from airflow_provider_s3resume.transfer.outcomes import Status
from tests.unit.planning_cases import NOW, Sync, put, store, without_state

DAY = 24 * 3600.0


def planned() -> Sync:
    """Return a sync of two objects."""
    sync = Sync()
    put(sync.source, "a", b"first")
    put(sync.source, "b", b"second")
    return sync


def test_c35_an_old_plan_is_refused_before_any_byte_moves() -> None:
    """The message names the age and the maximum."""
    sync = planned()
    _, manifest = sync.plan()
    with pytest.raises(ManifestError, match=r"found '172801 s old', accepted is at most 172800 s"):
        sync.copy(manifest, now=NOW + 2 * DAY + 1, max_manifest_age_s=2 * DAY)
    assert not without_state(sync.target)
    sync.copy(manifest, now=NOW + 2 * DAY, max_manifest_age_s=2 * DAY)
    assert set(without_state(sync.target)) == {"a", "b"}


def test_c35_a_source_object_replaced_since_the_plan_is_noticed() -> None:
    """Its identity is checked again when it is copied: as it is now, with a word in the report."""
    sync = planned()
    key, manifest = sync.plan()
    put(sync.source, "a", b"later")
    sync.copy(manifest, now=NOW + DAY)
    sync.verify(key)
    report = sync.report(key)
    assert without_state(sync.target) == {"a": b"later", "b": b"second"}
    assert report.notes == {"the source was replaced since the plan": 1}
    assert report.verified == 2


def test_c35_a_source_object_replaced_since_the_plan_can_be_made_to_fail() -> None:
    """The other object is copied, the changed one is named."""
    sync = planned()
    _, manifest = sync.plan()
    put(sync.source, "a", b"later")
    (result,) = sync.copy(manifest, on_source_change=OnSourceChange.FAIL)
    assert [(one.key, one.error_kind) for one in result.failures] == [("a", "SourceChangedError")]
    assert without_state(sync.target) == {"b": b"second"}


def test_c35_a_source_object_deleted_since_the_plan_is_reported_as_gone() -> None:
    """It is no failure: there is nothing to copy, and the report says so."""
    sync = planned()
    key, manifest = sync.plan()
    del sync.source.objects["a"]
    sync.copy(manifest)
    sync.verify(key)
    report = sync.report(key)
    assert (report.gone, report.copied, report.failed) == (1, 1, 0)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("other", ["bucket", "service"])
def test_c35_a_plan_for_other_stores_is_refused(side: str, other: str) -> None:
    """A connection that was changed since leads to another store, and the message says so."""
    sync = planned()
    key, manifest = sync.plan()
    another = getattr(store("another"), other)
    setattr(getattr(sync, side), other, another)
    with pytest.raises(ManifestError, match=f"{side} of the manifest: found .*which the plan was"):
        sync.copy(manifest)
    with pytest.raises(ManifestError, match=f"{side} of the manifest"):
        sync.verify(key)
    assert not without_state(sync.target)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"a"', b'"b"'), (b"}", b"} "), (b"\n", b""), (b"a", b"\xff")]
)
def test_c35_a_batch_file_that_was_changed_is_refused(old: bytes, new: bytes) -> None:
    """One changed byte is another file than was planned: nothing of it is acted on."""
    sync = planned()
    key, manifest = sync.plan()
    (ref,) = manifest.batches
    name = sync.state.prefix + ref.key
    put(sync.target, name, sync.target.data(name).replace(old, new, 1))
    with pytest.raises(ManifestError, match=r"stored file .*: found 'SHA-256 [0-9a-f]{64}'"):
        sync.copy(manifest)
    with pytest.raises(ManifestError, match="stored file"):
        sync.report(key)
    assert not without_state(sync.target)


def test_c35_a_batch_file_that_is_gone_is_refused() -> None:
    """Without its file a batch is nothing, not an empty one."""
    sync = planned()
    _, manifest = sync.plan()
    (ref,) = manifest.batches
    sync.state.delete(ref.key)
    with pytest.raises(ManifestError, match="found 'SHA-256 None'"):
        sync.copy(manifest)


def test_c35_a_batch_file_of_another_version_is_refused() -> None:
    """Fields that this version does not know are not dropped."""
    sync = planned()
    _, manifest = sync.plan()
    (ref,) = manifest.batches
    text = (sync.state.read_text(ref.key) or "").replace('{"etag"', '{"colour":1,"etag"')
    sync.state.write_text(ref.key, text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    with pytest.raises(ManifestError, match="accepted is fields of this version"):
        load_entries(sync.state, replace(ref, sha256=digest))


@pytest.mark.parametrize("age", [0, -1, float("nan")])
def test_a_maximum_age_that_is_none_is_refused(age: float) -> None:
    """The message names the parameter."""
    sync = planned()
    _, manifest = sync.plan()
    with pytest.raises(InvalidInputError, match="max_manifest_age_s: found"):
        sync.copy(manifest, max_manifest_age_s=age)


def test_a_second_attempt_finds_what_the_first_one_landed() -> None:
    """What is at the target already is looked up in its listing and not copied again."""
    sync = planned()
    _, manifest = sync.plan()
    sync.copy(manifest)
    (again,) = sync.copy(manifest)
    assert again.figures.bytes_moved == 0
    assert again.counts == {Status.COPIED.value: 2}
