"""Many small objects between real servers, by several processes of a task."""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import secrets
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import AccessDeniedError, CopyStoppedError
from airflow_provider_s3resume.plan.parts import KIB, MIB
from airflow_provider_s3resume.storage.layers import requests_of
from airflow_provider_s3resume.transfer import batch, crew, crew_member, crew_pipes
from airflow_provider_s3resume.transfer.batch_result import BatchResult
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.express import Lane
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome, Status
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.conformance.keys import ODD_KEYS, PREFIXES_OF_OTHERS
from tests.conftest import SeaweedPair
from tests.integration.test_expiring_credentials import Copy, Side, Thread
from tests.support.crew import Crews, open_files
from tests.support.lane import GET, HEAD, MINISTACK, PUT, Ground, Scene, Watched
from tests.support.ministack import MinistackServer
from tests.support.processes import Child, children, wait_until
from tests.support.sts_server import RoleSeaweedServer, StsServer
from tests.support.tls import make_certificate
from tests.support.transfer_servers import ROOT, Pair
from tests.support.watchdog import members
from tests.support.wire import Wire
from tests.support.wire_rules import SLOW_DOWN, Delay, Exchange, Match, Replace, Rule

SIZES = (0, 1, 1000, 64 * KIB, 256 * KIB)
DEADLINE_S = 20.0
SILENT_S = 8.0
SILENT = "a process for small objects is silent"
DENIED = Replace(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
BUSY = Replace(status=503, body=SLOW_DOWN)
HEADERS: dict[str, Any] = {"CacheControl": "no-store", "Metadata": {"some": "thing"}}


@pytest.fixture(scope="module")
def ground(seaweed_pair: SeaweedPair) -> Iterator[Ground]:
    """Give two buckets behind wires."""
    ends = seaweed_pair.source.endpoint, seaweed_pair.target.endpoint
    with Ground.of(*ends, "crew-servers") as made:
        yield made


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """See what a batch uses."""
    return Watched(monkeypatch)


@pytest.fixture(autouse=True)
def crews(monkeypatch: pytest.MonkeyPatch, watched: Watched) -> Iterator[Crews]:
    """Let batches of few objects have processes, and see that nothing of them is left."""
    del watched
    found = Crews(monkeypatch)
    yield found
    found.check_gone()


def put_many(scene: Scene, count: int = 40, size: int = 1000) -> Scene:
    """Put plain objects, and plan to copy them."""
    for number in range(count):
        scene.put(f"k{number:03d}", random.Random(number).randbytes(size + number))
    return scene.plan()


def put_mixed(scene: Scene) -> Scene:
    """Put plain objects of all sizes, and others with headers, metadata and tags."""
    chance = random.Random(3)
    for number in range(60):
        key = f"plain/{number:02d}"
        scene.put(key, chance.randbytes(SIZES[number % len(SIZES)]))
        if number % 3 == 0:
            scene.put_old(key, b"older")
    for number in range(6):
        scene.put(f"headers{number}", b"with headers", **HEADERS)
        scene.put(f"tags{number}", b"with tags", Tagging="a=1&b=two%20words")
    scene.put("dir/marker/", b"")
    return scene.plan()


def check_noted(scene: Scene, watched: Watched) -> None:
    """See that each object has one outcome, told once."""
    assert scene.outcomes().keys() == scene.planned.keys()
    noted = Counter(outcome.key.removeprefix(scene.prefix) for outcome in watched.noted)
    assert noted == dict.fromkeys(scene.planned, 1)


def without_keys(scene: Scene) -> dict[str, Outcome]:
    """Return the outcomes by name, with the scene's own prefix taken out of their keys."""
    return {
        name: Outcome.from_line(outcome.to_line().replace(scene.prefix, ""))
        for name, outcome in scene.outcomes().items()
    }


def test_c08_c19_a_mixed_batch_ends_as_in_one_process(
    ground: Ground, watched: Watched, crews: Crews, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes, headers and tags; outcomes, proofs, counts and figures: all is the same."""
    ends = []
    for processes in (2, 1):
        monkeypatch.setattr(batch, "usable_processors", lambda count=processes: count)
        watched.noted.clear()
        scene = put_mixed(ground.scene())
        result = scene.run()
        result.raise_for_failures()
        scene.check_landed()
        check_attributes(scene)
        check_noted(scene, watched)
        watched.check_memory()
        assert result.pace.processes == (2 if processes > 1 else 0)
        ends.append((without_keys(scene), result.counts, result.figures, scene.asked()))
    assert ends[0] == ends[1]
    assert len(crews.made) == len(watched.lanes) == 1
    assert ends[0][1] == {"copied": 73}


def check_attributes(scene: Scene) -> None:
    """Compare what the target says of objects with what was put."""
    side = scene.target
    for number in range(6):
        where: Any = {"Bucket": side.bucket, "Key": f"{scene.prefix}headers{number}"}
        found: Any = side.client.head_object(**where)
        assert {name: found[name] for name in HEADERS} == HEADERS
        where["Key"] = f"{scene.prefix}tags{number}"
        tags = side.client.get_object_tagging(**where)["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "1", "b": "two words"}


def test_requests_are_counted_as_the_servers_saw_them(ground: Ground, crews: Crews) -> None:
    """Those of the processes, too; and the pace says what was under way in all of them."""
    scene = put_many(ground.scene(), 60)
    result = scene.run(CopyConfig(object_concurrency=33))
    result.raise_for_failures()
    scene.check_landed()
    assert scene.asked() == {"source GetObject": 60, "target PutObject": 60}
    assert [requests_of(store).made for store in scene.stores] == [60, 60]
    assert (result.pace.processes, result.pace.objects_at_once) == (2, 33)
    assert crews.made[0].processes == 2
    assert result.figures.bytes_moved == sum(map(len, scene.planned.values()))
    assert (result.figures.objects_done, result.figures.parts_sent) == (60, 60)


def test_c04_odd_keys_arrive_as_they_are(
    ministack_server: MinistackServer, bucket: str, crews: Crews
) -> None:
    """Slashes, dots, blanks, control characters, 1,024 bytes: each under exactly its key."""
    endpoint = ministack_server.endpoint
    with Ground.of(endpoint, endpoint, bucket, known=MINISTACK) as ground:
        scene = ground.scene(prefix="")
        for number, key in enumerate((*ODD_KEYS, *PREFIXES_OF_OTHERS)):
            scene.put(key, f"{number} {key!r}".encode())
        scene.plan()
        result = scene.run()
        result.raise_for_failures()
        scene.check_landed()
        assert scene.target.keys() == sorted(scene.planned)
        assert result.pace.processes == len(crews.pids) == 2


def test_processes_have_connections_of_their_own_over_tls(
    seaweed_pair: SeaweedPair, bucket: str, tmp_path: Path
) -> None:
    """Those that the task has at the fork are left to it, and it goes on using them."""
    certificate = make_certificate(tmp_path)
    ends = seaweed_pair.source.endpoint, seaweed_pair.target.endpoint
    with Ground.of(*ends, bucket, certificate=certificate) as ground:
        scene = put_many(ground.scene())
        scene.put("large", random.Random(9).randbytes(256 * KIB + 1)).plan()
        result = scene.run()
        result.raise_for_failures()
        scene.check_landed()
        assert result.pace.processes == 2


@pytest.mark.parametrize("deleted", [False, True], ids=["replaced", "deleted"])
def test_c10_sources_that_changed_since_the_plan(
    ground: Ground, watched: Watched, *, deleted: bool
) -> None:
    """They are left to the task, which copies what is there now, or says that it is gone."""
    scene = put_many(ground.scene())
    side, changed = scene.source, [f"k{number:03d}" for number in range(0, 40, 7)]
    for key in changed:
        if deleted:
            side.client.delete_object(Bucket=side.bucket, Key=scene.prefix + key)
        else:
            scene.put(key, b"another " + key.encode())
    result = scene.run()
    result.raise_for_failures()
    scene.check_landed(but=changed if deleted else ())
    check_noted(scene, watched)
    expected = Status.GONE if deleted else Status.COPIED
    assert {scene.outcomes()[key].status for key in changed} == {expected}
    watched.check_memory()


def test_c40_one_object_that_is_denied_fails_alone(
    ground: Ground, watched: Watched, seaweed_pair: SeaweedPair, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error comes from the process as it was there; no secret is told on the way (c42)."""
    caplog.set_level(logging.DEBUG, logger="airflow_provider_s3resume")
    scene = put_many(ground.scene())
    scene.break_("target", PUT, "k007", DENIED)
    result = scene.run()
    with pytest.raises(Exception, match="AccessDenied") as failed:
        result.raise_for_failures()
    assert result.counts == {"copied": 39, "failed": 1}
    outcome = scene.outcomes()["k007"]
    assert (outcome.error_kind, outcome.retryable) == (AccessDeniedError.__name__, False)
    assert len(scene.seen("target", PUT, "k007")) == 1
    scene.check_landed(but=["k007"])
    check_noted(scene, watched)
    for server in seaweed_pair:
        for told in (caplog.text, str(failed.value), str(scene.outcomes())):
            assert server.endpoint.secret_key not in told
            assert "AWS4-HMAC" not in told


def test_c41_the_processes_stop_soon_where_everything_is_denied(
    ground: Ground, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way ends; nothing else is asked for."""
    scene = put_many(ground.scene(), 600, size=10)
    drained, seen = threading.Event(), itertools.count()
    drain = crew_pipes.Work.drain

    def drain_and_tell(work: crew_pipes.Work) -> None:
        drain(work)
        drained.set()

    monkeypatch.setattr(crew_pipes.Work, "drain", drain_and_tell)
    # After the first answers the others wait until the task has seen what they mean.
    late = Rule(
        when=lambda e: e.operation == GET and next(seen) >= 150, action=Delay(until=drained)
    )
    scene.source.wire.add(late)
    scene.source.wire.add(Rule(when=Match(path=f"/{scene.source.bucket}"), action=DENIED))
    result = scene.run(CopyConfig(object_concurrency=32))
    assert result.counts == {"failed": 600}
    assert len(scene.seen("source", GET)) < 300
    assert scene.seen("target", PUT) == []
    check_noted(scene, watched)


def test_c41_a_service_that_is_busy_for_a_while(ground: Ground, watched: Watched) -> None:
    """The processes end, and what they leave is copied at the pace that the service takes."""
    scene = put_many(ground.scene(), 80)
    scene.break_("target", PUT, None, BUSY, times=30)
    scene.run().raise_for_failures()
    scene.check_landed()
    check_noted(scene, watched)
    assert requests_of(scene.stores[1]).refused >= 1
    assert requests_of(scene.stores[1]).made == sum(
        count for name, count in scene.asked().items() if name.startswith("target")
    )
    watched.check_memory()


# --- processes that end early -------------------------------------------------------------------


def started(scene: Scene, crews: Crews, **more: Any) -> Thread:
    """Run a scene in a thread; return when its processes are there."""
    worker = Thread(partial(scene.run, **more))
    wait_until(lambda: bool(crews.made), deadline_s=DEADLINE_S, what="the crew is made")
    return worker


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("side", ["request", "answer"])
def test_c17_killed_processes_leave_their_objects_to_the_task(
    ground: Ground, watched: Watched, crews: Crews, count: int, side: Any
) -> None:
    """Whether what they wrote has landed or not: each object ends in one outcome."""
    scene = put_many(ground.scene(), 90)
    with scene.target.wire.hold(scene.match(PUT), side=side) as hold:
        worker = started(scene, crews)
        hold.wait(count=8)
        for pid in crews.pids[:count]:
            os.kill(pid, signal.SIGKILL)
        hold.release()
        result: BatchResult = worker.result()
    result.raise_for_failures()
    scene.check_landed()
    check_noted(scene, watched)
    assert {outcome.status for outcome in scene.outcomes().values()} <= LANDED
    watched.check_memory()


@pytest.fixture
def lively(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes give signs often."""
    for module in (crew_pipes, crew_member):
        monkeypatch.setattr(module, "SIGN_EVERY_S", 0.2)


@pytest.mark.usefixtures("lively")
def test_c17_a_process_that_is_silent_is_ended(
    ground: Ground,
    watched: Watched,
    crews: Crews,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is there and does nothing: the task copies what it had, and waits for it no longer."""
    monkeypatch.setattr(crew, "SILENT_S", SILENT_S)
    scene = put_many(ground.scene(), 90)
    with scene.target.wire.hold(scene.match(PUT), side="answer") as hold:
        worker = started(scene, crews)
        hold.wait(count=8)
        handle = os.pidfd_open(crews.pids[0])
        try:
            signal.pidfd_send_signal(handle, signal.SIGSTOP)
            hold.release()
            worker.join(SILENT_S + DEADLINE_S)
            assert not worker.is_alive()
        finally:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
    worker.result().raise_for_failures()
    scene.check_landed()
    check_noted(scene, watched)
    assert caplog.text.count(SILENT) == 1
    watched.check_memory()


@pytest.mark.usefixtures("lively")
@pytest.mark.parametrize(("operation", "objects", "held"), [(PUT, 64, 32), (HEAD, 400, 3)])
def test_a_process_that_waits_for_answers_is_not_silent(
    ground: Ground,
    crews: Crews,
    caplog: pytest.LogCaptureFixture,
    operation: str,
    objects: int,
    held: int,
) -> None:
    """Nor one that waits for what is looked at: both live, and are left alone."""
    scene = ground.scene()
    for number in range(objects):
        scene.put(f"k{number}", b"some bytes", **({} if operation == PUT else HEADERS))
    scene.plan()
    with scene.target.wire.hold(scene.match(operation), side="answer") as hold:
        worker = started(scene, crews, config=CopyConfig(object_concurrency=32))
        # So many that each of the two processes has some.
        hold.wait(count=held)
        (running,) = crews.made
        for process in list(running._processes):
            for _ in range(3):
                wait_for_a_sign(process)
        hold.release()
        result = worker.result()
    result.raise_for_failures()
    assert SILENT not in caplog.text
    assert len(scene.seen("target", PUT)) == len(scene.seen("source", GET)) == objects
    scene.check_landed()


def wait_for_a_sign(process: crew._Process) -> None:
    """Wait until something was heard of a process that was not heard before."""
    before = process.heard_at
    wait_until(lambda: process.heard_at > before, what="a sign of life", deadline_s=DEADLINE_S)


def test_a_stop_ends_the_processes_at_once(ground: Ground, watched: Watched, crews: Crews) -> None:
    """Though they wait for answers; the next attempt copies the rest."""
    scene, stop = put_many(ground.scene(), 90), StopSignal()
    with scene.target.wire.hold(scene.match(PUT), side="answer") as hold:
        worker = started(scene, crews, stop=stop)
        hold.wait(count=8)
        stop.stop("the test says so")
        with pytest.raises(CopyStoppedError, match="the test says so"):
            worker.result()
        crews.check_gone()
        hold.drop()
    assert watched.contexts[0].budget._used == 0
    watched.noted.clear()
    scene.run().raise_for_failures()
    scene.check_landed()
    assert scene.outcomes().keys() == scene.planned.keys()


SCRIPT = """
from airflow_provider_s3resume.transfer import batch, crew, crew_member, crew_pipes, crew_shares
from tests.support import transfer_servers
crew_shares.LEAST_OBJECTS = 2
crew_shares._LEAST_AT_ONCE = 1
batch.usable_processors = lambda: 2
transfer_servers.main()
"""


def test_c17_processes_end_with_a_task_that_is_killed(
    seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str, tmp_path: Path
) -> None:
    """Without a word; another attempt has processes again and copies what is missing."""
    pair = Pair(seaweed_pair.source.endpoint, seaweed_pair.target.endpoint, bucket, wire)
    keys = [f"k{number:02d}" for number in range(60)]
    for key in keys:
        pair.put(key, key.encode() * 100)
    job = replace(pair.plan(*keys), memory_budget=128 * MIB)
    file = tmp_path / "job.json"
    file.write_text(json.dumps(asdict(job)))
    command: list[str | Path] = [sys.executable, "-c", SCRIPT, file]

    def start(name: str) -> Child:
        return Child(name, command, log_file=tmp_path / f"{name}.log", cwd=ROOT)

    puts = Match(operation=PUT, path="/k..$")
    with pair.target_wire.hold(puts, side="answer") as hold, start("killed") as task:
        hold.wait(count=2)
        assert len(members({task.pid})) == 3, task.log_tail()
        os.kill(task.pid, signal.SIGKILL)
        wait_until(lambda: not members({task.pid}), deadline_s=DEADLINE_S, what="its processes end")
        hold.drop()
    with start("second") as task:
        wait_until(lambda: not task.is_running(), deadline_s=60, what="the second ends")
        assert task.process.returncode == 0, task.log_tail()
    for key in keys:
        assert pair.data(key) == key.encode() * 100
    assert {outcome.status for outcome in pair.outcomes(job).values()} <= LANDED
    assert len(pair.outcomes(job)) == len(keys)


# --- memory, logs, and a fork that fails --------------------------------------------------------


def test_c20_a_refused_object_is_copied_beside_the_crew(
    ground: Ground, watched: Watched, crews: Crews
) -> None:
    """The crew has most of the memory until it ends, and leaves what the task needs."""
    scene = put_many(ground.scene(), 60, size=256 * KIB - 100)
    scene.break_("source", GET, "k001", Replace(status=500), times=1)
    with scene.target.wire.hold(scene.match(PUT, "k050"), side="answer") as hold:
        worker = started(scene, crews, config=CopyConfig(memory_budget=75 * MIB))
        hold.wait()
        (put,) = scene.target.wire.wait_for(
            lambda e: scene.match(PUT, "k001")(e) and e.is_over, deadline_s=DEADLINE_S
        )
        assert put.status == 200
        assert watched.contexts[0].budget._used >= 56 * MIB
        hold.release()
        worker.result().raise_for_failures()
    scene.check_landed()
    watched.check_memory()
    assert watched.budgets[0].peak >= 56 * MIB


def test_c20_larger_objects_are_copied_beside_the_crew(ground: Ground, watched: Watched) -> None:
    """The others have half of the memory, and all when the crew has ended."""
    scene = put_many(ground.scene(), 60)
    scene.put("large", random.Random(9).randbytes(256 * KIB + 1))
    scene.put("parts", random.Random(8).randbytes(11 * MIB)).plan()
    result = scene.run(CopyConfig(part_size=5 * MIB, multipart_threshold=5 * MIB))
    result.raise_for_failures()
    scene.check_landed()
    assert (result.counts, result.pace.processes) == ({"copied": 62}, 2)
    watched.check_memory()


def test_c20_larger_objects_have_all_the_memory_when_the_crew_has_ended(
    ground: Ground, watched: Watched, crews: Crews
) -> None:
    """It is given back then, not with the end of the batch."""
    scene = put_many(ground.scene(), 60)
    scene.put("large", random.Random(9).randbytes(256 * KIB + 1)).plan()
    with scene.target.wire.hold(scene.match(PUT, "large")) as hold:
        worker = started(scene, crews)
        hold.wait()
        wait_until(
            lambda: watched.contexts[0].budget._used < MIB,
            deadline_s=DEADLINE_S,
            what="the memory is given back",
        )
        crews.check_gone()
        assert worker.is_alive()
        hold.release()
        worker.result().raise_for_failures()
    scene.check_landed()


def test_a_line_of_a_process_is_logged_by_the_task(
    ground: Ground, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Once, under its own name; nothing is printed by a process itself."""
    caplog.set_level(logging.DEBUG, logger="airflow_provider_s3resume")
    scene = put_many(ground.scene())
    scene.break_("source", GET, "k003", Replace(status=500), times=1)
    scene.run().raise_for_failures()
    said = [
        record
        for record in caplog.records
        if record.name.endswith("transfer.express") and "k003" in record.getMessage()
    ]
    assert [record.levelno for record in said] == [logging.DEBUG]
    assert "the ordinary way" in said[0].getMessage()
    assert {record.process for record in caplog.records} == {os.getpid()}
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err


@pytest.mark.parametrize("works", [0, 1])
def test_a_fork_that_fails_leaves_all_to_the_task(
    ground: Ground,
    watched: Watched,
    crews: Crews,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    works: int,
) -> None:
    """Be it the first or the second: the lane of the task copies them; no process is left."""
    fork, calls = os.fork, []

    def fail() -> int:
        calls.append(0)
        if len(calls) <= works:
            return fork()
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fail)
    scene, before = put_many(ground.scene()), children()
    result = scene.run()
    result.raise_for_failures()
    assert children() == before
    scene.check_landed()
    check_noted(scene, watched)
    assert "No processes for small objects" in caplog.text
    assert (result.pace.processes, crews.made, len(watched.lanes)) == (0, [], 1)
    watched.check_memory()
    monkeypatch.undo()


def test_a_process_that_fails_says_where_and_no_more(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The text of an unknown error may hold a secret (c42); the task copies all."""

    class BrokenLane(Lane):
        def run(self) -> None:
            raise ValueError(f"a-{'secret'}")

    monkeypatch.setattr(crew_member, "Lane", BrokenLane)
    scene = put_many(ground.scene())
    result = scene.run()
    result.raise_for_failures()
    scene.check_landed()
    assert "unexpected ValueError" in caplog.text
    assert "a-secret" not in caplog.text
    assert "40 small objects are left" in caplog.text


@pytest.mark.parametrize("told", [b"garbage", b"\x80\x05\x95"], ids=["garbage", "cut"])
def test_what_a_process_says_in_no_order_is_left(
    ground: Ground, watched: Watched, monkeypatch: pytest.MonkeyPatch, told: bytes
) -> None:
    """Whoever listens does not fail of it; the process ends, and the task copies what is left."""
    told_of = crew_pipes.Told.done
    count = 0

    def done(self: Any, outcome: Outcome) -> None:
        nonlocal count
        count += 1
        told_of(self, outcome)
        if count == 5:
            self.flush()
            self._writing.write(told)
            self._writing.flush()

    monkeypatch.setattr(crew_pipes.Told, "done", done)
    scene = put_many(ground.scene())
    scene.run().raise_for_failures()
    scene.check_landed()
    check_noted(scene, watched)


def test_errors_that_cannot_be_read_are_no_end(
    ground: Ground, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error whose class is not made of its arguments: the object is left to the task."""

    class OddError(AccessDeniedError):
        def __init__(self, *, much: str) -> None:
            super().__init__("GetObject", "s3://b/k", much)

    def failed(self: Any, entry: Any, error: Any) -> None:
        del error
        self.add(crew_pipes.FAILED, entry.target_key, OddError(much="x"))

    monkeypatch.setattr(crew_pipes.Told, "failed", failed)
    scene = put_many(ground.scene())
    scene.break_("source", GET, "k003", DENIED, times=1)
    scene.run().raise_for_failures()
    scene.check_landed()
    check_noted(scene, watched)


def test_what_is_told_does_not_wait_for_more(
    ground: Ground, crews: Crews, watched: Watched
) -> None:
    """A few ends are told of while the rest of a process waits for answers."""
    scene = put_many(ground.scene(), 40)
    held = Match(operation=PUT, path=f"/{scene.prefix}k03.$")
    with scene.target.wire.hold(held, side="answer") as hold:
        worker = started(scene, crews)
        hold.wait(count=10)
        wait_until(lambda: len(watched.noted) == 30, deadline_s=DEADLINE_S, what="30 are noted")
        hold.release()
        worker.result().raise_for_failures()
    scene.check_landed()


def test_nothing_stays_open_after_batches(ground: Ground) -> None:
    """No pipe and no selector more after some batches than after the first."""
    counts = []
    for _ in range(4):
        put_many(ground.scene(), 20).run().raise_for_failures()
        names = open_files().values()
        counts.append(len([name for name in names if name.startswith(("pipe:", "anon_inode"))]))
    assert len(set(counts)) == 1


# --- credentials that end meanwhile -------------------------------------------------------------


@pytest.fixture
def expiring(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> Iterator[Copy]:
    """Give two buckets that are reached with roles, over wires that refuse what has ended."""
    folder = tmp_path_factory.mktemp("crew-roles")
    with ExitStack() as stack:
        server = stack.enter_context(RoleSeaweedServer(folder, "a-key", secrets.token_hex(12)))
        sides = []
        for name in ("source", "target"):
            wire = stack.enter_context(Wire(server.endpoint_url))
            sts = stack.enter_context(StsServer(server, lasts_s=900))
            sides.append(Side(server, wire, sts, f"{bucket}-{name}", f"crew_{name}"))
        copy = Copy(sides[0], sides[1], monkeypatch.setenv)
        for side in sides:
            copy.connect(side, side.by_token())
        yield copy


@pytest.mark.parametrize("operation", [GET, PUT, HEAD])
def test_c41_tokens_that_end_are_renewed_by_the_task(
    expiring: Copy, crews: Crews, operation: str
) -> None:
    """A process reads no connection: what it is refused is copied by the task, with new ones."""
    copy, keys = expiring, [f"k{number:02d}" for number in range(60)]
    side = copy.source if operation == GET else copy.target
    for key in keys:
        copy.source.client.put_object(
            Bucket=copy.source.bucket, Key=key, Body=b"data of all", Metadata={"some": "thing"}
        )
    when = Match(operation=operation, path="/k[12]5$")

    def is_met(exchange: Exchange) -> bool:
        # The plan looks at the target, too.
        return bool(crews.made) and when(exchange)

    side.expire_at(is_met, also=lambda: copy.renew(side))
    result = copy.run(*keys, object_concurrency=32, memory_budget=128 * MIB)
    result.raise_for_failures()
    copy.check(*keys, data=b"data of all")
    assert result.pace.processes == 2
    assert side.refused
