"""Parts that do not fit the memory budget are sent while they are read."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from tests.conftest import SeaweedPair
from tests.support.transfer_servers import Pair
from tests.support.wire import Wire
from tests.support.wire_rules import Flip, Match, Reset, Rule

KEY, SIZE = "streamed", 25 * MIB


@pytest.fixture
def pair(seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str) -> Pair:
    """Give two buckets behind wires, one object in the source."""
    found = Pair(seaweed_pair.source.endpoint, seaweed_pair.target.endpoint, bucket, wire)
    return found.put(KEY, random.Random(5).randbytes(SIZE))


def test_c20_large_parts_are_streamed_without_tls(pair: Pair) -> None:
    """A budget of 16 MiB and parts of 12 MiB: all parts arrive, compared by MD5, proven as one."""
    job = replace(pair.plan(KEY), part_size=12 * MIB, memory_budget=16 * MIB)
    job.run().raise_for_failures()
    outcome = pair.outcomes(job)[KEY]
    assert outcome.status is Status.COPIED
    assert outcome.proof is Proof.CHECKSUM
    assert len(pair.sent_parts(KEY)) == 3
    assert pair.data(KEY) == random.Random(5).randbytes(SIZE)


def test_a_streamed_part_that_broke_off_is_read_and_sent_again(pair: Pair) -> None:
    """The connection to the target is reset in the middle of a streamed part."""
    broken = Match(operation="UploadPart", query={"partNumber": "2"})
    pair.target_wire.add(Rule(when=broken, action=Reset(side="answer"), times=1))
    job = replace(pair.plan(KEY), part_size=12 * MIB, memory_budget=16 * MIB)
    job.run().raise_for_failures()
    assert pair.data(KEY) == random.Random(5).randbytes(SIZE)


def test_a_flipped_byte_in_a_streamed_part_never_lands(pair: Pair) -> None:
    """A byte changed on the way to the target is noticed by the ETag; nothing is completed."""
    changed = Match(operation="UploadPart", query={"partNumber": "1"})
    pair.target_wire.add(Rule(when=changed, action=Flip(side="request", offset=5000)))
    job = replace(pair.plan(KEY), part_size=12 * MIB, memory_budget=16 * MIB)
    result = job.run()
    assert [failure.key for failure in result.failures] == [KEY]
    assert "ETag" in (result.failures[0].error or "")
    listed = pair.target_client.list_objects_v2(Bucket=pair.bucket, Prefix=KEY)
    assert listed["KeyCount"] == 0


@pytest.mark.parametrize("checksums", ["crc32", "crc32c", "md5", "none"])
def test_parts_carry_what_the_target_checks(pair: Pair, checksums: str) -> None:
    """A target without full-object checksums gets each part's, repeated at Complete."""
    planned = pair.plan(KEY)
    job = replace(planned, target=replace(planned.target, extra={"checksums": checksums}))
    job.run().raise_for_failures()
    assert pair.data(KEY) == random.Random(5).randbytes(SIZE)
    assert pair.outcomes(job)[KEY].proof is not Proof.NONE
