"""An OSS service, an S3 server and an Airflow: where the demo of the migration plays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import oss2

from tests.support import oss_demo_data
from tests.support.endpoints import S3Endpoint
from tests.support.oss_process import OSSProcess
from tests.support.oss_server import OSSEndpoint
from tests.support.stage import TARGET_BUCKET, Server, TargetStage, target_env

MIGRATION = "oss_to_s3_migration"
OSS_BUCKET = "demo-oss"
OSS_CONN = "oss_source"
_MOST_NAMED = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class OSSPorts:
    """Ports to use; ``None`` finds free ones. SeaweedFS takes ten from the one given."""

    source: int | None = None
    target: int | None = None
    airflow: int | None = None


class OSSStage(TargetStage):
    """A test server of OSS as the source; what it holds ends with it, and is made anew.

    :param keys: secrets of the servers' identities.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: OSSPorts | None = None,
        all_admins: bool = True,
        fill: bool = True,
        env: Mapping[str, str] | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        ports = ports or OSSPorts()
        secrets = keys or {"source": "source-secret", "target": "target-secret"}
        super().__init__(
            folder,
            target_port=ports.target,
            airflow_port=ports.airflow,
            secret=secrets["target"],
            all_admins=all_admins,
            fill=fill,
            env=env,
        )
        self.source = OSSProcess(folder, port=ports.source, access_key_secret=secrets["source"])

    def servers(self) -> list[Server]:
        """Return both servers."""
        return [self.source, self.target]

    def env_for_airflow(self) -> dict[str, str]:
        """Return connections and parameters of the migration."""
        return {**target_env(self.target.endpoint), **source_env(self.source.endpoint)}

    def fill_source(self) -> None:
        """Put the data of the demo into the source."""
        self.source.control("create_bucket", OSS_BUCKET)
        if self._fill:
            bucket = self.source.endpoint.bucket(OSS_BUCKET)
            oss_demo_data.seed(bucket, self.source.control)

    def differences(self) -> list[str]:
        """Compare both buckets byte for byte, with nothing but the services' own SDKs."""
        return list(_differences(self.source.endpoint, self.target.endpoint))


def source_env(endpoint: OSSEndpoint) -> dict[str, str]:
    """Return what the migration is told of its source."""
    connection = {
        "conn_type": "oss",
        "login": endpoint.access_key_id,
        "password": endpoint.access_key_secret,
        "extra": {"region": endpoint.region, "endpoint": endpoint.endpoint_url},
    }
    return {
        f"AIRFLOW_CONN_{OSS_CONN.upper()}": json.dumps(connection),
        "S3RESUME_OSS_CONN_ID": OSS_CONN,
        "S3RESUME_OSS_SOURCE_URI": f"oss://{OSS_BUCKET}/",
    }


def _differences(source: OSSEndpoint, target: S3Endpoint) -> Iterator[str]:
    bucket, client = source.bucket(OSS_BUCKET), target.client()
    theirs = {entry.key for entry in oss2.ObjectIteratorV2(bucket, max_keys=1000)}
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=TARGET_BUCKET)
    ours = {entry["Key"] for page in pages for entry in page.get("Contents", ())}
    for key in sorted(theirs ^ ours)[:_MOST_NAMED]:
        yield f"{key!r} is on one side only"
    for key in sorted(theirs & ours):
        answer = bucket.get_object(key)
        # As stored: the SDK would unpack what says that it is encoded.
        data = answer.resp.response.raw.read(decode_content=False)
        if data != client.get_object(Bucket=TARGET_BUCKET, Key=key)["Body"].read():
            yield f"{key!r} differs"
