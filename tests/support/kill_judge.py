"""What must be true after a round of kills, asked of the servers and of the wire, not of us."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.kill_script import Script
from tests.support.wire_rules import Exchange, Match

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

SENDS = Match(operation="UploadPart")
STATE = ".s3resume/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one round was found to be.

    :param state: of the run, as Airflow says.
    :param problems: everything that must not be, in words.
    :param resent: parts that were sent again although the target had acknowledged them.
    :param sent: parts that were sent in all.
    :param kept: parts that later attempts found at the target, as the report says.
    :param requests: that the target's wire has seen.
    """

    seed: int
    state: str
    equal: bool
    resent: int
    sent: int
    kept: int
    requests: int
    strikes: tuple[str, ...]
    attempts: int
    problems: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether all is as it must be."""
        return self.equal and not self.problems

    def line(self, number: int, seconds: float) -> str:
        """Return the round as one line."""
        words = [
            f"round {number}: seed={self.seed} state={self.state} equal={_yes(self.equal)}",
            f"parts_sent={self.sent} parts_resent={self.resent}",
            f"parts_kept={self.kept} requests={self.requests} begun_again={self.attempts}",
            f"strikes={','.join(self.strikes) or 'none'} {seconds:.0f} s",
        ]
        return " ".join(words) + "".join(f"\n  problem: {one}" for one in self.problems)


def _yes(value: bool) -> str:  # noqa: FBT001 - what it says is the value
    return "yes" if value else "no"


def resent_parts(exchanges: Iterable[Exchange]) -> list[str]:
    """Return the parts that were sent after the target had acknowledged them.

    What counts is the target's own answer, whether or not it still reached somebody, and the part's
    number under its key: an upload that was begun anew for no reason would send all parts again.
    """
    sends: dict[tuple[str, int], list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        if SENDS(exchange):
            sends[exchange.path, int(exchange.query["partNumber"])].append(exchange)
    found = []
    for (path, number), tries in sends.items():
        answered = [e.answered_at for e in tries if e.upstream_status == 200]
        first = min((at for at in answered if at is not None), default=None)
        again = [e for e in tries if first is not None and e.number > first]
        if again:
            requests = ", ".join(f"request {e.number} -> {e.upstream_status}" for e in tries)
            found.append(f"part {number} of {path} was sent again ({requests})")
    return found


def strays(client: S3Client, bucket: str, state_bucket: str, prefix: str) -> list[str]:
    """Return the unfinished uploads under a prefix that no record names."""
    uploads = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
    named = "\n".join(_records(client, state_bucket))
    return [
        f"a stray upload of {one['Key']}: {one['UploadId']}"
        for one in uploads
        if one["UploadId"] not in named
    ]


def _records(client: S3Client, bucket: str) -> Iterable[str]:
    """Yield the text of every checkpoint and intent."""
    for folder in ("checkpoints/", "intents/"):
        page = client.list_objects_v2(Bucket=bucket, Prefix=STATE + folder)
        for entry in page.get("Contents", []):
            yield client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read().decode()


def leftovers(client: S3Client, state_bucket: str, prefix: str) -> list[str]:
    """Return the checkpoints of a round's objects that are still there, though all have landed."""
    return [
        f"a checkpoint was left of {found['target_uri']}"
        for found in map(json.loads, _records(client, state_bucket))
        if f"/{prefix}" in found["target_uri"] and found.get("upload_id")
    ]


def untrue(report: Mapping[str, Any], script: Script) -> list[str]:
    """Return what a run's report says and is not so."""
    there = report["copied"] + report.get("already_there", 0)
    facts = {
        "planned": (report["planned"], script.objects),
        "copied or there": (there, script.objects),
        "verified": (report["verified"], script.objects),
        "failed": (report["failed"], 0),
    }
    return [
        f"the report says {name}={said}, it is {is_so}"
        for name, (said, is_so) in facts.items()
        if said != is_so
    ]


def attempts_of(instances: Sequence[Mapping[str, Any]]) -> int:
    """Return how often tasks of a run were begun, beyond the first time each."""
    return sum(max(found["try_number"] - 1, 0) for found in instances)
