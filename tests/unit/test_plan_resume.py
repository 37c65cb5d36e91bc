"""Every reason to start over, each on its own, and what a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.plan.parts import PartLayout
from airflow_provider_s3resume.plan.resume import (
    Checkpoint,
    Continue,
    Decision,
    ListedPart,
    PartRecord,
    StartOver,
    decide,
)

IDENTITY = SourceIdentity(etag="e", size=18)
CHECKPOINT = Checkpoint(
    source_uri="s",
    target_uri="t",
    identity=IDENTITY,
    layout=PartLayout(size=18, part_size=7, sizes=(5, 7, 6)),
    upload_id="u",
    algorithm="CRC64NVME",
    asked="a",
    parts=(
        PartRecord(part_number=1, size=5, etag="one", checksum="c1"),
        PartRecord(part_number=3, size=6, etag="three", checksum="c3"),
    ),
)
ONE = ListedPart(part_number=1, size=5, etag='"ONE"')
TWO = ListedPart(part_number=2, size=7, etag="two")


def decided(
    checkpoint: Checkpoint = CHECKPOINT,
    *,
    source_uri: str = "s",
    target_uri: str = "t",
    identity: SourceIdentity = IDENTITY,
    algorithm: str = "CRC64NVME",
    asked: str = "a",
    listed: list[ListedPart] | None = None,
) -> Decision:
    """Decide about the checkpoint; what is not given is as it was."""
    return decide(
        checkpoint,
        source_uri=source_uri,
        target_uri=target_uri,
        identity=identity,
        algorithm=algorithm,
        asked=asked,
        listed=listed,
    )


def test_c11_parts_are_kept_by_upload_and_record() -> None:
    """Recorded parts are kept, unrecorded ones read again, lost ones sent again."""
    assert decided(listed=[ONE, TWO]) == Continue(
        upload_id="u", kept=(CHECKPOINT.parts[0],), unrecorded=(TWO,), missing=(3,)
    )
    assert decided(listed=[]) == Continue(upload_id="u", kept=(), unrecorded=(), missing=(1, 2, 3))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (
            lambda: decided(replace(CHECKPOINT, upload_id=None), listed=[]),
            "the earlier attempt ended before its upload was recorded",
        ),
        (
            lambda: decided(source_uri="x", listed=[]),
            "the checkpoint is of another pair of objects",
        ),
        (
            lambda: decided(target_uri="x", listed=[]),
            "the checkpoint is of another pair of objects",
        ),
        (
            lambda: decided(identity=SourceIdentity(etag=None, size=18), listed=[]),
            "the source gives no ETag or version to recognise it by",
        ),
        (
            lambda: decided(identity=SourceIdentity(etag="f", size=18), listed=[]),
            "the source was replaced: was ETag e, 18 bytes; is ETag f, 18 bytes",
        ),
        (
            lambda: decided(identity=SourceIdentity(etag="e", size=19), listed=[]),
            "the source was replaced: was ETag e, 18 bytes; is ETag e, 19 bytes",
        ),
        (
            lambda: decided(identity=replace(IDENTITY, version_id="v2"), listed=[]),
            "the source was replaced: was ETag e, 18 bytes; is ETag e, 18 bytes",
        ),
        (
            lambda: decided(algorithm="MD5", listed=[]),
            "parts carry CRC64NVME checksums, now MD5 are asked for",
        ),
        (
            lambda: decided(asked="b", listed=[]),
            "other attributes, storage class or encryption are asked for than the upload has",
        ),
        (
            lambda: decided(replace(CHECKPOINT, asked=""), listed=[]),
            "the checkpoint does not say which attributes and encryption its upload has",
        ),
        (lambda: decided(listed=None), "the upload does not exist any more at the target"),
        (lambda: decided(listed=[ONE, ONE]), "part 1 is listed twice"),
        (
            lambda: decided(listed=[replace(ONE, part_number=4)]),
            "part 4 does not belong to a layout of 3 parts",
        ),
        (
            lambda: decided(listed=[replace(ONE, part_number=0)]),
            "part 0 does not belong to a layout of 3 parts",
        ),
        (lambda: decided(listed=[replace(ONE, size=4)]), "part 1 has 4 bytes, expected 5"),
        (lambda: decided(listed=[replace(ONE, etag="x")]), "part 1 has ETag x, recorded was one"),
    ],
)
def test_c11_every_reason_to_start_over_is_stated(
    found: Callable[[], Decision], reason: str
) -> None:
    """Nothing is kept, and the log says why."""
    assert found() == StartOver(reason=reason)


def test_c11_a_part_size_configured_since_does_not_matter() -> None:
    """The layout is the checkpoint's own: offsets never move under acknowledged parts."""
    whole = replace(CHECKPOINT, layout=PartLayout(size=18, part_size=18), parts=())
    found = decided(whole, listed=[])
    assert isinstance(found, Continue)
    assert found.missing == (1,)
