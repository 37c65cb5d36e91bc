"""A copy between a folder and a bucket of a real server, in a process that can be killed."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from airflow_provider_s3resume.plan.manifest import BatchRef
from airflow_provider_s3resume.storage._local_settings import LocalSettings
from airflow_provider_s3resume.storage.base import ObjectStore
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.loading import load_outcomes
from airflow_provider_s3resume.transfer.outcomes import Outcome
from airflow_provider_s3resume.transfer.pairs import pairs_manifest
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.folders import folder_store
from tests.support.processes import Child
from tests.support.transfer_servers import PART, ROOT, Place


@dataclass(frozen=True, kw_only=True)
class FolderJob:
    """A batch between a folder and a bucket, planned or to be planned.

    :param uploads: the folder is the source.
    """

    folder: str
    bucket: Place
    state: Place
    uploads: bool
    ref: dict[str, Any]

    def _stores(self) -> tuple[ObjectStore, ObjectStore, StateLocation]:
        stop = StopSignal()
        settings = LocalSettings(writes=not self.uploads)
        folder = build_store(folder_store(Path(self.folder), settings), wait=stop.wait)
        bucket = self.bucket.open("http://bucket", stop)
        source, target = (folder, bucket) if self.uploads else (bucket, folder)
        return source, target, StateLocation(self.state.open("http://state", stop))

    @classmethod
    def plan(
        cls, folder: Path, bucket: Place, state: Place, key: str, *, uploads: bool
    ) -> FolderJob:
        """Plan to copy one key onto itself."""
        job = cls(folder=str(folder), bucket=bucket, state=state, uploads=uploads, ref={})
        source, target, kept = job._stores()
        _, manifest = pairs_manifest(source, target, kept, [(key, key)], "run", now=time.time())
        return replace(job, ref=asdict(manifest.batches[0]))

    def run(self) -> BatchResult:
        """Make one attempt."""
        source, target, state = self._stores()
        config = CopyConfig(part_size=PART, multipart_threshold=PART, part_concurrency=2)
        ref = BatchRef(**self.ref)
        return copy_batch(source, target, state, ref, config, stop=StopSignal(), now=time.time())

    def outcome(self) -> Outcome:
        """Return what became of the object."""
        _, _, state = self._stores()
        [found] = load_outcomes(state, self.ref["manifest"], self.ref["index"]) or []
        return found

    def start(self, folder: Path, name: str) -> Child:
        """Start a process that makes one attempt; its log is in the folder."""
        file = folder / f"{name}.json"
        file.write_text(json.dumps(asdict(self)))
        command: list[str | Path] = [sys.executable, "-m", "tests.support.folder_worker", file]
        return Child(f"worker {name}", command, log_file=folder / f"{name}.log", cwd=ROOT)


def main() -> None:
    """Make the attempt that a file describes."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    given = json.loads(Path(sys.argv[1]).read_text())
    places = {name: Place(**given[name]) for name in ("bucket", "state")}
    FolderJob(**{**given, **places}).run().raise_for_failures()


if __name__ == "__main__":
    main()
