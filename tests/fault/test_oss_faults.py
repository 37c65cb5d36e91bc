"""Every fault of the OSS test server, at every call of a copy: the right bytes or a failure.

Never neither: whatever the service does, an object that is reported as landed is at the target with
the source's bytes, and one that is not has left the old object alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import get_args

import pytest

from airflow_provider_s3resume.exceptions import ListingError, S3ResumeError
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.transfer.outcomes import LANDED
from tests.conftest import SeaweedPair
from tests.support.oss_copies import PART, OSSCopies, Synced
from tests.support.oss_faults import Fault, FaultKind
from tests.support.oss_server import OSSServer
from tests.support.transfer_world import no_waits

OLD = b"the old target object"
CALLS = ("ListObjectsV2", "HeadObject", "GetObject", "GetObjectTagging")
LISTING_KINDS = frozenset({"repeated_page", "truncated_without_marker", "broken_xml"})
BODY_KINDS = frozenset({"flip", "truncate"})
RANGE_KINDS = frozenset({"whole_object", "wrong_content_range"})
CRC_KINDS = frozenset({"wrong_crc", "no_crc"})
MENDED_AT_ONCE = frozenset(
    {"reset", "stall", "truncate", "unavailable", "internal_error", "expired_token"}
)
"""After one of these the very same attempt ends well."""


def _shows(kind: str, call: str) -> bool:
    """Tell whether a fault can show in the answer to a call at all."""
    if kind in LISTING_KINDS:
        return call == "ListObjectsV2" or (kind == "broken_xml" and call == "GetObjectTagging")
    if kind in RANGE_KINDS:
        return call == "GetObject"
    if kind in BODY_KINDS:
        return call != "HeadObject"
    return call in {"GetObject", "HeadObject"} if kind in CRC_KINDS else True


TABLE = [(kind, call) for kind in get_args(FaultKind) for call in CALLS if _shows(kind, call)]
STAYING = [(kind, call, 0) for kind, call in TABLE] + [
    (kind, "GetObject", 2 * MIB) for kind in ("reset", "stall", "truncate", "flip")
]
"""With the place in the body: none of it, or some of it, each time, so that the copy goes on."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


@pytest.fixture(scope="module")
def server() -> Iterator[OSSServer]:
    """Give an OSS for this module: use buckets of your own."""
    with OSSServer() as running:
        yield running


@pytest.fixture
def copies(server: OSSServer, seaweed_pair: SeaweedPair) -> Iterator[OSSCopies]:
    """Give a source with objects of every size and kind, and a target with older ones."""
    made = OSSCopies(server, seaweed_pair.target.endpoint)
    state, chance = server.state, random.Random(7)
    state.put(made.bucket, "small", chance.randbytes(3_000))
    state.put(made.bucket, "tagged", chance.randbytes(1_000))
    state.set_tags(made.bucket, "tagged", {"a": "b"})
    state.put(made.bucket, "large", chance.randbytes(2 * PART + 9))
    state.set_tags(made.bucket, "large", {"c": "d"})
    state.append(made.bucket, "log", chance.randbytes(PART + 1))
    state.put(made.bucket, "empty", b"")
    for key in ("small", "large"):
        made.put_old(key, OLD)
    yield made
    server.faults.clear()
    made.drop()


def fault_of(
    kind: FaultKind, call: str, *, times: int | None, skip: int = 0, after: int = 700
) -> Fault:
    """Return the fault, in the middle of bodies where it has a place."""
    return Fault(
        kind=kind,
        operation=call,
        times=times,
        skip=skip,
        after_bytes=after if call == "GetObject" else 20,
        location="http://127.0.0.1:9",
    )


def assert_right_or_failed(copies: OSSCopies, result: Synced | S3ResumeError) -> None:
    """Compare what the target holds with what the run says of it."""
    there, source = copies.there(), copies.source_data()
    outcomes = {} if isinstance(result, S3ResumeError) else result.outcomes
    for key in source:
        if key in outcomes and outcomes[key].status in LANDED:
            assert there[key] == source[key], key
        elif there.get(key) != source[key]:
            assert there.get(key) in {None, OLD}, key
    if isinstance(result, Synced) and result.report.failed == 0:
        assert result.report.unverified == 0
        assert there == source


def assert_mended(copies: OSSCopies) -> None:
    """Make sure that a run without faults sets everything right, and leaves nothing behind."""
    copies.server.faults.clear()
    assert copies.sync().report.failures == ()
    assert copies.there() == copies.source_data()
    left = copies.client.list_multipart_uploads(Bucket=copies.bucket)
    assert left.get("Uploads", []) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "call"), TABLE)
def test_a_fault_that_happens_once(copies: OSSCopies, kind: FaultKind, call: str) -> None:
    """The first or the third request of its kind meets it."""
    # One call renews its credentials once: it shall not be the one that meets both.
    for skip in (0,) if kind == "expired_token" else (0, 2):
        copies.server.faults.add(fault_of(kind, call, times=1, skip=skip))
    result = copies.sync_or_error()
    assert_right_or_failed(copies, result)
    if kind in MENDED_AT_ONCE:
        assert isinstance(result, Synced)
        assert result.report.failures == ()
    assert_mended(copies)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "call", "after"), STAYING)
def test_a_fault_that_stays(copies: OSSCopies, kind: FaultKind, call: str, after: int) -> None:
    """Every request of its kind meets it: a failure that says why, or bytes that are right."""
    copies.server.faults.add(fault_of(kind, call, times=None, after=after))
    result = copies.sync_or_error()
    assert_right_or_failed(copies, result)
    assert_mended(copies)


@pytest.mark.parametrize("kind", ["reset", "stall", "truncate"])
@pytest.mark.parametrize("after", [0, 1, PART // 2, PART - 1])
def test_a_body_that_breaks_anywhere_is_gone_on_with(
    copies: OSSCopies, kind: FaultKind, after: int
) -> None:
    """What has come is kept, and the rest of the range is asked for."""
    fault = Fault(kind=kind, operation="GetObject", key="large", times=2, after_bytes=after)
    copies.server.faults.add(fault)
    assert copies.sync().report.failures == ()
    assert copies.there() == copies.source_data()


@pytest.mark.parametrize(
    "code",
    [
        "ServiceUnavailable",
        "TotalQpsLimitExceeded",
        "DownloadTrafficRateLimitExceeded",
        "ActiveRequestLimitExceeded",
    ],
)
def test_throttling_backs_off_and_fails_no_object(copies: OSSCopies, code: str) -> None:
    """A burst at every call, longer than the attempts that other faults are given."""
    for call in CALLS:
        copies.server.faults.add(Fault(kind="unavailable", operation=call, code=code, times=5))
    assert copies.sync().report.failures == ()
    assert copies.there() == copies.source_data()


@pytest.mark.parametrize("kind", ["repeated_page", "truncated_without_marker"])
def test_c01_a_listing_that_turns_in_circles_is_an_error(
    server: OSSServer, seaweed_pair: SeaweedPair, kind: FaultKind
) -> None:
    """On the second of two pages: nothing is planned, nothing is copied."""
    copies = OSSCopies(server, seaweed_pair.target.endpoint)
    for number in range(1_001):
        server.state.put(copies.bucket, f"k{number:05d}", b"")
    fault = Fault(kind=kind, operation="ListObjectsV2", bucket=copies.bucket, times=None)
    server.faults.add(fault)
    try:
        result = copies.sync_or_error()
    finally:
        server.faults.clear()
    assert isinstance(result, ListingError)
    assert copies.there() == {}
