"""The OSS demo: migrate a bucket of Alibaba Cloud OSS to S3 through a real Airflow, and check it.

``run`` starts a test server of OSS, an S3 server and an Airflow, runs the migration, prints its
report, compares both buckets, and ends what it started. The target stays in ``.state/demo-oss``, or
in the folder ``DEMO_STATE``; the source is made anew each time, and is the same each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.oss_stage import MIGRATION, OSS_BUCKET, OSS_CONN, OSSPorts, OSSStage
from tests.support.show import Show, state_of
from tests.support.stage import TARGET_BUCKET, TARGET_CONN


class MigrationShow(Show):
    """The migration from the test server of OSS to a SeaweedFS."""

    name = "demo-oss"
    module = "tests.support.demo_oss"
    dag_id = MIGRATION
    ports: Mapping[str, int] = {
        "DEMO_PORT": 8080,
        "DEMO_OSS_PORT": 10500,
        "DEMO_TARGET_PORT": 10400,
    }
    singles = frozenset({"DEMO_PORT", "DEMO_OSS_PORT"})
    _stage: OSSStage

    def stage(self, ports: Mapping[str, int]) -> OSSStage:
        """Return both servers and the Airflow."""
        self._stage = OSSStage(
            self.state,
            ports=OSSPorts(
                source=ports["DEMO_OSS_PORT"],
                target=ports["DEMO_TARGET_PORT"],
                airflow=ports["DEMO_PORT"],
            ),
            all_admins=False,
            keys=self.keys("source", "target"),
        )
        return self._stage

    def places(self) -> list[str]:
        """Return where both buckets are."""
        source, target = self._stage.source.endpoint, self._stage.target
        return [
            f"Source:   {source.endpoint_url} (OSS), bucket {OSS_BUCKET}, connection {OSS_CONN}",
            f"Target:   {target.endpoint_url}, bucket {TARGET_BUCKET}, connection {TARGET_CONN}",
        ]

    def compare(self) -> list[str]:
        """Compare both buckets with the SDKs alone."""
        return ["comparison of all bytes by oss2 and boto3", *self._stage.differences()]

    def last_line(self, report: Mapping[str, Any]) -> str:
        """Return six figures of the report: the objects by their proof, too."""
        proofs = dict(report["verified_by"])
        crc64 = proofs.pop("crc64", 0)
        return (
            f"demo-oss: planned={report['planned']} copied={report['copied']} "
            f"failed={report['failed']} crc64={crc64} other_proof={sum(proofs.values())} "
            f"bytes={report['bytes']}"
        )


SHOW = MigrationShow(state_of("demo-oss"))

if __name__ == "__main__":
    SHOW.main()
