"""Single sentences of what must never happen, where no other test is about just that."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    ListingError,
    S3ResumeError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.diff import DiffRule, Reason, diff
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import Hindrance, KeyMapping, ListedObject
from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage.base import Condition
from airflow_provider_s3resume.storage.s3 import S3Settings, S3Store, client_config
from airflow_provider_s3resume.transfer.outcomes import Status
from airflow_provider_s3resume.transfer.reporting import make_report
from tests.support.transfer_world import KEY, NOW, OLD, Moment, World, no_waits, pattern

DATA = pattern(45)
COUNT = 5
LISTING_FAULTS: list[S3ResumeError] = [
    ListingError("parts of s3://to/dir/object: part 2 is listed again behind part 3"),
    TransientStoreError("ListParts", "s3://to/dir/object", "cut off"),
    AccessDeniedError("ListParts", "s3://to/dir/object", "AccessDenied"),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


def half_done() -> World:
    """Return a world where some of five parts are held, and an old target."""
    world = World()
    world.seed(DATA)
    world.seed_old_target()
    world.plan()

    def fail_the_rest(moment: Moment) -> None:
        if moment.is_("UploadPart") and moment.arguments["part_number"] > 2:
            raise TransientStoreError("UploadPart", "s3://to/dir/object", "broken")

    world.on_moment = fail_the_rest
    assert world.run_one().status is Status.FAILED
    world.on_moment = lambda _: None
    assert sorted(world.held_parts()) == [1, 2]
    world.forget_traffic()
    return world


@pytest.mark.parametrize("error", LISTING_FAULTS)
@pytest.mark.parametrize("when", ["resuming", "completing"])
def test_c01_parts_that_cannot_be_listed_are_never_a_shorter_list(
    error: S3ResumeError, when: str
) -> None:
    """At the start, or at the second page before Complete: the object fails, nothing is lost."""
    world = half_done()
    held = world.held_parts()
    pages: list[Moment] = []

    def fail(moment: Moment) -> None:
        if moment.is_("ListParts", after=True):
            if when == "completing" and len(world.held_parts()) == COUNT:
                pages.append(moment)
            if when == "resuming" or len(pages) == 2:
                raise error

    world.on_moment = fail
    outcome = world.run_one()
    assert (outcome.status, outcome.error_kind) == (Status.FAILED, type(error).__name__)
    assert world.traffic.count("CompleteMultipartUpload") == 0
    assert world.traffic.count("AbortMultipartUpload") == 0
    rest = [3, 4, 5]
    assert world.traffic.part_numbers() == ([] if when == "resuming" else rest)
    assert held.items() <= world.held_parts().items()
    assert world.target.data(KEY) == OLD
    world.on_moment = lambda _: None
    world.forget_traffic()
    assert world.run_one().status is Status.COPIED
    assert world.traffic.part_numbers() == (rest if when == "resuming" else [])
    assert world.target.data(KEY) == DATA


def test_c11_the_report_counts_what_was_read_again() -> None:
    """Parts that the target held and no record knew: not sent, read again, and said so."""
    world = half_done()
    world.change_checkpoint(lambda found: type(found)(**{**_fields(found), "parts": ()}))
    outcome = world.run_one()
    assert world.traffic.part_numbers() == [3, 4, 5]
    assert (outcome.reread_parts, outcome.kept_parts, outcome.sent_parts) == (2, 2, 3)
    assert world.ref is not None
    report = make_report(world.state, world.ref.manifest, now=NOW)
    assert (report.reread_parts, report.kept_parts, report.sent_parts) == (2, 2, 3)


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


@pytest.mark.parametrize(
    ("condition", "header"),
    [(Condition(absent=True), ("If-None-Match", "*")), (Condition(etag="e"), ("If-Match", '"e"'))],
)
def test_c18_complete_carries_size_checksum_and_condition(
    condition: Condition, header: tuple[str, str]
) -> None:
    """As headers of the one request that replaces the target, whoever else writes meanwhile."""
    settings = S3Settings()
    config: dict[str, Any] = client_config(settings)
    client = boto3.client(
        "s3",
        region_name="eu-central-1",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        config=Config(**config),
    )
    sent: list[dict[str, str]] = []

    def keep(request: Any, **_: Any) -> None:
        sent.append({name: _text(value) for name, value in request.headers.items()})
        raise EndpointConnectionError(endpoint_url="https://nowhere.example")

    client.meta.events.register("before-send.s3.CompleteMultipartUpload", keep)
    store = S3Store(client, "bucket", service="https://s3.amazonaws.com", settings=settings)
    checksum = Checksum(
        algorithm=ChecksumAlgorithm.CRC64NVME, value="AAAAAAAAAAA=", full_object=True
    )
    part = PartRecord(part_number=1, size=45, etag="one", checksum="AAAAAAAAAAA=")
    for full in (checksum, None):
        with pytest.raises(TransientStoreError):
            store.complete_upload(
                "k", "upload", [part], size=45, checksum=full, condition=condition
            )
    headers, without = sent
    assert without["x-amz-mp-object-size"] == "45"
    assert without[header[0]] == header[1]
    assert headers["x-amz-mp-object-size"] == "45"
    assert headers["x-amz-checksum-crc64nvme"] == "AAAAAAAAAAA="
    assert headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert headers[header[0]] == header[1]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@given(
    storage_class=st.sampled_from([None, "STANDARD", "GLACIER", "DEEP_ARCHIVE", "ColdArchive"]),
    hindrance=st.sampled_from([None, *Hindrance]),
    etag=st.sampled_from([None, "opaque", "0" * 32]),
    age_s=st.floats(-3600, 1e9),
    rule=st.sampled_from(["size", "size+etag", "size+newer", "size+etag+newer"]),
)
def test_c31_whatever_a_source_object_is_it_is_present(
    storage_class: str | None,
    hindrance: Hindrance | None,
    etag: str | None,
    age_s: float,
    rule: str,
) -> None:
    """Archived, just changed, a link or unreadable: its target never counts as left alone."""
    source = ListedObject(
        key="k",
        size=1,
        etag=etag,
        last_modified=NOW - age_s,
        storage_class=storage_class,
        hindrance=hindrance,
    )
    target = ListedObject(key="k", size=1, etag="1" * 32, last_modified=NOW)
    (action,) = diff([source], [target], mapping=KeyMapping(), rule=DiffRule.parse(rule))
    assert action.reason is not Reason.ONLY_AT_TARGET
    assert (action.source, action.target) == (source, target)
