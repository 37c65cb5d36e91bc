"""Manifests and resume decisions: what is written is what is read, what is kept adds up."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.exceptions import ManifestError
from airflow_provider_s3resume.plan.manifest import (
    BatchRef,
    CopyEntry,
    FileRef,
    Manifest,
    Side,
    check_age,
    line_of,
    loads,
)
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.plan.parts import PartLayout
from airflow_provider_s3resume.plan.resume import (
    Checkpoint,
    Continue,
    ListedPart,
    PartRecord,
    StartOver,
    decide,
)
from airflow_provider_s3resume.transfer.checkpoints import from_json, to_json

KEYS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
SIDES = st.builds(Side, service=st.just("https://s3"), uri=KEYS)
NUMBERS = st.integers(min_value=0, max_value=1 << 60)
BATCHES = st.builds(
    BatchRef,
    manifest=KEYS,
    index=NUMBERS,
    key=KEYS,
    sha256=KEYS,
    objects=NUMBERS,
    bytes=NUMBERS,
    first_key=KEYS,
    last_key=KEYS,
    listed=NUMBERS,
)
MANIFESTS = st.builds(
    Manifest,
    run_id=KEYS,
    created=st.floats(allow_nan=False, allow_infinity=False),
    source=SIDES,
    target=SIDES,
    rule=KEYS,
    counts=st.dictionaries(KEYS, NUMBERS, max_size=4),
    copy_objects=NUMBERS,
    copy_bytes=NUMBERS,
    batches=st.lists(BATCHES, max_size=3).map(tuple),
    noted=st.lists(st.builds(FileRef, key=KEYS, sha256=KEYS, lines=NUMBERS), max_size=2).map(tuple),
    quantiles=st.lists(KEYS, max_size=3).map(tuple),
    dry_run=st.booleans(),
    selection=st.dictionaries(KEYS, KEYS | NUMBERS | st.lists(KEYS, max_size=2), max_size=2),
    partial=st.booleans(),
    sizes=st.dictionaries(KEYS, NUMBERS, max_size=2),
    key_mapping=st.dictionaries(KEYS, KEYS, max_size=2),
    requests=st.dictionaries(KEYS, NUMBERS, max_size=2),
)
ENTRIES = st.builds(
    CopyEntry,
    key=KEYS,
    target_key=KEYS,
    size=NUMBERS,
    etag=st.none() | KEYS,
    last_modified=st.floats(allow_nan=False, allow_infinity=False),
    reason=KEYS,
    target_etag=st.none() | KEYS,
    target_there=st.booleans(),
)


@given(manifest=MANIFESTS)
def test_a_manifest_is_read_as_it_was_written(manifest: Manifest) -> None:
    """Document, value and digest are one: equal plans have equal names."""
    again = Manifest.from_json(manifest.to_json())
    assert again == manifest
    assert again.digest == manifest.digest
    assert manifest.to_json().isascii()
    assert len(manifest.to_json().splitlines()) == 1


@given(manifest=MANIFESTS)
def test_a_plan_that_does_something_else_has_another_name(manifest: Manifest) -> None:
    """Whatever is changed in a plan changes its digest."""
    others = (
        replace(manifest, copy_bytes=manifest.copy_bytes + 1),
        replace(manifest, counts={**manifest.counts, "copy.other": 1}),
        replace(manifest, dry_run=not manifest.dry_run),
        replace(manifest, partial=not manifest.partial),
        replace(manifest, selection={**manifest.selection, "more": 1}),
        replace(manifest, source=Side(service="https://other", uri=manifest.source.uri)),
    )
    assert manifest.digest not in {other.digest for other in others}


@given(manifest=MANIFESTS, schema=st.none() | st.integers() | st.text(max_size=3))
def test_a_manifest_of_another_version_is_refused(manifest: Manifest, schema: object) -> None:
    """The message names the version found and the one that is read."""
    data = {**json.loads(manifest.to_json()), "schema": schema}
    if schema in {1, 2}:
        return
    with pytest.raises(ManifestError, match=r"schema of the manifest: .* is version 1 or 2"):
        Manifest.from_json(json.dumps(data))


@given(manifest=MANIFESTS, data=st.data())
def test_a_damaged_manifest_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    """A document that is cut short, or that lacks a field, is no manifest."""
    text = manifest.to_json()
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ManifestError, match="manifest"):
        Manifest.from_json(text[:cut])
    fields = json.loads(text)
    optional = {"noted", "quantiles", "dry_run", "schema", "selection", "partial", "sizes"}
    optional |= {"key_mapping", "requests"}
    del fields[data.draw(st.sampled_from(sorted(fields.keys() - optional)))]
    with pytest.raises(ManifestError, match="accepted is the fields that this version writes"):
        Manifest.from_json(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "[]", "1", "null", "{", '"x"', "\\xff", '{"a": \\xff}'])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    """Only a JSON object can be a stored record."""
    with pytest.raises(ManifestError, match="accepted is a JSON"):
        loads(text, what="manifest")


@given(entry=ENTRIES)
def test_an_entry_is_one_line_whatever_its_key(entry: CopyEntry) -> None:
    """Line breaks of every kind in a key do not break the line."""
    line = line_of(entry)
    assert line.splitlines() == [line[:-1]]
    assert CopyEntry(**loads(line, what="line")) == entry


@given(age=st.integers(0, 100), most=st.integers(1, 100), manifest=MANIFESTS)
def test_c35_a_manifest_has_an_age_at_which_it_ends(
    age: int, most: int, manifest: Manifest
) -> None:
    """A plan of up to the maximum age is used, an older one is refused with both numbers."""
    plan = replace(manifest, created=1_700_000_000.0)
    now = plan.created + age
    if age <= most:
        check_age(plan, now=now, max_age_s=most)
        assert now - plan.created <= most
    else:
        with pytest.raises(
            ManifestError, match=rf"found '{age} s old', accepted is at most {most}"
        ):
            check_age(plan, now=now, max_age_s=most)


@st.composite
def attempts(draw: st.DrawFn) -> tuple[Checkpoint, list[ListedPart]]:
    """Give a checkpoint and a listing of its upload; parts of the listing may be unrecorded."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=12))
    layout = PartLayout(size=sum(sizes), part_size=max(sizes), sizes=tuple(sizes))
    numbers = range(1, len(sizes) + 1)
    there = sorted(draw(st.sets(st.sampled_from(numbers))))
    recorded = sorted(draw(st.sets(st.sampled_from(numbers))))
    checkpoint = Checkpoint(
        source_uri="s",
        target_uri="t",
        identity=SourceIdentity(etag="e", size=sum(sizes)),
        layout=layout,
        upload_id="u",
        algorithm="CRC64NVME",
        parts=tuple(
            PartRecord(part_number=n, size=sizes[n - 1], etag=f'"E{n}"', checksum="c")
            for n in recorded
        ),
        superseded=tuple(draw(st.lists(KEYS, max_size=2))),
        started=1.5,
        asked="a",
    )
    listed = [ListedPart(part_number=n, size=sizes[n - 1], etag=f"e{n}") for n in there]
    return checkpoint, listed


def decision(checkpoint: Checkpoint, listed: list[ListedPart]) -> Continue | StartOver:
    """Decide for the same source, target and algorithm."""
    return decide(
        checkpoint,
        source_uri="s",
        target_uri="t",
        identity=checkpoint.identity,
        algorithm="CRC64NVME",
        asked="a",
        listed=listed,
    )


@given(attempt=attempts())
def test_c17_what_is_kept_read_again_and_missing_is_the_whole_object(
    attempt: tuple[Checkpoint, list[ListedPart]],
) -> None:
    """Every part is exactly one of the three; only parts that the target lists are not sent."""
    checkpoint, listed = attempt
    found = decision(checkpoint, listed)
    assert isinstance(found, Continue)
    kept = [part.part_number for part in found.kept]
    unrecorded = [part.part_number for part in found.unrecorded]
    together = sorted([*kept, *unrecorded, *found.missing])
    assert together == list(range(1, checkpoint.layout.count + 1))
    assert sorted([*kept, *unrecorded]) == [part.part_number for part in listed]
    assert set(kept) <= {part.part_number for part in checkpoint.parts}


@given(attempt=attempts(), data=st.data())
def test_c11_one_foreign_part_starts_everything_over(
    attempt: tuple[Checkpoint, list[ListedPart]], data: st.DataObject
) -> None:
    """A part of another size, number or ETag is never kept, nor are those beside it."""
    checkpoint, listed = attempt
    if not listed:
        return
    place = data.draw(st.integers(0, len(listed) - 1))
    one = listed[place]
    recorded = {part.part_number for part in checkpoint.parts}
    foreign = [
        replace(one, size=one.size + 1),
        replace(one, part_number=checkpoint.layout.count + 1),
        replace(one, part_number=0),
    ]
    if one.part_number in recorded:
        foreign.append(replace(one, etag="another"))
    for part in foreign:
        found = decision(checkpoint, [*listed[:place], part, *listed[place + 1 :]])
        assert isinstance(found, StartOver)
        assert f"part {part.part_number} " in found.reason
    twice = decision(checkpoint, [*listed, one])
    assert twice == StartOver(reason=f"part {one.part_number} is listed twice")


@given(attempt=attempts())
def test_a_checkpoint_is_read_as_it_was_written(
    attempt: tuple[Checkpoint, list[ListedPart]],
) -> None:
    """The record in the state location gives back the value."""
    assert from_json(to_json(attempt[0])) == attempt[0]
