"""The counts of a report add up to its manifest, and what failed fails the run (c40)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_s3resume.exceptions import ManifestError, ObjectsFailedError
from airflow_provider_s3resume.plan.batches import BatchLimits
from airflow_provider_s3resume.plan.manifest import Manifest
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer.loading import load_entries, outcomes_name
from airflow_provider_s3resume.transfer.outcomes import Outcome, Proof, Status
from airflow_provider_s3resume.transfer.run_report import RunReport
from airflow_provider_s3resume.transfer.verification import VerificationSummary, verification_name
from tests.unit.planning_cases import FailingCall, Sync, put, store

FOLDING = replace(AMAZON_S3, folds_keys=True)
ENDS: list[Status | None] = [*Status, None]


def assert_adds_up(report: RunReport, manifest: Manifest) -> None:
    """Make sure that every key of the manifest is in exactly one figure of the report."""
    planned = report.copied + report.already_there + report.gone + report.failed_copies
    assert report.planned == planned == manifest.copy_objects == sum(report.reasons.values())
    counted = (report.reasons, report.skipped, report.refused)
    assert sum(sum(group.values()) for group in counted) == sum(manifest.counts.values())
    landed = report.copied + report.already_there
    assert landed == report.verified + report.unverified + report.failure_kinds.get(
        "VerificationError", 0
    )
    assert sum(report.verified_by.values()) == report.verified
    assert sum(report.failure_kinds.values()) == report.failed
    assert len(report.failures) == min(report.failed, 1000)


def planned(objects: int, limits: BatchLimits | None = None) -> Sync:
    """Return a sync of so many objects and one key that the target cannot hold."""
    sync = Sync(target=store("target", capabilities=FOLDING))
    sync.batch_limits = limits or BatchLimits()
    for number in range(objects):
        put(sync.source, f"k{number:02d}")
    put(sync.source, "odd//key")
    return sync


def write_outcomes(sync: Sync, manifest: Manifest, ends: Sequence[Status | None]) -> None:
    """Store outcomes as tasks would; ``None`` stands for an object that no task came to."""
    rest = iter(ends)
    for ref in manifest.batches:
        lines = []
        for entry in load_entries(sync.state, ref):
            status = next(rest)
            if status is not None:
                failed = status is Status.FAILED
                lines.append(
                    Outcome(
                        key=entry.key,
                        target_key=entry.target_key,
                        status=status,
                        size=entry.size,
                        proof=Proof.ETAG,
                        sent_parts=2,
                        kept_parts=1,
                        bytes_moved=3,
                        error="denied" if failed else None,
                        error_kind="AccessDeniedError" if failed else None,
                    ).to_line()
                )
        if lines:
            sync.state.write_text(outcomes_name(ref.manifest, ref.index), "".join(lines))


@settings(derandomize=True, max_examples=60, deadline=None, database=None)
@given(ends=st.lists(st.sampled_from(ENDS), min_size=9, max_size=9), verify=st.booleans())
def test_c40_every_mix_of_ends_adds_up_to_the_manifest(
    *, ends: list[Status | None], verify: bool
) -> None:
    """Copied, there, gone, failed, never tried: each object is counted once."""
    sync = planned(9, BatchLimits(max_objects=2))
    key, manifest = sync.plan()
    write_outcomes(sync, manifest, ends)
    if verify:
        sync.verify(key)  # Nothing was really copied: each that landed fails.
    report = sync.report(key)
    assert_adds_up(report, manifest)
    assert report.copied == ends.count(Status.COPIED)
    assert report.already_there == ends.count(Status.ALREADY_THERE)
    assert report.gone == ends.count(Status.GONE)
    assert report.failed_copies == ends.count(Status.FAILED) + ends.count(None)
    landed = report.copied + report.already_there
    assert report.failed == report.failed_copies + 1 + landed * verify
    assert report.sent_parts == 2 * (9 - ends.count(None))
    with pytest.raises(ObjectsFailedError, match=f"{report.failed} objects failed"):
        report.raise_for_failures()


def test_c40_a_run_in_which_all_went_well_does_not_raise() -> None:
    """Everything landed and was verified; the report is stored and read as JSON."""
    sync = Sync()
    for key in ("a", "b"):
        put(sync.source, key)
    report = sync.run()
    report.raise_for_failures()
    stored = sync.state.read_text(report.manifest_key.replace("manifest.json", "report.json"))
    data = json.loads(stored or "")
    assert (data["planned"], data["copied"], data["failed"]) == (2, 2, 0)
    assert data["copied_keys"] == ["a", "b"]
    assert report.report_key.endswith("report.json")
    assert report.manifest_key in report.report_key.replace("report.json", "manifest.json")


def test_c40_one_object_that_fails_fails_the_run_after_the_others() -> None:
    """The batch raises, the report raises, and both name the object; the others are there."""
    sync = Sync()
    for key in ("a", "b", "c"):
        put(sync.source, key)
    put(sync.source, "cold")
    key, manifest = sync.plan()
    put(sync.source, "cold", options=replace(sync.options, storage_class="GLACIER"))
    (result,) = sync.copy(manifest)
    with pytest.raises(
        ObjectsFailedError, match=r"1 of 4 objects of batch 0 failed.*'cold'"
    ) as one:
        result.raise_for_failures()
    assert not one.value.retryable
    sync.verify(key)
    report = sync.report(key)
    assert_adds_up(report, manifest)
    assert (report.copied, report.failed, report.failure_kinds) == (
        3,
        1,
        {"ObjectArchivedError": 1},
    )
    with pytest.raises(ObjectsFailedError, match=r"1 objects failed.*'cold'.*report\.json"):
        report.raise_for_failures()


def test_c40_tasks_that_never_ran_are_failures_by_name() -> None:
    """A batch that no task began is not an empty one."""
    sync = planned(4, BatchLimits(max_objects=2))
    key, manifest = sync.plan()
    sync.copy(replace(manifest, batches=manifest.batches[:1]))
    sync.verify(key)
    report = sync.report(key)
    assert_adds_up(report, manifest)
    assert (report.copied, report.failed_copies, report.verified) == (2, 2, 2)
    assert report.failure_kinds == {"NotTried": 2, "key_not_kept": 1}
    left = {entry.key for entry in load_entries(sync.state, manifest.batches[1])}
    assert left <= {one.key for one in report.failures}


def test_c40_a_batch_that_was_killed_half_way_counts_what_it_has_noted() -> None:
    """Objects without an outcome are failures, those with one are what it says."""
    sync = Sync()
    for number in range(3):
        put(sync.source, f"k{number}")
    key, manifest = sync.plan()
    write_outcomes(sync, manifest, [Status.COPIED, None, None])
    report = sync.report(key)
    assert (report.planned, report.copied, report.failed_copies) == (3, 1, 2)
    assert_adds_up(report, manifest)


def test_c40_a_verification_that_fails_fails_the_run() -> None:
    """An object that was changed at the target since is counted, named and raised."""
    sync = Sync()
    for key in ("a", "b", "c"):
        put(sync.source, key)
    key, manifest = sync.plan()
    sync.copy(manifest)
    put(sync.target, "a", b"else")
    put(sync.target, "b", b"another size")
    del sync.target.objects["c"]
    summary = sync.verify(key)
    assert (summary.verified, summary.failed) == (0, 3)
    report = sync.report(key)
    assert_adds_up(report, manifest)
    errors = {one.key: one.error for one in report.failures}
    assert "somebody else wrote it since" in errors["a"]
    assert errors["b"] == "expected 4 bytes, found 12"
    assert errors["c"] == "it is not at the target any more"
    with pytest.raises(ObjectsFailedError, match="3 objects failed"):
        report.raise_for_failures()


def test_c40_objects_that_were_not_verified_fail_the_run() -> None:
    """The report is the last task: a verification that broke off must not end in success."""
    sync = Sync()
    put(sync.source, "a")
    key, manifest = sync.plan()
    sync.copy(manifest)
    sync.target.observer.before = FailingCall(operation="ListObjectsV2", number=1)
    with pytest.raises(Exception, match="made to fail"):
        sync.verify(key)
    report = sync.report(key)
    assert_adds_up(report, manifest)
    assert (report.failed, report.unverified) == (0, 1)
    with pytest.raises(ObjectsFailedError, match="1 objects landed and were not verified"):
        report.raise_for_failures()


def test_c40_the_verification_of_another_plan_is_not_counted() -> None:
    """It is bound to the manifest by its digest."""
    sync = Sync()
    put(sync.source, "a")
    key, manifest = sync.plan()
    sync.copy(manifest)
    sync.verify(key)
    name = verification_name(key)
    found = VerificationSummary.from_json(sync.state.read_text(name) or "")
    assert found.manifest_digest == manifest.digest
    text = (sync.state.read_text(name) or "").replace(manifest.digest, "0" * 64)
    sync.state.write_text(name, text)
    report = sync.report(key)
    assert (report.verified, report.unverified) == (0, 1)


def test_c40_an_earlier_verification_does_not_stand_for_one_that_failed() -> None:
    """It was of what stood at the target then."""
    sync = Sync()
    put(sync.source, "a")
    key, manifest = sync.plan()
    sync.copy(manifest)
    assert sync.verify(key).verified == 1
    del sync.target.objects["a"]
    sync.target.observer.before = FailingCall(operation="ListObjectsV2", number=1)
    with pytest.raises(Exception, match="made to fail"):
        sync.verify(key)
    report = sync.report(key)
    assert (report.verified, report.unverified) == (0, 1)
    with pytest.raises(ObjectsFailedError, match="1 objects landed and were not verified"):
        report.raise_for_failures()


def test_c40_a_verification_of_other_outcomes_is_not_counted() -> None:
    """What a task wrote after the verification, nobody has looked at."""
    sync = planned(2)
    key, manifest = sync.plan()
    write_outcomes(sync, manifest, [Status.COPIED, None])
    sync.verify(key)
    assert sync.report(key).unverified == 0
    write_outcomes(sync, manifest, [None, Status.COPIED])
    report = sync.report(key)
    assert_adds_up(report, manifest)
    assert (report.verified, report.unverified) == (0, 1)


def test_c40_outcomes_of_other_objects_are_not_counted() -> None:
    """As many lines as the plan has objects prove nothing: it is the keys that must be there."""
    sync = planned(3)
    key, manifest = sync.plan()
    write_outcomes(sync, manifest, [Status.COPIED] * 3)
    [ref] = manifest.batches
    name = outcomes_name(ref.manifest, ref.index)
    text = (sync.state.read_text(name) or "").replace('"key":"k01"', '"key":"foreign"')
    text = text.replace('"target_key":"k02"', '"target_key":"elsewhere"')
    sync.state.write_text(name, text)
    assert sync.verify(key).not_landed == 2
    report = sync.report(key)
    assert_adds_up(report, manifest)
    assert (report.copied, report.failed_copies) == (1, 2)
    named = {one.key for one in report.failures if "no task came" in one.error}
    assert named == {"k01", "k02"}


def test_c40_a_run_whose_objects_are_all_gone_fails() -> None:
    """A source that holds nothing of the plan any more is not in step with its target."""
    sync = Sync()
    for key in ("a", "b"):
        put(sync.source, key)
    key, manifest = sync.plan()
    write_outcomes(sync, manifest, [Status.GONE, Status.GONE])
    sync.verify(key)
    report = sync.report(key)
    assert_adds_up(report, manifest)
    with pytest.raises(ObjectsFailedError, match="all 2 planned objects are gone from the source"):
        report.raise_for_failures()
    key, manifest = sync.plan()
    del sync.source.objects["a"]
    sync.copy(manifest)
    sync.verify(key)
    sync.report(key).raise_for_failures()  # One of two may go.


def test_c40_refused_keys_fail_a_run_that_copies_nothing() -> None:
    """A plan with nothing to copy is no success if it refused a key."""
    sync = planned(0)
    report = sync.run()
    assert (report.planned, report.failed, report.refused) == (0, 1, {"key_not_kept": 1})
    with pytest.raises(ObjectsFailedError, match="'odd//key': refused: key_not_kept"):
        report.raise_for_failures()


def test_a_dry_run_copies_nothing_and_says_what_it_would() -> None:
    """Planned figures, no outcome, no failure for what was not meant to be copied."""
    sync = Sync()
    put(sync.source, "a")
    key, _ = sync.plan(dry_run=True)
    report = sync.report(key)
    assert (report.dry_run, report.planned, report.copied, report.failed) == (True, 1, 0, 0)
    assert "(dry run)" in report.short_text()
    report.raise_for_failures()


def test_many_failures_are_all_counted_and_a_thousand_are_named() -> None:
    """Neither the report nor its text grows with the failures."""
    sync = Sync(batch_limits=BatchLimits(max_objects=600))
    for number in range(1200):
        put(sync.source, f"k{number:04d}")
    key, manifest = sync.plan()
    report = sync.report(key)
    assert_adds_up(report, manifest)
    assert (report.failed, len(report.failures)) == (1200, 1000)
    lines = report.short_text().splitlines()
    assert len([line for line in lines if line.startswith("failed: ")]) == 10
    assert lines[-1] == "and 1190 more failures"


def write_notes(sync: Sync, manifest: Manifest, notes: Sequence[str]) -> None:
    """Store an outcome with a note for each object."""
    [ref] = manifest.batches
    lines = [
        Outcome(
            key=entry.key,
            target_key=entry.target_key,
            status=Status.COPIED,
            size=entry.size,
            notes=(note,),
        ).to_line()
        for entry, note in zip(load_entries(sync.state, ref), notes, strict=True)
    ]
    sync.state.write_text(outcomes_name(ref.manifest, ref.index), "".join(lines))


def test_c20_notes_are_counted_by_kind_and_their_values_left_out() -> None:
    """What differs from object to object is no kind, whether quoted or a number."""
    sync = Sync()
    for number in range(60):
        put(sync.source, f"k{number:02d}")
    key, manifest = sync.plan()
    notes = [f"content_disposition 'patient-{n}.pdf' is None at the target" for n in range(30)]
    notes += [f"started over: part {n} of {n + 2} is missing" for n in range(30)]
    write_notes(sync, manifest, notes)
    report = sync.report(key)
    kinds = {"content_disposition": 30, "started over: part N of N is missing": 30}
    assert report.notes == kinds
    assert "patient" not in report.short_text()
    assert report.to_json_dict()["notes"] == 60


def test_c20_kinds_of_notes_are_bounded() -> None:
    """A report stays small whatever objects and services say."""
    sync = Sync()
    for number in range(1200):
        put(sync.source, f"k{number:04d}")
    key, manifest = sync.plan()
    write_notes(sync, manifest, [f"kind-{n}x " + "long " * 100 for n in range(1200)])
    report = sync.report(key)
    assert len(report.notes) == 51
    assert report.notes["and at least 950 more kinds"] == 1150
    assert max(map(len, report.notes)) <= 121
    assert len(json.dumps(report.to_json_dict())) < 2000
    assert len(report.short_text()) < 20_000


def test_figures_for_xcom_and_metrics_name_no_keys() -> None:
    """Keys of objects stay in the report."""
    sync = planned(2)
    report = sync.run()
    assert "odd//key" not in json.dumps(report.to_json_dict())
    assert report.metrics()["copied"] == 2.0
    assert all(isinstance(value, float) for value in report.metrics().values())
    assert "copied 2, already there 0, gone 0, failed 1" in report.short_text()


def test_a_stored_verification_of_another_version_is_refused() -> None:
    """Nor is one that is damaged taken for a good one."""
    sync = Sync()
    put(sync.source, "a")
    report = sync.run()
    name = verification_name(report.manifest_key)
    text = sync.state.read_text(name) or ""
    for damaged, message in (
        (text.replace('"schema":1', '"schema":2'), "schema of the verification"),
        (text.replace('"failures":[],', ""), "verification"),
        (text[:-1], "verification"),
    ):
        sync.state.write_text(name, damaged)
        with pytest.raises(ManifestError, match=message):
            sync.report(report.manifest_key)


def test_the_proof_of_each_object_stands_beside_the_report() -> None:
    """The report counts proofs and names the files that say it object by object."""
    sync = planned(3)
    key, manifest = sync.plan()
    write_outcomes(sync, manifest, [Status.COPIED] * 3)
    summary = sync.verify(key)
    place = sync.report(key).proofs_key
    [ref] = manifest.batches
    name = place.removeprefix(f"s3://{sync.state.store.bucket}/{sync.state.prefix}")
    lines = (sync.state.read_text(f"{name}{ref.index:05d}.jsonl") or "").splitlines()
    found = [json.loads(line) for line in lines]
    assert [line["key"] for line in found] == ["k00", "k01", "k02"]
    assert Counter(line["proof"] for line in found if line["proof"] != "failed") == Counter(
        summary.proofs
    )
