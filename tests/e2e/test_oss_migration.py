"""The migration from Alibaba Cloud OSS through a real scheduler."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from airflow_provider_s3resume.plan.parts import MIB
from tests.e2e.places import Places
from tests.support.airflow_api import ApiError
from tests.support.oss_faults import Fault
from tests.support.oss_objects import OSSState
from tests.support.oss_server import OSSServer
from tests.support.oss_stage import MIGRATION
from tests.support.stage import FinishedRun

OLD = b"the old target object"
CHANCE = random.Random(11)
LARGE, GROWN = CHANCE.randbytes(40 * MIB), CHANCE.randbytes(18 * MIB)


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """A bucket of OSS and one of the stage's target, of the same name."""

    server: OSSServer
    places: Places

    @property
    def state(self) -> OSSState:
        """The way in to the source, past everything that can go wrong."""
        return self.server.state

    @property
    def bucket(self) -> str:
        """The name of both buckets."""
        return self.places.bucket

    def put(self, key: str, body: bytes) -> None:
        """Store an object at the source."""
        self.state.put(self.bucket, key, body)

    def run(self, **params: object) -> FinishedRun:
        """Run the migration to its end."""
        uris = {"source_uri": f"oss://{self.bucket}/", "target_uri": f"s3://{self.bucket}/"}
        return self.places.stage.run(MIGRATION, {**uris, **params})


@pytest.fixture
def migration(places: Places, oss_server: OSSServer) -> Iterator[Migration]:
    """Give two empty buckets that no other test uses."""
    oss_server.state.create_bucket(places.bucket)
    yield Migration(server=oss_server, places=places)
    oss_server.faults.clear()
    del oss_server.state.buckets[places.bucket]


def test_a_bucket_is_migrated_over_a_bad_line_and_then_kept_in_step(migration: Migration) -> None:
    """Throttled, broken off, with a token said to have expired: each object has its proof."""
    migration.put("small.csv", b"1,2,3")
    migration.put("large.bin", LARGE)
    migration.state.append(migration.bucket, "app.log", GROWN)
    migration.state.put_symlink(migration.bucket, "latest.csv", "small.csv")
    for fault in (
        Fault(kind="unavailable", operation="ListObjectsV2", code="TotalQpsLimitExceeded", times=2),
        Fault(kind="reset", operation="GetObject", key="large.bin", times=3, after_bytes=MIB),
        Fault(kind="expired_token", operation="HeadObject", times=1),
        Fault(kind="truncate", operation="GetObject", key="app.log", times=1, after_bytes=777),
    ):
        migration.server.faults.add(fault)
    run = migration.run()
    stage = migration.places.stage
    assert run.state == "success", stage.logs(run.run_id, MIGRATION)
    assert (run.report["planned"], run.report["copied"], run.report["failed"]) == (4, 4, 0)
    assert run.report["verified_by"] == {"crc64": 4}
    assert run.report["source"] == f"oss://{migration.bucket}/"
    assert migration.places.target_bodies() == {
        "small.csv": b"1,2,3",
        "latest.csv": b"1,2,3",
        "large.bin": LARGE,
        "app.log": GROWN,
    }
    migration.state.append(migration.bucket, "app.log", b"one line more")
    again = migration.run()
    assert (again.report["planned"], again.report["copied"]) == (1, 1)
    assert migration.places.target_bodies()["app.log"] == GROWN + b"one line more"


def test_c40_what_cannot_be_copied_fails_the_run_by_name(migration: Migration) -> None:
    """A flipped byte: all others arrive, and old objects stay; what is archived is not tried."""
    for key in ("good", "flipped", "frozen"):
        migration.put(key, key.encode() * 1000)
    migration.state.corrupt(migration.bucket, "flipped", 2345)
    migration.state.set_class(migration.bucket, "frozen", "Archive")
    migration.state.put_symlink(migration.bucket, "link", "good")
    migration.places.put_target("flipped", OLD)
    run = migration.run(symlinks="report")
    assert run.state == "failed"
    assert migration.places.target_bodies() == {"good": b"good" * 1000, "flipped": OLD}
    assert [found["key"] for found in run.report["failures"]] == ["flipped"]
    assert run.report["failure_kinds"] == {"VerificationError": 1}
    assert run.report["skipped"] == {"symlink": 1, "archived": 1}
    assert run.report["skipped_bytes"]["archived"] == len("frozen") * 1000
    assert not migration.server.requests.seen(operation="GetObject", key="frozen")


def test_a_target_on_oss_is_refused_before_the_run_begins(migration: Migration) -> None:
    """OSS is a source; the form says what is accepted."""
    with pytest.raises(ApiError, match="target_uri"):
        migration.run(target_uri=f"oss://{migration.bucket}/")
