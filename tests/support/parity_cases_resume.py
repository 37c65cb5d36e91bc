"""What goes wrong on the way, after which older tools begin anew, or end with the wrong bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tests.support.demo_data import MIB, bytes_of
from tests.support.parity_folders import download_of, upload_of
from tests.support.parity_registry import case
from tests.support.parity_sides import Found
from tests.support.parity_world import (
    PART,
    PARTS_OF_5_MIB,
    S3Trip,
    Trip,
    World,
    failure,
    refusal,
)
from tests.support.processes import Child, wait_until
from tests.support.transfer_servers import acknowledged, part_number
from tests.support.wire import Wire
from tests.support.wire_rules import (
    SLOW_DOWN,
    Exchange,
    Flip,
    Match,
    Predicate,
    Replace,
    Reset,
    Rule,
    Truncate,
)

_GROUP = "resume"
_PARTS = 8
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_UPLOAD_PART = Match(operation="UploadPart")
_COMPLETE = Match(operation="CompleteMultipartUpload")
_DEADLINE_S = 60.0


def _pieces(seed: str, count: int = _PARTS) -> list[bytes]:
    """Return so many parts of 5 MiB, and a short last one."""
    return [*(bytes_of(f"{seed} {n}", PART) for n in range(count - 1)), b"the end"]


def _part(number: int) -> Match:
    return Match(operation="UploadPart", query={"partNumber": str(number)})


def _has_ended(worker: Child) -> bool:
    return not worker.is_running()


def _only_batch(trip: Trip) -> dict[str, Any]:
    (batch,), _ = trip.plan()
    return batch


def _kill_at(world: World, trip: Trip, wire: Wire, moment: Predicate) -> tuple[dict[str, Any], int]:
    """Kill a copy before a request of it passes a wire.

    :returns: the batch, and how many requests there were before.
    """
    batch = _only_batch(trip)
    with wire.hold(moment) as hold:
        worker = world.start_copy(batch, **PARTS_OF_5_MIB)
        hold.wait(deadline_s=_DEADLINE_S)
        worker.kill()
        reached = len(wire.exchanges)
        hold.drop()
    return batch, reached


def _after(target: Wire, reached: int) -> tuple[set[int], list[int]]:
    """Return the parts that were there before, and those that were sent since."""
    sent: Sequence[Exchange] = target.seen(_UPLOAD_PART)
    before = acknowledged(one for one in sent if one.number <= reached)
    return before, [part_number(one) for one in sent if one.number > reached]


@case(_GROUP, "killed in the middle of a large object")
def killed(world: World) -> None:
    """The next attempt sends what is missing, and nothing twice."""
    trip = world.s3()
    trip.source.put_parts("object", _pieces("killed"), ContentType="text/plain")
    _, target = trip.wired(world)
    batch, reached = _kill_at(world, trip, target, _part(5))
    trip.transfer(batch, try_number=2, **PARTS_OF_5_MIB)
    before, since = _after(target, reached)
    assert before == {1, 2, 3, 4}
    assert sorted(since) == [5, 6, 7, 8]
    trip.same()
    assert trip.target.uploads() == []


@case(_GROUP, "killed when all parts are there")
def killed_before_complete(world: World) -> None:
    """No part is sent again."""
    trip = world.s3()
    trip.source.put("object", b"".join(_pieces("complete")))
    _, target = trip.wired(world)
    batch, reached = _kill_at(world, trip, target, _COMPLETE)
    trip.transfer(batch, try_number=2, **PARTS_OF_5_MIB)
    before, since = _after(target, reached)
    assert (len(before), since) == (_PARTS, [])
    trip.same()
    assert trip.target.uploads() == []


@case(_GROUP, "killed in the middle of an object of OSS")
def killed_oss(world: World) -> None:
    """The same from there."""
    trip = world.oss()
    trip.source.put("object", b"".join(_pieces("oss")), content_type="text/plain")
    target = world.wire(trip.target.endpoint.endpoint_url)
    trip.lead(target=target)
    batch, reached = _kill_at(world, trip, target, _part(4))
    trip.transfer(batch, try_number=2, **PARTS_OF_5_MIB)
    before, since = _after(target, reached)
    assert before == {1, 2, 3}
    assert sorted(since) == [4, 5, 6, 7, 8]
    trip.same()


@case(_GROUP, "killed in the middle of a file that is uploaded")
def killed_upload(world: World) -> None:
    """The same from a folder."""
    trip = upload_of(world)
    (trip.folder / "file").write_bytes(b"".join(_pieces("upload")))
    target = world.wire(trip.target.endpoint.endpoint_url)
    trip.lead(target=target)
    batch, reached = _kill_at(world, trip, target, _part(5))
    trip.transfer(batch, try_number=2, **PARTS_OF_5_MIB)
    before, since = _after(target, reached)
    assert before == {1, 2, 3, 4}
    assert sorted(since) == [5, 6, 7, 8]
    trip.same()
    assert trip.target.uploads() == []


@case(_GROUP, "killed in the middle of a download")
def killed_download(world: World) -> None:
    """What lies on the disk is kept; no half of a file is ever seen under its name.

    A part that was not recorded before is compared with its source again, and not written again.
    """
    trip = download_of(world)
    trip.source.put_parts("file", _pieces("download"))
    source = world.wire(trip.source.endpoint.endpoint_url)
    trip.lead(source=source)
    batch, _ = _kill_at(world, trip, source, _reads_from(5))
    assert trip.files() == set()
    done = trip.transfer(batch, try_number=2, **PARTS_OF_5_MIB)["result"]
    assert (done["parts_kept"], done["parts_sent"]) == (4, _PARTS - 4)
    trip.same()


def _reads_from(number: int) -> Predicate:
    """Return what picks the read of a part of 5 MiB."""

    def picks(exchange: Exchange) -> bool:
        return exchange.operation == "GetObject" and _start(exchange) == (number - 1) * PART

    return picks


def _start(exchange: Exchange) -> int:
    """Return where a read begins."""
    return int(exchange.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])


@case(_GROUP, "a part that is refused")
def refused_part(world: World) -> None:
    """The attempt fails and keeps the other parts; the next one sends only what is missing."""
    trip = world.s3()
    trip.source.put_parts("object", _pieces("refused"))
    _, target = trip.wired(world)
    target.add(Rule(when=_part(6), action=Replace(status=403, body=_DENIED)))
    batch = _only_batch(trip)
    _fails(trip, batch, "object")
    reached = len(target.exchanges)
    target.clear()
    trip.transfer(batch, try_number=2, **PARTS_OF_5_MIB)
    before, since = _after(target, reached)
    assert before == {1, 2, 3, 4, 5}
    assert sorted(since) == [6, 7, 8]
    trip.same()


@case(_GROUP, "another part size the next time")
def other_part_size(world: World) -> None:
    """What one of the older tools forbids, as it made a wrong object of it."""
    trip = world.s3()
    trip.source.put("object", b"".join(_pieces("size")))
    _, target = trip.wired(world)
    target.add(Rule(when=_part(4), action=Replace(status=403, body=_DENIED)))
    batch = _only_batch(trip)
    _fails(trip, batch, "object")
    target.clear()
    trip.transfer(batch, try_number=2, part_size=8 * MIB)
    trip.same()
    assert trip.target.uploads() == []


@case(_GROUP, "a source that was replaced between two attempts")
def replaced_between(world: World) -> None:
    """Of the same size: no part of the old one is in what arrives."""
    trip = world.s3()
    trip.source.put_parts("object", _pieces("old"))
    _, target = trip.wired(world)
    target.add(Rule(when=_part(5), action=Replace(status=403, body=_DENIED)))
    batch = _only_batch(trip)
    _fails(trip, batch, "object")
    target.clear()
    trip.source.put_parts("object", _pieces("new"))
    trip.transfer(batch, try_number=2, **PARTS_OF_5_MIB)
    trip.same()


@case(_GROUP, "a source that is replaced while it is copied")
def replaced_meanwhile(world: World) -> None:
    """Of the same size: it is copied as it is now, and nothing is mixed."""
    trip = world.s3()
    trip.source.put_parts("object", _pieces("old"))
    source, _ = trip.wired(world)
    batch = _only_batch(trip)
    with source.hold(Match(operation="GetObject", path="/object$")) as hold:
        worker = world.start_copy(batch, **PARTS_OF_5_MIB)
        hold.wait(deadline_s=_DEADLINE_S)
        trip.source.put_parts("object", _pieces("new"))
        hold.release()
        wait_until(partial(_has_ended, worker), deadline_s=_DEADLINE_S, what="the copy ends")
    assert worker.process.returncode == 0, worker.log_tail()
    trip.same()


@case(_GROUP, "a service that is busy")
def busy(world: World) -> None:
    """Some requests of each kind are answered with SlowDown; no attempt fails."""
    trip = world.s3()
    trip.source.put_parts("large", _pieces("busy"))
    trip.source.put("small", b"small")
    source, target = trip.wired(world)
    for wire, operations in (
        (source, ("ListObjectsV2", "HeadObject", "GetObject")),
        (target, ("PutObject", "CreateMultipartUpload", "UploadPart", "ListParts")),
    ):
        for name in operations:
            answer = Replace(status=503, body=SLOW_DOWN)
            wire.add(Rule(when=Match(operation=name), action=answer, times=2))
    trip.sync(**PARTS_OF_5_MIB)
    trip.same()


@case(_GROUP, "connections that break")
def broken(world: World) -> None:
    """In the middle of a body that is read, and of one that is sent."""
    trip = world.s3()
    trip.source.put_parts("large", _pieces("broken"))
    trip.source.put("small", bytes_of("small", 300_000))
    source, target = trip.wired(world)
    get, put = Match(operation="GetObject", path="/(large|small)$"), Match(operation="PutObject")
    source.add(Rule(when=get, action=Truncate(after_bytes=100_000), times=2))
    target.add(Rule(when=put, action=Reset(), times=1))
    sent = Truncate(after_bytes=MIB, side="request", by_reset=True)
    target.add(Rule(when=_UPLOAD_PART, action=sent, times=2))
    trip.sync(**PARTS_OF_5_MIB)
    trip.same()


@case(_GROUP, "bytes that are changed on their way from the source")
def flipped_reads(world: World) -> None:
    """No attempt on such a line replaces an object; older tools call it done."""
    trip, old = _with_old_objects(world)
    source, _ = trip.wired(world)
    reads = Match(operation="GetObject", path=f"^/{trip.source.bucket}/")
    source.add(Rule(when=reads, action=Flip(side="answer", offset=77)))
    batch = _only_batch(trip)
    failure(lambda: trip.transfer(batch, **PARTS_OF_5_MIB))
    assert {key: trip.target.read(key) for key in old} == old
    source.clear()
    trip.transfer(batch, try_number=2, **PARTS_OF_5_MIB)
    trip.same()


@case(_GROUP, "bytes that are changed on their way to the target")
def flipped_writes(world: World) -> None:
    """The service refuses them, as each request has a checksum."""
    trip, old = _with_old_objects(world)
    _, target = trip.wired(world)
    for name in ("PutObject", "UploadPart"):
        writes = Match(operation=name, path=f"^/{trip.target.bucket}/")
        target.add(Rule(when=writes, action=Flip(side="request", offset=77)))
    batch = _only_batch(trip)
    failure(lambda: trip.transfer(batch, **PARTS_OF_5_MIB))
    assert {key: trip.target.read(key) for key in old} == old
    target.clear()
    trip.transfer(batch, try_number=2, **PARTS_OF_5_MIB)
    trip.same()


def _with_old_objects(world: World) -> tuple[S3Trip, dict[str, Found]]:
    """Give objects whose target has other ones, and those."""
    trip = world.s3()
    trip.source.put("small", bytes_of("new", 300_000))
    trip.source.put_parts("large", _pieces("new", 3))
    for key in ("small", "large"):
        trip.target.put(key, b"old " + key.encode())
    return trip, {key: trip.target.read(key) for key in ("small", "large")}


@case(_GROUP, "a completed upload of which nobody heard")
def unheard_complete(world: World) -> None:
    """The answer is lost; what is at the target decides."""
    trip = world.s3()
    trip.source.put_parts("object", _pieces("unheard"))
    _, target = trip.wired(world)
    target.add(Rule(when=_COMPLETE, action=Reset(side="answer"), times=1))
    trip.sync(**PARTS_OF_5_MIB)
    trip.same()
    assert len(target.seen(_UPLOAD_PART)) == _PARTS


@case(_GROUP, "two workers on one object")
def two_workers(world: World) -> None:
    """Neither fails, and what arrives is whole."""
    trip = world.s3()
    trip.source.put_parts("object", _pieces("two"))
    batch = _only_batch(trip)
    workers = [world.start_copy(batch, **PARTS_OF_5_MIB) for _ in range(2)]
    for worker in workers:
        wait_until(partial(_has_ended, worker), deadline_s=_DEADLINE_S, what="a worker ends")
        assert worker.process.returncode == 0, worker.log_tail()
    trip.same()


@case(_GROUP, "unfinished uploads of other tools")
def uploads_of_others(world: World) -> None:
    """They are named by the cleaner, and left alone by it and by every copy."""
    trip = world.s3()
    trip.source.put_parts("object", _pieces("others"))
    place: dict[str, Any] = {"Bucket": trip.target.bucket, "Key": "object"}
    theirs = trip.target.client.create_multipart_upload(**place)["UploadId"]
    trip.target.client.upload_part(**place, UploadId=theirs, PartNumber=1, Body=b"theirs")
    trip.sync(**PARTS_OF_5_MIB)
    trip.same()
    found = trip.clean(report_only=False)
    assert (found["foreign_uploads"], found["uploads_aborted"]) == (1, 0)
    assert trip.target.uploads() == [theirs]


@case(_GROUP, "one object that fails among others")
def one_fails(world: World) -> None:
    """The task fails and names it; all others are there."""
    trip = world.s3()
    for key in ("a", "refused", "z"):
        trip.source.put(key, bytes_of(key, 1_000), ContentType="text/plain")
    _, target = trip.wired(world)
    refused = Match(operation="PutObject", path="/refused$")
    target.add(Rule(when=refused, action=Replace(status=403, body=_DENIED)))
    batch = _only_batch(trip)
    _fails(trip, batch, "refused")
    trip.arrived({"a": "a", "z": "z"})
    target.clear()
    trip.transfer(batch, try_number=2)
    trip.same()


def _fails(trip: S3Trip, batch: dict[str, Any], key: str) -> None:
    """Run an attempt that fails, and names the object."""
    assert key in refusal(lambda: trip.transfer(batch, **PARTS_OF_5_MIB))
