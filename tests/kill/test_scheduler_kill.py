"""The scheduler is killed in the middle of a copy, and another one starts."""

from __future__ import annotations

from tests.kill.large_copy import check_copied, check_right, moving
from tests.support.distributed_stage import DistributedStage


def test_c17_a_copy_goes_on_under_another_scheduler(stage: DistributedStage) -> None:
    """It is not interrupted: nothing is sent twice, and the run ends well."""
    with moving(stage, 6) as copy:
        stage.scheduler().kill()
        sent = len(copy.sent())
        copy.wait_acknowledged(sent)
        stage.restart("scheduler")
    report = copy.finish()
    check_copied(report)
    check_right(stage)
    landed = [e for e in copy.sent() if e.upstream_status == 200]
    assert len({e.query["partNumber"] for e in landed}) == len(landed) == len(copy.sent())
    assert copy.transfer()["try_number"] == 1
