"""Every fault at every call of the copy and the plan: right bytes, or a failure with its reason."""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from airflow_provider_s3resume.exceptions import S3ResumeError
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.transfer import config, multipart, parts, reading, single
from airflow_provider_s3resume.transfer.pool import Workers
from tests.conftest import SeaweedPair
from tests.fault.table_calls import ROWS, SMALL, WHOLE, Row, calls_without_rows
from tests.fault.table_endings import ending_of, meets_create
from tests.fault.table_faults import FAULTS, Failed, Fault, Healed, cells
from tests.fault.table_scenarios import SCENARIOS, SIZES, Shared, World
from tests.support.tls import make_certificate

CELLS = cells(ROWS)
DEADLINE_S = 60
"""For a cell, from the end of the one before on; none takes more than half of it."""

AT_ONCE = 6


@pytest.fixture(scope="module")
def shared(seaweed_pair: SeaweedPair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Give the servers with their objects; waits between tries are short."""
    chance, folder = random.Random(4), tmp_path_factory.mktemp("certificates")
    made = Shared(
        servers=seaweed_pair,
        bucket=f"table-{secrets.token_hex(4)}",
        wanted={
            **{name: chance.randbytes(sum(sizes)) for name, sizes in SIZES.items()},
            SMALL: chance.randbytes(700),
            WHOLE: chance.randbytes(MIB + 300),
        },
        ours=make_certificate(folder / "ours"),
        foreign=make_certificate(folder / "foreign"),
    )
    made.seed()
    with pytest.MonkeyPatch.context() as patch:
        for module in (multipart, parts, reading, single):
            patch.setattr(module, "_FIRST_WAIT_S", 0.01)
        # So that a part can be larger than the memory, without megabytes in each cell.
        patch.setattr(parts, "_THROTTLED_S", 0.0)
        patch.setattr(reading, "BREAKS_ALLOWED", 2)
        patch.setattr(config, "MIN_MEMORY_BUDGET", 1)
        patch.setattr(parts, "STREAM_BUFFER", 1000)
        yield made


def _id(cell: tuple[Fault, Row]) -> str:
    return f"{cell[1].name}-{cell[0].name}"


@pytest.fixture(scope="module")
def ends(shared: Shared, request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[None]]]:
    """Give what becomes of the cells that were chosen: several at once, since most of them wait."""
    items = (getattr(item, "callspec", None) for item in request.session.items)
    chosen = [spec.params["cell"] for spec in items if spec and "cell" in spec.params]
    workers = Workers(AT_ONCE, "fault-table")
    yield {_id(cell): workers.submit(partial(_run, shared, *cell)) for cell in chosen}
    workers.close()


@pytest.mark.parametrize("cell", CELLS, ids=_id)
def test_a_fault_ends_in_the_right_bytes_or_a_failure_with_its_reason(
    ends: Mapping[str, Future[None]], cell: tuple[Fault, Row]
) -> None:
    """What passes is healed within the attempt; what stays fails it, and harms nothing."""
    ends[_id(cell)].result(DEADLINE_S)


def _run(shared: Shared, fault: Fault, row: Row) -> None:
    with World(shared, fault, row, f"c{CELLS.index((fault, row)):04d}") as world:
        scenario = SCENARIOS[row.scenario](world)
        scenario.prepare()
        rule, caught = world.strike(), None
        try:
            scenario.attempt()
        except S3ResumeError as error:
            caught = error
        assert rule.used, "the scenario did not make this call"
        world.mend()
        if caught is None:
            scenario.check_right()
        else:
            scenario.check_whole()
            scenario.attempt()
            scenario.check_right()
        scenario.check_clean()
        _judge(fault, row, caught, shared.bucket)


def _judge(fault: Fault, row: Row, caught: S3ResumeError | None, bucket: str) -> None:
    expected = ending_of(fault, row)
    if caught is not None and meets_create(fault, row, caught):
        return
    match expected:
        case Healed():
            assert caught is None, f"was to be healed: {caught}"
        case Failed():
            assert caught is not None, "was to fail"
            assert bucket in str(caught)
            assert re.search(expected.reason, str(caught)), str(caught)
            if expected.retryable is not None:
                assert caught.retryable is expected.retryable, str(caught)


def test_every_call_of_the_contract_has_rows() -> None:
    """A new method of ``ObjectStore`` needs a row here, with a scenario that makes the call."""
    assert calls_without_rows(ObjectStore) == set()
    assert {row.scenario for row in ROWS} == set(SCENARIOS)


def test_a_new_call_without_rows_is_found() -> None:
    """The list is made from the contract itself."""

    class Grown(ObjectStore, Protocol):
        def copy_object(self, key: str) -> None:
            """Do something that the table does not know."""

    assert calls_without_rows(Grown) == {"copy_object"}


def test_every_fault_has_cells() -> None:
    """No fault is defined and then used nowhere."""
    assert {fault.name for fault, _ in CELLS} == {fault.name for fault in FAULTS}
    assert len({_id(cell) for cell in CELLS}) == len(CELLS)


def test_every_fault_is_documented() -> None:
    """Each column stands in docs/faults.md, by its name."""
    told = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    kinds = {re.sub("-for-(good|a-while)$", "", fault.name) for fault in FAULTS}
    assert {kind for kind in kinds if f"`{kind}`" not in told} == set()
