"""From the OSS test server into a SeaweedFS: every kind of object, and the proof of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from airflow_provider_s3resume.plan.archives import OnArchived
from airflow_provider_s3resume.plan.objects import ByteRange, SourceIdentity
from airflow_provider_s3resume.storage.base import ObjectStore, RangeReader
from airflow_provider_s3resume.storage.layers import Layer
from airflow_provider_s3resume.storage.oss import OSSSettings
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from tests.conftest import SeaweedPair
from tests.support import oss_demo_data as demo
from tests.support.oss_copies import CONFIG, PART, OSSCopies
from tests.support.oss_faults import Fault
from tests.support.oss_server import OSSServer

OLD = b"the old target object"


class AfterEachRange(Layer):
    """A source to which something happens after every range that was opened."""

    def __init__(self, act: Callable[[], object], inner: ObjectStore) -> None:
        super().__init__(inner)
        self.act = act

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> RangeReader:
        """Open the range, then let it happen."""
        reader = super().open_range(key, byte_range, identity)
        self.act()
        return reader


class AfterFirstRange(AfterEachRange):
    """A source to which something happens after the first range only."""

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> RangeReader:
        """Open the range; let it happen if it is the first one."""
        reader = super().open_range(key, byte_range, identity)
        self.act = lambda: None
        return reader


@pytest.fixture(scope="module")
def server() -> Iterator[OSSServer]:
    """Give an OSS for this module: use buckets of your own."""
    with OSSServer() as running:
        yield running


@pytest.fixture
def copies(server: OSSServer, seaweed_pair: SeaweedPair) -> Iterator[OSSCopies]:
    """Give a source and a target bucket."""
    made = OSSCopies(server, seaweed_pair.target.endpoint)
    yield made
    server.faults.clear()
    made.drop()


class BeforeFirstRange(AfterEachRange):
    """A source to which something happens before the first range is opened."""

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> RangeReader:
        """Let it happen if this is the first one, then open the range."""
        self.act()
        self.act = lambda: None
        return self.inner.open_range(key, byte_range, identity)


def fill(copies: OSSCopies) -> None:
    """Put the demo's data into the source."""
    state = copies.server.state
    bucket = copies.server.endpoint.bucket(copies.bucket)
    demo.seed(bucket, lambda method, *given, **more: getattr(state, method)(*given, **more))


def test_a_mixed_bucket_arrives_and_is_proven_by_its_crc64(copies: OSSCopies) -> None:
    """Normal, multipart, appendable, encoded, empty and linked objects, and keys of all kinds."""
    fill(copies)
    run = copies.sync()
    assert run.report.failures == ()
    assert copies.there() == copies.source_data()
    others = {k: o.proof for k, o in run.outcomes.items() if o.proof is not Proof.CRC64}
    assert others == {
        demo.OLD_SMALL: Proof.ETAG,
        demo.OLD_LARGE: Proof.MD5,
        demo.OLD_LOG: Proof.PARTS,
    }
    carried = len(run.outcomes) - len(others)
    assert dict(run.report.verified_by) == {"crc64": carried, "etag": 1, "md5": 1, "parts": 1}
    assert run.report.notes == {}
    again = copies.sync()
    assert (again.report.planned, again.report.failed) == (0, 0)


def test_c19_headers_metadata_and_tags_arrive(copies: OSSCopies) -> None:
    """Also of an object that is read in ranges; UTF-8 stays what it was."""
    headers = {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "max-age=60",
        "content-disposition": 'inline; filename="page.html"',
        "content-language": "de",
        "content-encoding": "gzip",
        "expires": "Fri, 01 Jan 2027 00:00:00 GMT",
        "x-oss-meta-city": "Città 日本".encode().decode("latin-1"),
    }
    tags = {"class": "public", "team": "data platform"}
    state = copies.server.state
    for key, size in (("small", 1000), ("large", 2 * PART + 1)):
        state.put(copies.bucket, key, random.Random(size).randbytes(size), headers=headers)
        state.set_tags(copies.bucket, key, tags)
    assert copies.sync().report.failures == ()
    for key in ("small", "large"):
        found = copies.target_store(copies.bucket).head(key).attributes
        assert found.content_type == headers["content-type"]
        assert found.cache_control == headers["cache-control"]
        assert found.content_disposition == headers["content-disposition"]
        assert found.content_language == headers["content-language"]
        assert found.content_encoding == headers["content-encoding"]
        assert found.expires == headers["expires"]
        assert found.metadata == {"city": "Città 日本"}
        assert copies.target_store(copies.bucket).get_tags(key) == tags


@pytest.mark.parametrize("kind", ["crc", "md5", "appendable", "multipart"])
@pytest.mark.parametrize("size", [40_000, 3 * PART - 7])
def test_c18_a_byte_that_is_flipped_for_good_is_caught(
    copies: OSSCopies, kind: str, size: int
) -> None:
    """Wherever it is: the object fails, the old one stays, and no upload is left behind."""
    state, data = copies.server.state, random.Random(size).randbytes(size)
    places = [*random.Random(f"{kind} {size}").sample(range(size), 3), 0, size - 1]
    for at in places:
        key = f"object-{at}"
        if kind == "appendable":
            state.append(copies.bucket, key, data)
        elif kind == "multipart":
            state.put_multipart(copies.bucket, key, [data[:9], data[9:]])
        else:
            state.put(copies.bucket, key, data, crc=kind == "crc")
        state.corrupt(copies.bucket, key, at)
        copies.put_old(key, OLD)
    run = copies.sync()
    kinds = {o.key: (o.status, o.error_kind, o.retryable) for o in run.outcomes.values()}
    refused = (Status.FAILED, "VerificationError", True)
    assert kinds == {f"object-{at}": refused for at in places}
    assert run.report.failed == len(set(places))
    assert copies.there() == {f"object-{at}": OLD for at in places}
    left = copies.client.list_multipart_uploads(Bucket=copies.bucket)
    assert left.get("Uploads", []) == []


def test_an_object_that_grows_while_it_is_copied_is_tried_again(copies: OSSCopies) -> None:
    """Appended to between two of its ranges: the target gets the new state, and never a mixture."""
    state = copies.server.state
    before, after = (random.Random(n).randbytes(3 * PART) for n in range(2))
    state.append(copies.bucket, "log", before)

    def append() -> None:
        state.append(copies.bucket, "log", after)

    copies.around = partial(AfterFirstRange, append)
    run = copies.sync(replace(CONFIG, part_concurrency=1))
    outcome = run.outcomes["log"]
    assert (outcome.status, outcome.proof) == (Status.COPIED, Proof.CRC64)
    assert "the source was replaced since the plan" in outcome.notes
    assert copies.there() == {"log": before + after}


def test_an_object_that_keeps_growing_fails_as_changed(copies: OSSCopies) -> None:
    """The attempt ends with that reason, and another one is worth while; nothing has landed."""
    state = copies.server.state
    state.append(copies.bucket, "log", bytes(3 * PART))
    copies.around = partial(AfterEachRange, lambda: state.append(copies.bucket, "log", b"more"))
    outcome = copies.sync().outcomes["log"]
    assert (outcome.error_kind, outcome.retryable) == ("SourceChangedError", True)
    assert copies.there() == {}


def test_archived_objects_are_reported_or_fail_by_name(copies: OSSCopies) -> None:
    """Restored ones are copied; the others are not asked for, or in one request each."""
    state = copies.server.state
    for key in ("cold", "thawed", "standard"):
        state.put(copies.bucket, key, key.encode())
    state.set_class(copies.bucket, "cold", "ColdArchive")
    state.set_class(copies.bucket, "thawed", "Archive", restored=True)
    run = copies.sync()
    assert run.manifest.counts["skip.archived"] == 1
    assert run.report.archived == ("cold",)
    assert not copies.server.requests.seen(operation="GetObject", key="cold", bucket=copies.bucket)
    assert copies.there() == {"thawed": b"thawed", "standard": b"standard"}
    run = copies.sync(archived=OnArchived.TRY)
    failed = run.outcomes["cold"]
    assert (failed.status, failed.error_kind) == (Status.FAILED, "ObjectArchivedError")
    assert not failed.retryable
    assert "InvalidObjectState" in (failed.error or "")
    assert "storage class ColdArchive): restore it" in (failed.error or "")
    gets = copies.server.requests.seen(operation="GetObject", key="cold", bucket=copies.bucket)
    assert len(gets) == 1
    assert copies.there() == {"thawed": b"thawed", "standard": b"standard"}
    assert dict(run.report.failure_kinds) == {"ObjectArchivedError": 1}


def test_links_are_followed_or_reported(server: OSSServer, seaweed_pair: SeaweedPair) -> None:
    """As the policy says; one that leads nowhere is refused by name, never left out."""
    for policy in ("follow", "report"):
        copies = OSSCopies(
            server, seaweed_pair.target.endpoint, settings=OSSSettings(symlinks=policy)
        )
        server.state.put(copies.bucket, "file", b"content")
        server.state.put_symlink(copies.bucket, "link", "file")
        server.state.put_symlink(copies.bucket, "nowhere", "missing")
        run = copies.sync()
        if policy == "follow":
            assert copies.there() == {"file": b"content", "link": b"content"}
            assert dict(run.report.refused) == {"dangling_symlink": 1}
            assert [f.key for f in run.report.failures] == ["nowhere"]
            assert run.outcomes["link"].proof is Proof.CRC64
        else:
            assert copies.there() == {"file": b"content"}
            assert dict(run.report.skipped) == {"symlink": 2}
            assert run.report.failures == ()


@pytest.mark.parametrize("size", [1000, 2 * PART])
def test_a_link_whose_end_is_deleted_meanwhile_fails_and_says_so(
    copies: OSSCopies, size: int
) -> None:
    """Between plan and copy: no attempt can help, and the next plan refuses it by name."""
    state = copies.server.state
    state.put(copies.bucket, "end", bytes(size))
    state.put_symlink(copies.bucket, "link", "end")

    def delete() -> None:
        state.delete(copies.bucket, "end")

    copies.around = partial(BeforeFirstRange, delete)
    outcome = copies.sync(replace(CONFIG, object_concurrency=1)).outcomes["link"]
    assert (outcome.error_kind, outcome.retryable) == ("ObjectNotFoundError", False)
    assert "dangling_symlink" in (outcome.error or "")
    copies.around = lambda store: store
    assert dict(copies.sync().report.refused) == {"dangling_symlink": 1}


def test_keys_that_nothing_can_ask_for_are_refused_by_name(copies: OSSCopies) -> None:
    """``.`` and ``..`` are listed; no request of the SDK reaches them."""
    for key in (".", "..", "...", "a"):
        copies.server.state.put(copies.bucket, key, key.encode())
    run = copies.sync()
    assert dict(run.report.refused) == {"unreachable_key": 2}
    assert sorted(f.key for f in run.report.failures) == [".", ".."]
    assert copies.there() == {"...": b"...", "a": b"a"}


def test_c04_a_backslash_is_refused_by_a_target_that_takes_it_for_a_slash(
    copies: OSSCopies,
) -> None:
    """Else the object would lie under another key, and could lie on another object."""
    copies.server.state.put(copies.bucket, "a\\b", b"x")
    copies.server.state.put(copies.bucket, "c", b"c")
    run = copies.sync()
    assert dict(run.report.refused) == {"key_not_kept": 1}
    assert copies.there() == {"c": b"c"}


def test_keys_of_the_greatest_length_arrive(copies: OSSCopies) -> None:
    """1,023 bytes, of one and of several each."""
    # In segments that the target, a tree of files, can hold.
    keys = ["/".join(c * 250 for c in "wxyz") + "/" + "k" * 19, "é" * 120 + "/a"]
    for key in keys:
        copies.server.state.put(copies.bucket, key, key.encode())
    assert len(keys[0].encode()) == 1023
    assert copies.sync().report.failures == ()
    assert copies.there() == {key: key.encode() for key in keys}


def test_a_whole_object_in_place_of_a_range_never_lands(copies: OSSCopies) -> None:
    """OSS answers so to ranges that it does not understand; here it is said to every one."""
    copies.server.state.put(copies.bucket, "k", random.Random(1).randbytes(3 * PART))
    copies.server.faults.add(Fault(kind="whole_object", times=None))
    run = copies.sync()
    assert run.outcomes["k"].error_kind == "RangeMismatchError"
    assert copies.there() == {}


def test_c19_content_headers_of_any_script_arrive_to_the_byte(copies: OSSCopies) -> None:
    """From OSS, and on from one bucket of S3 to another; their signature covers what is sent."""
    meant = 'attachment; filename="报告 Größe.pdf"'
    raw = meant.encode().decode("latin-1")
    names = ("content-disposition", "content-language", "cache-control")
    headers = {**dict.fromkeys(names, raw), "content-type": f"text/plain; name={raw}"}
    for key, size in (("small", 1000), ("large", 2 * PART + 1)):
        copies.server.state.put(copies.bucket, key, bytes(size), headers=headers)
    assert copies.sync().report.failures == ()
    second = OSSCopies(copies.server, copies.target)
    second.source_store = lambda: copies.target_store(copies.bucket)  # type: ignore[method-assign]
    assert second.sync().report.failures == ()
    for bucket in (copies.bucket, second.bucket):
        for key in ("small", "large"):
            answer = copies.client.head_object(Bucket=bucket, Key=key)
            found = answer["ResponseMetadata"]["HTTPHeaders"]
            assert {name: found[name] for name in headers} == headers


@pytest.mark.parametrize("kind", ["no_crc", "wrong_crc"])
def test_c18_a_link_is_proven_by_the_crc_of_its_end(copies: OSSCopies, kind: str) -> None:
    """HEAD of a link may have none, or the link's own."""
    data = random.Random(1).randbytes(2 * PART + 1)
    copies.server.state.put_multipart(copies.bucket, "k", [data[:PART], data[PART:]])
    copies.server.state.put_symlink(copies.bucket, "link", "k")
    copies.server.faults.add(
        Fault(kind=kind, operation="HeadObject", key="link", times=None)  # type: ignore[arg-type]
    )
    run = copies.sync()
    assert run.report.failures == ()
    assert {o.proof for o in run.outcomes.values()} == {Proof.CRC64}
    assert copies.there() == {"k": data, "link": data}
