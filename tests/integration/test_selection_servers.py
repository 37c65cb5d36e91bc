"""Parts of a bucket, renamed keys and archived objects, on real servers."""

from __future__ import annotations

import time

from airflow_provider_s3resume.plan.archives import OnArchived
from airflow_provider_s3resume.plan.filters import Selection
from airflow_provider_s3resume.plan.manifest import Manifest
from airflow_provider_s3resume.plan.renaming import Renaming
from airflow_provider_s3resume.storage.base import NewUpload, ObjectStore
from airflow_provider_s3resume.transfer.batch import copy_batch
from airflow_provider_s3resume.transfer.config import CopyConfig, ServerSideCopy
from airflow_provider_s3resume.transfer.name_lists import ListFile
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.planning import make_plan
from airflow_provider_s3resume.transfer.reporting import make_report
from airflow_provider_s3resume.transfer.run_report import RunReport
from airflow_provider_s3resume.transfer.selecting import Scope
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.verification import verify_run
from tests.conftest import SeaweedPair
from tests.integration.test_planning_servers import opened
from tests.support.ministack import MinistackServer
from tests.support.processes import wait_until

SEAWEED: dict[str, object] = {"list_order": "unordered", "key_folding": True}
MINISTACK: dict[str, object] = {"part_layout": False}
RESTORED_WITHIN_S = 30.0


def put(at: ObjectStore, *keys: str) -> None:
    """Write objects that hold their own names."""
    for key in keys:
        at.put_object(key, key.encode(), upload=NewUpload(), checksum=None)


def run(source: ObjectStore, target: ObjectStore, request: PlanRequest) -> RunReport:
    """Plan, copy, verify and report; MiniStack by itself would copy archived objects, too."""
    config = CopyConfig(server_side_copy=ServerSideCopy.NEVER)
    state, stop, now = StateLocation(target), StopSignal(), time.time()
    key, manifest = make_plan(source, target, state, request, now=now, stop=stop)
    for ref in manifest.batches:
        copy_batch(source, target, state, ref, config, stop=stop, now=now)
    verify_run(source, target, state, key, stop=stop, now=now)
    return make_report(state, key, now=time.time())


def planned(source: ObjectStore, target: ObjectStore, request: PlanRequest) -> Manifest:
    """Plan."""
    state = StateLocation(target)
    return make_plan(source, target, state, request, now=time.time(), stop=StopSignal())[1]


def data(at: ObjectStore) -> set[str]:
    """Return the keys of a bucket but our own."""
    return {one.key for one in at.list_objects() if not one.key.startswith(".s3resume/")}


def test_parts_of_a_bucket_are_copied_between_real_servers(
    seaweed_pair: SeaweedPair, bucket: str
) -> None:
    """By patterns, by prefixes and by keys, where listings are unordered and keys are paths."""
    source = opened(seaweed_pair.source.endpoint, f"{bucket}-s", SEAWEED)
    target = opened(seaweed_pair.target.endpoint, f"{bucket}-t", SEAWEED)
    put(source, "a/1.csv", "a/1.tmp", "ab/1.csv", "b/x/1.csv", "c", "d/e")
    selection = Selection(include=("*.csv",), exclude=("/b/**",), min_size=1)
    first = run(source, target, PlanRequest(run_id="1", scope=Scope(selection=selection)))
    first.raise_for_failures()
    assert data(target) == {"a/1.csv", "ab/1.csv"}
    assert first.skipped == {"not_selected": 4}

    put(target, "lists/p.txt", "lists/k.jsonl")
    target.put_object("lists/p.txt", b"a/\nb/\n", upload=NewUpload(), checksum=None)
    listed = ListFile(parameter="p", uri="s3://t/lists/p.txt", name="lists/p.txt", store=target)
    second = run(source, target, PlanRequest(run_id="2", scope=Scope(prefix_list=listed)))
    second.raise_for_failures()
    assert data(target) >= {"a/1.tmp", "b/x/1.csv"}
    assert second.skipped == {"same_digest": 1}

    keys = b'"c"\n{"key":"d/e"}\n"none"\n'
    target.put_object("lists/k.jsonl", keys, upload=NewUpload(), checksum=None)
    named = ListFile(parameter="k", uri="s3://t/lists/k.jsonl", name="lists/k.jsonl", store=target)
    third = run(source, target, PlanRequest(run_id="3", scope=Scope(key_list=named)))
    assert (third.copied, third.refused) == (2, {"not_at_source": 1})
    assert data(target) >= {"c", "d/e"}


def test_renamed_keys_are_found_again_on_real_servers(
    seaweed_pair: SeaweedPair, bucket: str
) -> None:
    """A second run copies nothing, though no key has its place."""
    source = opened(seaweed_pair.source.endpoint, f"{bucket}-s", SEAWEED)
    target = opened(seaweed_pair.target.endpoint, f"{bucket}-t", SEAWEED)
    put(source, *(f"{n:02d}/x" for n in range(30)))
    renaming = Renaming(function=lambda key: key[::-1], function_name="m:f", add_prefix="new/")
    first = run(source, target, PlanRequest(run_id="1", renaming=renaming))
    first.raise_for_failures()
    assert data(target) == {f"new/x/{f'{n:02d}'[::-1]}" for n in range(30)}
    again = planned(source, target, PlanRequest(run_id="2", renaming=renaming))
    assert again.counts == {"skip.same_digest": 30}


def test_archived_objects_of_a_real_server(ministack_server: MinistackServer, bucket: str) -> None:
    """Reported; copied once restored; where they are tried all the same, each fails at once."""
    endpoint = ministack_server.endpoint
    source = opened(endpoint, f"{bucket}-s", MINISTACK)
    target = opened(endpoint, f"{bucket}-t", MINISTACK)
    client = ministack_server.client()
    for key, storage_class in (("cold", "GLACIER"), ("deep", "DEEP_ARCHIVE"), ("ir", "GLACIER_IR")):
        client.put_object(
            Bucket=f"{bucket}-s",
            Key=key,
            Body=key.encode(),
            StorageClass=storage_class,  # type: ignore[arg-type]
        )
    put(source, "warm")
    first = run(source, target, PlanRequest(run_id="1"))
    first.raise_for_failures()
    assert data(target) == {"ir", "warm"}
    assert first.skipped == {"archived": 2}
    assert first.skipped_bytes == {"archived": 8}
    tried = run(source, target, PlanRequest(run_id="2", archived=OnArchived.TRY))
    assert tried.failure_kinds == {"ObjectArchivedError": 2}
    client.restore_object(Bucket=f"{bucket}-s", Key="cold", RestoreRequest={"Days": 1})
    wait_until(
        lambda: not source.head("cold").archived, deadline_s=RESTORED_WITHIN_S, what="the copy"
    )
    second = run(source, target, PlanRequest(run_id="3"))
    second.raise_for_failures()
    assert (second.copied, second.skipped["archived"]) == (1, 1)
    assert data(target) == {"cold", "ir", "warm"}
