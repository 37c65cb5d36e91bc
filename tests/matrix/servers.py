"""What all cells share: two SeaweedFS, and a MiniStack that has their queues."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_s3resume.transfer.crew_shares import LEAST_OBJECTS
from tests.support.demo_data import ensure_bucket, seed
from tests.support.ministack import MinistackServer
from tests.support.ports import free_port
from tests.support.seaweed import SeaweedServer

SOURCE_BUCKET = "matrix-source"


@dataclass(frozen=True, kw_only=True, slots=True)
class Servers:
    """Source and target of all cells, the queues, and where their files lie."""

    folder: Path
    source: SeaweedServer
    target: SeaweedServer
    queues: MinistackServer

    def make_places(self, target: str) -> None:
        """Make the buckets of a sync: its target and its state location."""
        for bucket in (target, state_of(target)):
            ensure_bucket(self.target.client(), bucket)

    def queue_url(self, name: str) -> str:
        """Return the address of a queue, which may not be there yet."""
        return f"{self.queues.endpoint_url}/000000000000/{name}"


def state_of(target: str) -> str:
    """Return the bucket of the state location of a sync to a bucket."""
    return f"{target}-state"


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Give all of them, running, with data in the source."""
    source, target = (
        SeaweedServer(folder / name, f"{name}-user", secrets.token_urlsafe(24))
        for name in ("source", "target")
    )
    queues = MinistackServer(folder / "queues", port=free_port())
    with source, target, queues:
        fill(source)
        yield Servers(folder=folder, source=source, target=target, queues=queues)


def fill(source: SeaweedServer) -> None:
    """Put all kinds of objects into the source, and so many that several processes copy them.

    None is larger than it takes to have parts: the environments differ, not the data.
    """
    client = source.client()
    seed(client, SOURCE_BUCKET, big=False)
    keys = [f"many/{number:04d}" for number in range(2 * LEAST_OBJECTS)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=SOURCE_BUCKET, Key=key, Body=key), keys))
