"""The demo: sync one S3 server to another through a real Airflow, and check the result.

``run`` starts two servers and an Airflow, runs the nightly sync, prints its report, compares both
buckets with rclone, and ends what it started. The state stays in ``.state/demo``, or in the folder
``DEMO_STATE``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.show import Show, state_of
from tests.support.stage import (
    NIGHTLY,
    SOURCE_BUCKET,
    SOURCE_CONN,
    TARGET_BUCKET,
    TARGET_CONN,
    Ports,
    Stage,
)


class NightlyShow(Show):
    """The nightly sync between two SeaweedFS."""

    name = "demo"
    module = "tests.support.demo"
    dag_id = NIGHTLY
    ports: Mapping[str, int] = {
        "DEMO_PORT": 8080,
        "DEMO_SOURCE_PORT": 10300,
        "DEMO_TARGET_PORT": 10400,
    }
    singles = frozenset({"DEMO_PORT"})
    _stage: Stage

    def stage(self, ports: Mapping[str, int]) -> Stage:
        """Return both servers and the Airflow."""
        self._stage = Stage(
            self.state,
            ports=Ports(
                source=ports["DEMO_SOURCE_PORT"],
                target=ports["DEMO_TARGET_PORT"],
                airflow=ports["DEMO_PORT"],
            ),
            all_admins=False,
            keys=self.keys("source", "target"),
        )
        return self._stage

    def places(self) -> list[str]:
        """Return where both buckets are."""
        source, target = self._stage.source, self._stage.target
        return [
            f"Source:   {source.endpoint_url}, bucket {SOURCE_BUCKET}, connection {SOURCE_CONN}",
            f"Target:   {target.endpoint_url}, bucket {TARGET_BUCKET}, connection {TARGET_CONN}",
        ]

    def compare(self) -> list[str]:
        """Compare both buckets with rclone."""
        check = self._stage.rclone_check()
        how = "rclone check --download"
        return [how] if check.returncode == 0 else [how, check.stderr]

    def last_line(self, report: Mapping[str, Any]) -> str:
        """Return six figures of the report."""
        names = ("planned", "copied", "kept_parts", "failed", "verified", "bytes")
        return "demo: " + " ".join(f"{name}={report[name]}" for name in names)


SHOW = NightlyShow(state_of("demo"))

if __name__ == "__main__":
    SHOW.main()
