"""c41: what the store's layers have repeated is not repeated on top of them."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.exceptions import StoreError, ThrottledError, TransientStoreError
from airflow_provider_s3resume.transfer.outcomes import Status
from tests.support.transfer_world import KEY, Moment, World, no_waits, pattern


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


CALLS = [
    ("PutObject", 15, "target", ThrottledError),
    ("CompleteMultipartUpload", 45, "target", ThrottledError),
    ("GetObject", 45, "source", ThrottledError),
    ("GetObject", 45, "source", TransientStoreError),
]


@pytest.mark.parametrize(("operation", "size", "side", "error"), CALLS)
def test_c41_retries_do_not_multiply(
    operation: str, size: int, side: str, error: type[StoreError]
) -> None:
    """One call of the engine is one call of the layers, which know how often to repeat it."""
    world = World()
    world.seed(pattern(size))
    world.plan()

    def refuse(moment: Moment) -> None:
        if moment.is_(operation, side=side) and moment.key == KEY:
            raise error(operation, "s3://b", "SlowDown")

    world.on_moment = refuse
    outcome = world.run_one()
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, error.__name__)
    # The second part may be under way already when the first one fails.
    most = 2 if operation == "GetObject" else 1
    assert 1 <= world.traffic.count(operation, side=side, key=KEY) <= most


@pytest.mark.parametrize("error", [ThrottledError, TransientStoreError])
@pytest.mark.parametrize("operation", ["PutObject", "HeadObject"])
def test_c41_state_calls_do_not_multiply(operation: str, error: type[StoreError]) -> None:
    """A record's write or read that failed in the layers is at most looked at once."""
    world = World()
    world.state.write_text("there.json", "old")
    world.forget_traffic()

    def refuse(moment: Moment) -> None:
        if moment.is_(operation, side="state"):
            raise error(operation, "s3://state", "SlowDown")

    world.on_moment = refuse
    with pytest.raises(error):
        if operation == "PutObject":
            world.state.write_text("there.json", "new")
        else:
            world.state.read_text("there.json")
    assert world.traffic.count(operation, side="state") == 1
