"""c17 with a real worker process, SIGKILL, and real servers: no acknowledged part is sent again."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_s3resume.transfer.outcomes import LANDED
from tests.conftest import SeaweedPair
from tests.support.processes import wait_until
from tests.support.transfer_servers import (
    PART,
    Pair,
    acknowledged,
    part_number,
    start_worker,
)
from tests.support.wire import Wire
from tests.support.wire_rules import Exchange, Match

DEADLINE_S = 60.0
KEY = "large"
PARTS = 12
OLD = b"the old object"


@pytest.fixture
def pair(seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str) -> Pair:
    """Give two buckets behind wires."""
    return Pair(seaweed_pair.source.endpoint, seaweed_pair.target.endpoint, bucket, wire)


def part_is(number: int) -> Callable[[Exchange], bool]:
    """Return a predicate for the UploadPart of a part."""
    return Match(operation="UploadPart", query={"partNumber": str(number)})


POINTS: dict[str, tuple[Callable[[Exchange], bool], str, int]] = {
    "before-a-part-is-sent": (part_is(7), "request", 5),
    "part-there-answer-unheard": (part_is(9), "answer", 6),
    "last-part-there-answer-unheard": (part_is(PARTS), "answer", 10),
    "before-complete": (Match(operation="CompleteMultipartUpload"), "request", PARTS),
    "completed-answer-unheard": (Match(operation="CompleteMultipartUpload"), "answer", PARTS),
    "upload-created-answer-unheard": (Match(operation="CreateMultipartUpload"), "answer", 0),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("in_parts", [False, True], ids=["plain-source", "multipart-source"])
def test_c17_killed_worker(pair: Pair, tmp_path: Path, point: str, *, in_parts: bool) -> None:
    """After SIGKILL a new worker sends only what is missing, and says how much it kept."""
    predicate, side, at_least = POINTS[point]
    data = random.Random(17).randbytes((PARTS - 1) * PART + 1000)
    sizes = [PART] * (PARTS - 1) + [1000] if in_parts else []
    job = pair.put(KEY, data, sizes).put_old(KEY, OLD).plan(KEY)
    with pair.target_wire.hold(predicate, side=side) as hold:  # type: ignore[arg-type]
        worker = start_worker(job, tmp_path, "killed")
        hold.wait(deadline_s=DEADLINE_S)
        if at_least:
            wait_until(
                lambda: len(acknowledged(pair.sent_parts(KEY))) >= at_least,
                deadline_s=DEADLINE_S,
                what=f"{at_least} parts are acknowledged",
            )
        before = acknowledged(pair.sent_parts(KEY))
        reached = len(pair.target_wire.exchanges)
        worker.kill()
        hold.drop()
    completed = point == "completed-answer-unheard"
    assert pair.data(KEY) == (data if completed else OLD)
    second = start_worker(job, tmp_path, "second")
    wait_until(lambda: not second.is_running(), deadline_s=DEADLINE_S, what="the worker ends")
    assert second.process.returncode == 0, second.log_tail()
    assert pair.data(KEY) == data
    later = [e for e in pair.sent_parts(KEY) if e.number > reached]
    resent = before & {part_number(exchange) for exchange in later}
    assert not resent
    outcome = pair.outcomes(job)[KEY]
    assert outcome.status in LANDED
    if before and not completed:
        found = re.search(rf"kept (\d+) of {PARTS} parts", second.log_file.read_text())
        assert found is not None, second.log_tail()
        assert int(found[1]) >= len(before)
        assert outcome.kept_parts == int(found[1])
        assert outcome.sent_parts == PARTS - outcome.kept_parts
    # One that was begun and not recorded may be another tool's: it is named, never aborted.
    left = pair.open_uploads()
    assert len(left) == (point == "upload-created-answer-unheard")
    assert all(upload_id in " ".join(outcome.notes) for upload_id in left)
