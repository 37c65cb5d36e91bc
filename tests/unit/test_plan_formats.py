"""Stored formats stay readable: ``tests/data`` holds what version 1 wrote (never regenerate it).

A new field needs a new schema version with a default for the old one, and a file of its own here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_s3resume.exceptions import ManifestError
from airflow_provider_s3resume.plan.diff import ProvenPair
from airflow_provider_s3resume.plan.manifest import (
    BatchRef,
    CopyEntry,
    FileRef,
    Manifest,
    NotedEntry,
    Side,
    line_of,
    load_objects,
    loads,
)
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.plan.parts import PartLayout
from airflow_provider_s3resume.plan.resume import Checkpoint, PartRecord
from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords, from_json, to_json
from airflow_provider_s3resume.transfer.outcomes import Outcome, Proof, Status
from airflow_provider_s3resume.transfer.proven import pair_line, pair_of

DATA = Path(__file__).resolve().parent.parent / "data"

CHECKPOINT = Checkpoint(
    source_uri="https://s3.eu-central-1.amazonaws.com s3://source/dir/a b\U0001f600",
    target_uri="http://127.0.0.1:8333 s3://target/copy/a b\U0001f600",
    identity=SourceIdentity(etag="9b2cf535f27731c974343645a3985328-3", size=18, version_id="v1"),
    layout=PartLayout(size=18, part_size=7, sizes=(5, 7, 6), known=True, reproduces_source=True),
    upload_id="upload-2",
    algorithm="CRC64NVME",
    uploads_before=("upload-0",),
    parts=(
        PartRecord(part_number=1, size=5, etag="one", checksum="AAAAAAAAAAA="),
        PartRecord(part_number=3, size=6, etag="three"),
    ),
    superseded=("upload-1",),
    started=1700000000.25,
)
UNIFORM = Checkpoint(
    source_uri="s",
    target_uri="t",
    identity=SourceIdentity(etag=None, size=20),
    layout=PartLayout(size=20, part_size=8),
    upload_id=None,
    algorithm="MD5",
)
ASKED = replace(CHECKPOINT, asked="0" * 64)
SOURCE = replace(
    ASKED,
    source_algorithm="CRC64XZ",
    parts=(
        PartRecord(part_number=1, size=5, etag="one", checksum="A=", source_checksum="B="),
        PartRecord(part_number=3, size=6, etag="three"),
    ),
)
SERVICE = replace(
    ASKED,
    parts=(
        PartRecord(part_number=1, size=5, etag="one", checksum="A=", by_service=True),
        PartRecord(part_number=3, size=6, etag="three"),
    ),
)
OUTCOMES = [
    Outcome(
        key="a\nb\u2028",
        target_key="copy/a\nb\u2028",
        status=Status.COPIED,
        size=18,
        source_etag="9b2cf535f27731c974343645a3985328-3",
        target_etag="9b2cf535f27731c974343645a3985328-3",
        proof=Proof.ETAG,
        sent_parts=2,
        kept_parts=1,
        reread_parts=1,
        bytes_moved=12,
        unprotected=True,
        checkpointed=True,
        superseded=("upload-1",),
        notes=("a note",),
    ),
    Outcome(key="b", target_key="b", status=Status.ALREADY_THERE, size=1, proof=Proof.PARTS),
    Outcome(key="c", target_key="c", status=Status.GONE, size=1),
    Outcome(
        key="d",
        target_key="d",
        status=Status.FAILED,
        size=0,
        error="denied",
        error_kind="AccessDeniedError",
        retryable=True,
    ),
    Outcome(key="e", target_key="e", status=Status.COPIED, size=1, proof=Proof.CHECKSUM),
    Outcome(key="f", target_key="f", status=Status.COPIED, size=1, proof=Proof.CRC64),
    Outcome(key="g", target_key="g", status=Status.COPIED, size=1, proof=Proof.MD5),
    Outcome(
        key="h",
        target_key="h",
        status=Status.COPIED,
        size=1,
        proof=Proof.SERVICE,
        by_service=True,
    ),
]
MANIFEST = Manifest(
    run_id="manual__2024",
    created=1700000000.5,
    source=Side(service="https://s3.eu-central-1.amazonaws.com", uri="s3://source/dir/"),
    target=Side(service="http://127.0.0.1:8333", uri="s3://target/copy/"),
    rule="size+etag",
    counts={"copy.missing_at_target": 1, "refuse.key_not_kept": 1, "skip.same_digest": 7},
    copy_objects=1,
    copy_bytes=18,
    batches=(
        BatchRef(
            manifest="runs/x/manifest.json",
            index=0,
            key="runs/x/batches/00000.jsonl",
            sha256="0" * 64,
            objects=1,
            bytes=18,
            first_key="dir/\U0001f600",
            last_key="dir/\U0001f600",
            listed=1,
        ),
    ),
    noted=(FileRef(key="runs/x/noted/00000.jsonl", sha256="1" * 64, lines=1),),
    quantiles=("dir/m",),
    dry_run=True,
    schema=1,
)
MANIFEST_2 = replace(
    MANIFEST,
    counts={**MANIFEST.counts, "skip.not_selected": 2},
    selection={"include": ["*.csv"], "max_age_s": 60, "key_list": "s3://lists/k.csv"},
    partial=True,
    sizes={"copy.missing_at_target": 18, "skip.not_selected": 5},
    key_mapping={"add_prefix": "new/", "function": "keys:turned"},
    requests={"source.GetObject": 1, "target.PutObject": 1},
    schema=2,
)
ENTRY = CopyEntry(
    key="dir/\U0001f600",
    target_key="copy/\U0001f600",
    size=18,
    etag="9b2cf535f27731c974343645a3985328-3",
    last_modified=1690000000.0,
    reason="size_differs",
    target_etag="8d777f385d3dfec8815d20f7496026dc",
    target_there=True,
    storage_class="STANDARD",
    version_id="v1",
)
NOTED = NotedEntry(
    key="dir/a//b",
    target_key="copy/a//b",
    verb="refuse",
    reason="key_not_kept",
    size=3,
    source_etag="8d777f385d3dfec8815d20f7496026dc",
)
PAIR = ProvenPair(key="a\0", source_etag="x-2", target_etag="y", size=5)


def text_of(name: str) -> str:
    """Return what was stored."""
    return (DATA / name).read_text(encoding="ascii")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("checkpoint-1.json", CHECKPOINT),
        ("checkpoint-1-uniform.json", UNIFORM),
        ("checkpoint-1-asked.json", ASKED),
        ("checkpoint-1-source.json", SOURCE),
        ("checkpoint-1-service.json", SERVICE),
    ],
)
def test_checkpoints_of_version_1_are_read_and_written(name: str, value: Checkpoint) -> None:
    """An upload begun by an earlier release is gone on with by this one."""
    assert from_json(text_of(name)) == value
    assert to_json(value) == text_of(name)


def test_the_place_of_a_checkpoint_stays() -> None:
    """A later release looks for it where an earlier one put it."""
    assert CheckpointRecords.name_of(CHECKPOINT.source_uri, CHECKPOINT.target_uri) == (
        "checkpoints/" + json.loads(text_of("names-1.json"))["checkpoint"] + ".json"
    )


def test_outcomes_of_version_1_are_read_and_written() -> None:
    """Every status and proof has the word that it had."""
    files = ("outcomes-1.jsonl", "outcomes-1-proofs.jsonl", "outcomes-1-service.jsonl")
    lines = [line for name in files for line in text_of(name).splitlines()]
    assert [Outcome.from_line(line) for line in lines] == OUTCOMES
    assert [outcome.to_line() for outcome in OUTCOMES] == [f"{line}\n" for line in lines]
    assert {outcome.status for outcome in OUTCOMES} == set(Status)
    assert {outcome.proof for outcome in OUTCOMES} == set(Proof)


def test_manifests_of_version_1_are_read_and_written() -> None:
    """The document and the digest that names the plan are stable."""
    text = text_of("manifest-1.json")
    assert Manifest.from_json(text) == MANIFEST
    assert MANIFEST.to_json() == text
    assert MANIFEST.digest == json.loads(text_of("names-1.json"))["manifest"]


def test_manifests_of_version_2_are_read_and_written() -> None:
    """They say what was selected, what became of keys, and what it costs."""
    text = text_of("manifest-2.json")
    assert Manifest.from_json(text) == MANIFEST_2
    assert MANIFEST_2.to_json() == text
    assert MANIFEST_2.digest == json.loads(text_of("names-2.json"))["manifest"]
    assert (
        replace(MANIFEST_2, schema=1).to_json()
        == replace(MANIFEST, counts=MANIFEST_2.counts).to_json()
    )


def test_lines_of_version_1_are_read_and_written() -> None:
    """Batch files, noted keys and proven pairs."""
    entry, noted, pair = text_of("lines-1.jsonl").splitlines(keepends=True)
    assert CopyEntry(**loads(entry, what="line")) == ENTRY
    assert NotedEntry(**loads(noted, what="line")) == NOTED
    assert pair_of(pair) == PAIR
    assert (line_of(ENTRY), line_of(NOTED), pair_line(PAIR)) == (entry, noted, pair)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"schema":1', '"schema":2'),
        ('"schema":1', '"schema":"1"'),
        (',"schema":1', ""),
        ('"upload_id"', '"other_id"'),
        ('"parts":[[1', '"parts":[1,[1'),
        ('"part_size":7', '"part_size":0'),
        ('"sizes":[5,7,6]', '"sizes":[5,7]'),
        ('"identity":{', '"identity":{"more":1,'),
        ("{", "["),
    ],
)
def test_a_checkpoint_that_is_not_of_this_version_is_refused(old: str, new: str) -> None:
    """Damaged, newer or foreign: it is not half read."""
    text = text_of("checkpoint-1.json")
    assert old in text
    with pytest.raises(ManifestError, match="checkpoint"):
        from_json(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [('"copied"', '"done"'), ('"etag"', '"magic"'), ('"size"', '"length"'), ("}", "")],
)
def test_an_outcome_that_is_not_of_this_version_is_refused(old: str, new: str) -> None:
    """A word that nobody knows is no outcome."""
    line = text_of("outcomes-1.jsonl").splitlines()[0]
    assert old in line
    with pytest.raises(ManifestError, match="outcome line"):
        Outcome.from_line(line.replace(old, new))


def test_a_pair_that_is_not_of_this_version_is_refused() -> None:
    """The record of proven pairs ends where it cannot be read."""
    with pytest.raises(ManifestError, match="proven pair"):
        pair_of('{"key":"a"}')


def test_lines_that_are_read_together_are_those_that_are_read_one_by_one() -> None:
    """However many there are, and whatever is in them."""
    for count in (0, 1, 127, 128, 129, 400):
        lines = [line_of(replace(ENTRY, key=f'"{n}",{{[\n\u2028', size=n)) for n in range(count)]
        found = list(load_objects(lines, what="line"))
        assert found == [loads(line, what="line") for line in lines]


@pytest.mark.parametrize("bad", ["", "1", "null", "[]", "{", '{"a":1},{"a":2}', '{}],"lines":[{}'])
@pytest.mark.parametrize("at", [0, 200, 299])
def test_a_line_that_is_not_one_object_is_refused(bad: str, at: int) -> None:
    """Wherever it stands."""
    lines = [line_of(ENTRY)] * 300
    lines[at] = bad
    with pytest.raises(ManifestError, match=f"batch line {at + 1}:"):
        list(load_objects(lines, what="batch line"))
