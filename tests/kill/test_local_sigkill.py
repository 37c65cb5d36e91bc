"""c17 with a folder on one side: after SIGKILL, what was acknowledged is not sent again."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_s3resume.transfer.outcomes import LANDED
from tests.conftest import SeaweedPair
from tests.kill.large_copy import AfterFirst
from tests.support.folder_worker import FolderJob
from tests.support.folders import files_of, folder_store, unfinished_of
from tests.support.processes import Child, wait_until
from tests.support.transfer_servers import PART, Pair, acknowledged, part_number
from tests.support.wire import Wire
from tests.support.wire_rules import Match

DEADLINE_S = 60.0
KEY = "large"
PARTS = 12
BEFORE = 5
DATA = random.Random(29).randbytes((PARTS - 1) * PART + 1000)
OLD = b"the old object"


@pytest.fixture
def pair(seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str) -> Pair:
    """Give two buckets behind wires."""
    return Pair(seaweed_pair.source.endpoint, seaweed_pair.target.endpoint, bucket, wire)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give an empty folder."""
    made = tmp_path / "folder"
    made.mkdir()
    return made


def finish(job: FolderJob, tmp_path: Path) -> int:
    """Make the second attempt; return how many parts it found to be there."""
    second = job.start(tmp_path, "second")
    wait_until(lambda: not second.is_running(), deadline_s=DEADLINE_S, what="the worker ends")
    assert second.process.returncode == 0, second.log_tail()
    found = re.search(rf"kept (\d+) of {PARTS} parts", second.log_file.read_text())
    assert found is not None, second.log_tail()
    outcome = job.outcome()
    assert outcome.status in LANDED
    assert outcome.kept_parts == int(found[1])
    assert outcome.sent_parts == PARTS - outcome.kept_parts
    return outcome.kept_parts


def test_c17_a_killed_download_is_gone_on_with(pair: Pair, folder: Path, tmp_path: Path) -> None:
    """The old file stays until the new one is whole; parts on the disk are not asked for again."""
    pair.put(KEY, DATA)
    (folder / KEY).write_bytes(OLD)
    job = FolderJob.plan(folder, pair._source, pair._target, KEY, uploads=False)
    store = folder_store(folder)

    def held() -> int:
        return sum(len(store.list_parts(KEY, one.upload_id)) for one in store.list_uploads(KEY))

    gets = Match(operation="GetObject")
    with pair.source_wire.hold(AfterFirst(BEFORE, gets)) as hold:
        worker = job.start(tmp_path, "killed")
        hold.wait(deadline_s=DEADLINE_S)
        wait_for(worker, lambda: held() >= BEFORE)
        worker.kill()
        hold.drop()
    assert files_of(folder) == {KEY: OLD}
    before = held()
    reached = len(pair.source_wire.exchanges)
    assert finish(job, tmp_path) >= before >= BEFORE
    assert files_of(folder) == {KEY: DATA}
    assert unfinished_of(folder) == []
    later = [e for e in pair.source_wire.seen(gets) if e.number > reached]
    assert len(later) == PARTS - before


def test_c17_a_killed_upload_is_gone_on_with(pair: Pair, folder: Path, tmp_path: Path) -> None:
    """Parts that the bucket holds are not sent again."""
    (folder / KEY).write_bytes(DATA)
    pair.put_old(KEY, OLD)
    job = FolderJob.plan(folder, pair._target, pair._source, KEY, uploads=True)
    with pair.target_wire.hold(AfterFirst(BEFORE, Match(operation="UploadPart"))) as hold:
        worker = job.start(tmp_path, "killed")
        hold.wait(deadline_s=DEADLINE_S)
        wait_for(worker, lambda: len(acknowledged(pair.sent_parts(KEY))) >= BEFORE)
        before = acknowledged(pair.sent_parts(KEY))
        reached = len(pair.target_wire.exchanges)
        worker.kill()
        hold.drop()
    assert pair.data(KEY) == OLD
    assert finish(job, tmp_path) >= len(before)
    assert pair.data(KEY) == DATA
    later = {part_number(e) for e in pair.sent_parts(KEY) if e.number > reached}
    assert not before & later


def wait_for(worker: Child, is_so: Callable[[], bool]) -> None:
    """Wait until so many parts are acknowledged."""
    wait_until(
        is_so, deadline_s=DEADLINE_S, what=f"{BEFORE} parts are acknowledged {worker.log_tail()}"
    )
