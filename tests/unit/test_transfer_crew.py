"""What the processes of a task share, and what comes back from them."""

from __future__ import annotations

import _thread
import errno
import fcntl
import logging
import os
import pickle
import random
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CredentialsExpiredError,
    InvalidInputError,
    ReportedError,
    S3ResumeError,
    StoreError,
    TransientStoreError,
    VerificationError,
)
from airflow_provider_s3resume.hooks._renewing import RenewableStore
from airflow_provider_s3resume.plan.manifest import CopyEntry
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage._connections import Connections
from airflow_provider_s3resume.storage._pace import Awaited
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.express import Requests, express_of
from airflow_provider_s3resume.storage.layers import requests_of
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer import crew, crew_member, crew_pipes
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.crew import Crew, can_fork, is_alone
from airflow_provider_s3resume.transfer.crew_shares import (
    LEAST_OBJECTS,
    MOST,
    OWN_BYTES,
    Share,
    shares_of,
    usable_processors,
)
from airflow_provider_s3resume.transfer.outcomes import Outcome, Proof, Status
from airflow_provider_s3resume.transfer.paces import Pace, Shared
from airflow_provider_s3resume.transfer.pool import MemoryBudget
from airflow_provider_s3resume.transfer.progress import Progress
from tests.support.crew import open_pipes
from tests.support.memory_express import ExpressStore
from tests.support.processes import children
from tests.support.wire_direct import Servers, answer, read_request, store_of

DEADLINE_S = 20.0
MOMENT = "Thu, 01 Jan 2026 00:00:00 GMT"
BOTH = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])


def entries(count: int) -> list[CopyEntry]:
    """Return entries with keys of their own."""
    made = CopyEntry(
        key="", target_key="", size=1, etag="0" * 32, last_modified=0.0, reason="absent"
    )
    return [replace(made, key=f"k{n:06d}", target_key=f"k{n:06d}") for n in range(count)]


def in_a_fork(act: Callable[[], object]) -> int:
    """Do something in a forked process; return its exit status, 0 if nothing was raised."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# --- shares -------------------------------------------------------------------------------------


def shares(config: CopyConfig | None = None, **more: Any) -> tuple[Share, ...]:
    """Return the shares of a batch that is worth four processes, but for what is given."""
    given = {"objects": 100_000, "alone": True, "processors": 8, **more}
    return shares_of(config or CopyConfig(memory_budget=1024 * MIB), **given)


def test_c20_shares_are_never_more_than_the_task_can_give() -> None:
    """Whatever is asked for; and each is enough for its process and some objects."""
    chance = random.Random(5)
    seen = set()
    for _ in range(3000):
        config = CopyConfig(
            memory_budget=chance.choice([16, 40, 64, 75, 112, 128, 200, 512, 2048]) * MIB
            + chance.randrange(1000),
            object_concurrency=chance.choice([None, *range(1, 257)]),
        )
        alone, processors = chance.choice([True, False]), chance.choice([1, 2, 3, 4, 64])
        objects = chance.choice([0, 1, 999, 1000, 1999, 2000, 100_000])
        found = shares_of(config, objects=objects, alone=alone, processors=processors)
        seen.add(len(found))
        least_left = config.memory_budget // 4 if alone else config.memory_budget // 2
        assert sum(share.budget for share in found) <= config.memory_budget - least_left
        assert len(found) <= min(processors, MOST, objects // LEAST_OBJECTS)
        for share in found:
            assert share.budget - OWN_BYTES >= MemoryBudget.of_objects(16)
        given = [share.objects for share in found]
        if found and config.object_concurrency is not None:
            assert sum(n or 0 for n in given) == config.object_concurrency
            assert max(n or 0 for n in given) - min(n or 0 for n in given) <= 1
        else:
            assert set(given) <= {None}
    assert seen == {0, 2, 3, 4}


@pytest.mark.parametrize(
    ("config", "more", "count"),
    [
        (CopyConfig(memory_budget=1024 * MIB), {}, 4),
        (CopyConfig(), {}, 3),
        (CopyConfig(), {"alone": False}, 2),
        (CopyConfig(memory_budget=64 * MIB), {}, 0),
        (None, {"processors": 1}, 0),
        (None, {"processors": 2}, 2),
        (None, {"objects": 2 * LEAST_OBJECTS - 1}, 0),
        (None, {"objects": 2 * LEAST_OBJECTS}, 2),
        (CopyConfig(object_concurrency=31), {}, 0),
        (CopyConfig(object_concurrency=32), {}, 2),
    ],
)
def test_there_are_as_many_processes_as_pay(
    config: CopyConfig | None, more: dict[str, Any], count: int
) -> None:
    """One alone is none: the task has a lane itself."""
    assert len(shares(config, **more)) == count


def test_processors_are_those_that_may_be_used() -> None:
    """Not all that the machine has: those that the process is bound to."""
    before = os.sched_getaffinity(0)
    assert usable_processors() == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_processors() == 1
    finally:
        os.sched_setaffinity(0, before)


# --- what is to be done -------------------------------------------------------------------------


def take_all(work: crew_pipes.Work) -> list[str]:
    """Take until there is nothing left."""
    keys: list[str] = []
    while found := work.take():
        keys += [entry.key for entry in found]
    return keys


@pytest.fixture
def work() -> Iterator[Callable[[int], crew_pipes.Work]]:
    """Give a factory of work, which is closed at the end."""
    with ExitStack() as stack:

        def make(count: int) -> crew_pipes.Work:
            made = crew_pipes.Work(entries(count))
            stack.callback(made.close)
            return made

        yield make


@pytest.mark.parametrize("count", [1, 15, 16, 17, 1000, 16 * 16384, 16 * 16384 + 1])
def test_c40_several_processes_take_each_object_once(
    work: Callable[[int], crew_pipes.Work], count: int
) -> None:
    """And threads, at the same time; more objects than a pipe has room for numbers, too."""
    made = work(count)
    reading, writing = os.pipe()

    def take_and_tell() -> None:
        made.is_all_given()
        with open(writing, "wb", closefd=False) as told:
            told.write("".join(f"{key}\n" for key in take_all(made)).encode())

    pids = []
    for _ in range(3):
        pid = os.fork()
        if not pid:
            try:
                os.close(reading)
                take_and_tell()
            finally:
                os._exit(0)
        pids.append(pid)
    os.close(writing)
    made.is_all_given()
    with ThreadPoolExecutor(3) as threads:
        ours = [threads.submit(take_all, made) for _ in range(2)]
        with os.fdopen(reading, "rb") as told:
            # Keys have one length, so lines of several processes may be in any order, not mixed.
            theirs = told.read().decode().split()
        for pid in pids:
            assert os.waitpid(pid, 0)[1] == 0
        taken = Counter(theirs)
        for one in ours:
            taken.update(one.result())
    assert taken == Counter(entry.key for entry in entries(count))
    assert made.take() == ()


def test_a_small_pipe_makes_larger_steps(
    work: Callable[[int], crew_pipes.Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pipes of a user who has many of them hold one page: nothing waits for room."""
    pipe = os.pipe

    def small() -> tuple[int, int]:
        reading, writing = pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        return reading, writing

    monkeypatch.setattr(os, "pipe", small)
    made = work(50_000)
    made.is_all_given()
    assert take_all(made) == [entry.key for entry in entries(50_000)]


def test_nothing_is_taken_of_what_was_drained(work: Callable[[int], crew_pipes.Work]) -> None:
    """By nobody, though some was taken before; twice is as good as once."""
    made = work(100)
    made.is_all_given()
    assert len(made.take()) == 16
    made.drain()
    made.drain()
    assert made.take() == ()


# --- what is told -------------------------------------------------------------------------------


def made_of(kind: type[S3ResumeError]) -> S3ResumeError:
    """Return an error of a class, with something in each attribute."""
    if issubclass(kind, StoreError):
        return kind("PutObject", "s3://b/a\nkey", "detail of it")
    if issubclass(kind, InvalidInputError):
        return kind("part_size", found={"a": 1}, accepted="less")
    if issubclass(kind, ReportedError):
        return kind("all failed", retryable=True, kinds=["ThrottledError"])
    return kind("some words")


def all_of(kind: type[S3ResumeError]) -> set[type[S3ResumeError]]:
    """Return a class and all that are derived from it here, in whatever module."""
    subs = set[type[S3ResumeError]]().union(*map(all_of, kind.__subclasses__()))
    return {kind, *subs} if kind.__module__.startswith("airflow_provider") else subs


@pytest.mark.parametrize("kind", sorted(all_of(S3ResumeError), key=str))
def test_errors_come_out_of_a_pickle_as_they_went_in(kind: type[S3ResumeError]) -> None:
    """Class, words and attributes."""
    error = made_of(kind)
    found = pickle.loads(pickle.dumps(error, pickle.HIGHEST_PROTOCOL))  # noqa: S301 - made here
    assert type(found) is kind
    assert (str(found), found.args, found.retryable) == (str(error), error.args, error.retryable)
    assert vars(found) == vars(error)


class Heard:
    """A crew without processes, to which events are told as if by one."""

    def __init__(self, count: int = 3) -> None:
        self.done: list[Outcome] = []
        self.failed: list[tuple[str, S3ResumeError]] = []
        self.refused: list[str] = []
        self.progress = Progress()
        self.source, self.target = (
            build_store(store_of_memory()) for store_of_memory in (ForkedStore, ForkedStore)
        )
        context: Any = SimpleNamespace(
            progress=self.progress, source=self.source, target=self.target
        )
        self.crew = Crew(
            context,
            entries(count),
            (),
            done=self.done.append,
            failed=lambda entry, error: self.failed.append((entry.key, error)),
            refused=lambda entry: self.refused.append(entry.key),
            hopeless=lambda: False,
        )

    def hear(self, tell: Callable[[crew_pipes.Told], None]) -> None:
        """Listen to what a process tells until it ends."""
        reading, writing = os.pipe()
        told = crew_pipes.Told(writing)
        tell(told)
        told.flush()
        told._writing.close()
        nobody = ended()
        self.crew._processes = [crew._Process(nobody[0], os.fdopen(reading, "rb"), nobody[1])]
        self.crew.processes = 1
        self.left = [entry.key for entry in self.crew.run()]
        self.crew.close()


class ForkedStore(ExpressStore):
    """A memory store for whose part of small objects a crew counts."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())


def ended() -> tuple[int, int]:
    """Return the number and the handle of a process that has ended, and was waited for."""
    with subprocess.Popen(["true"]) as child:
        handle = os.pidfd_open(child.pid)
    return child.pid, handle


def outcome(key: str) -> Outcome:
    """Return an outcome with something in each field."""
    return Outcome(
        key=key,
        target_key=key,
        status=Status.ALREADY_THERE,
        size=3,
        source_etag="e",
        target_etag="f",
        proof=Proof.CRC64,
        sent_parts=1,
        bytes_moved=3,
        unprotected=True,
        superseded=("u",),
        notes=("n", "\ud800"),
    )


def test_c40_what_is_told_is_heard_once() -> None:
    """Outcomes with all their fields, errors, what is refused; and no object a second time."""
    first, second, third = entries(3)
    heard = Heard()
    error = VerificationError("other bytes")

    def tell(told: crew_pipes.Told) -> None:
        for _ in range(2):
            told.done(outcome(first.key))
            told.failed(second, error)
            told.refused(first)
        told.failed(first, error)
        told.done(outcome("unknown"))
        told.add(crew_pipes.END, 7, [Requests(made=5, refused=1), Requests(made=6)])

    heard.hear(tell)
    assert heard.done == [outcome(first.key)]
    assert [(key, type(e), str(e)) for key, e in heard.failed] == [
        (second.key, VerificationError, "other bytes")
    ]
    assert heard.refused == []
    assert heard.left == [third.key]
    assert heard.crew.objects_at_once == 7
    figures = heard.progress.figures()
    assert (figures.bytes_moved, figures.parts_sent) == (3, 1)
    assert requests_of(heard.source) == Requests(made=5, refused=1)
    assert requests_of(heard.target) == Requests(made=6)


def test_c40_a_source_that_is_copied_twice_is_heard_of_twice() -> None:
    """What is known of one of its targets says nothing about the other."""
    heard = Heard(3)
    one, two, three = (replace(entry, key="k") for entry in entries(3))
    heard.crew._left = {entry.target_key: entry for entry in (one, two, three)}

    def tell(told: crew_pipes.Told) -> None:
        told.done(replace(outcome(one.target_key), key="k"))
        told.failed(two, VerificationError("other bytes"))

    heard.hear(tell)
    assert [done.target_key for done in heard.done] == [one.target_key]
    assert len(heard.failed) == 1
    assert heard.crew._left == {three.target_key: three}


@pytest.mark.parametrize("end", [b"", b"no pickle", pickle.dumps(["no", "event"])[:-4]])
def test_what_was_told_before_a_bad_end_counts(end: bytes) -> None:
    """A process that is killed while it tells, or tells nonsense, takes nothing back."""
    heard = Heard()

    def tell(told: crew_pipes.Told) -> None:
        told.refused(entries(1)[0])
        told.flush()
        told._writing.write(end)

    heard.hear(tell)
    assert heard.refused == ["k000000"]
    assert len(heard.left) == 2


def test_a_few_events_are_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """When somebody looks, though there are no more."""
    now = 0.0
    monkeypatch.setattr(crew_pipes, "time", SimpleNamespace(monotonic=lambda: now))
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    told = crew_pipes.Told(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe, told._writing:
        told.refused(entries(1)[0])
        told.flush_if_due()
        assert pipe.read() is None
        now = 0.2
        told.flush_if_due()
        assert pickle.loads(pipe.read() or b"") == [(crew_pipes.REFUSED, "k000000")]  # noqa: S301 - made here
        told.flush_if_due()
        assert pipe.read() is None
        for _ in range(64):
            told.refused(entries(1)[0])
        assert len(pickle.loads(pipe.read() or b"")) == 64  # noqa: S301 - made here


def test_lines_of_a_process_are_the_tasks_to_log(caplog: pytest.LogCaptureFixture) -> None:
    """Ours alone, with the level and the name that they have."""
    heard = Heard()
    caplog.set_level(logging.INFO)

    def tell(told: crew_pipes.Told) -> None:
        handler = crew_member._Handler(told)
        for name in ("airflow_provider_s3resume.some", "botocore.auth"):
            record = logging.LogRecord(name, logging.WARNING, "f", 1, "100 %% of %s", ("it",), None)
            handler.emit(record)

    heard.hear(tell)
    assert [(r.name, r.levelno, r.getMessage()) for r in caplog.records] == [
        ("airflow_provider_s3resume.some", logging.WARNING, "100 % of it")
    ]


def test_a_process_logs_nothing_itself() -> None:
    """Whatever handlers there are, and however they are reached."""
    closed = logging.getLogger("airflow_provider_s3resume.closed_for_a_test")
    reached: list[logging.LogRecord] = []

    class Ours(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reached.append(record)

    closed.addHandler(Ours())
    closed.propagate = False
    reading, writing = os.pipe()
    try:
        told = crew_pipes.Told(writing)

        def act() -> None:
            crew_member._take_logs(told)
            closed.warning("a line")
            told.flush()
            assert reached == []

        assert in_a_fork(act) == 0
        told._writing.close()
        with os.fdopen(reading, "rb") as pipe:
            assert pickle.load(pipe) == [(crew_pipes.LOG, logging.WARNING, closed.name, "a line")]  # noqa: S301 - made here
    finally:
        closed.handlers, closed.propagate = [], True


# --- what a process lands -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, crew_pipes.DONE),
        (AccessDeniedError("HeadObject", "s3://b/k", "no"), crew_pipes.FAILED),
        (VerificationError("other"), crew_pipes.FAILED),
        (CredentialsExpiredError("HeadObject", "s3://b/k", "old"), crew_pipes.REFUSED),
        (TransientStoreError("HeadObject", "s3://b/k", "reset"), crew_pipes.REFUSED),
        (ValueError("odd"), crew_pipes.REFUSED),
    ],
)
def test_what_the_task_can_do_better_is_left_to_it(error: Exception | None, kind: int) -> None:
    """It has new credentials, more tries and knows what is unexpected; the memory is given back."""
    told: list[tuple[Any, ...]] = []
    member = crew_member.Member.__new__(crew_member.Member)
    member._told = crew_pipes.Told.__new__(crew_pipes.Told)
    member._told.add = lambda *event: told.append(event)  # type: ignore[method-assign]
    forgotten = []

    def land() -> Outcome:
        if error is not None:
            raise error
        return outcome("k000000")

    member._land(entries(1)[0], land, lambda: forgotten.append(1))
    assert [event[0] for event in told] == [kind]
    assert forgotten == [1]


# --- forks --------------------------------------------------------------------------------------


def context_of(source: Any, target: Any) -> Any:
    """Return what is asked whether it can fork."""
    return SimpleNamespace(source=source, target=target)


def test_only_stores_that_can_are_called_by_a_fork(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in memory cannot: what a process writes there is lost."""
    monkeypatch.setattr(crew, "is_alone", lambda: True)
    server = servers.recorder(answer(200))
    real, memory = build_store(store_of(server)), build_store(ExpressStore(MemoryStore()))
    assert can_fork(context_of(real, real))
    assert not can_fork(context_of(real, memory))
    assert not can_fork(context_of(memory, real))
    assert not can_fork(context_of(MemoryStore(), real))
    assert not can_fork(context_of(build_store(store_of(server, direct=False)), real))


def started(wait: Callable[[], object]) -> None:
    """Start a thread through the module."""
    threading.Thread(target=wait, daemon=True).start()


def started_beneath(wait: Callable[[], object]) -> None:
    """Start a thread that the module does not know."""
    _thread.start_new_thread(wait, ())


@pytest.mark.parametrize("start", [started, started_beneath])
def test_an_unknown_thread_may_hold_what_a_fork_needs(
    start: Callable[[Callable[[], object]], None],
) -> None:
    """Where there is one, nothing is forked, whoever started it."""

    def act() -> None:
        # A fork has this one thread, whatever the tests have.
        assert is_alone()
        running, over = threading.Event(), threading.Event()

        def wait() -> None:
            running.set()
            over.wait()

        start(wait)
        assert running.wait(DEADLINE_S)
        assert not is_alone()

    assert in_a_fork(act) == 0


def test_in_another_thread_the_main_one_is_known() -> None:
    """As in tests, and where a task runs its batch beside its main thread, which waits."""

    def act() -> None:
        found = []
        thread = threading.Thread(target=lambda: found.append(is_alone()))
        thread.start()
        thread.join()
        assert found == [True]

    assert in_a_fork(act) == 0


def test_c41_a_fork_reads_no_connections() -> None:
    """It would take the answers of the task's supervisor; it says so at once."""
    made = []

    def make() -> MemoryStore:
        made.append(1)
        return MemoryStore()

    store = RenewableStore(make)

    def renew() -> None:
        with pytest.raises(CredentialsExpiredError, match="only the task's own process"):
            store.renew()
        assert made == [1]

    assert in_a_fork(renew) == 0
    store.renew()


def test_c41_a_refusal_to_renew_ends_a_call_at_once() -> None:
    """No tries are made, and no time is spent, on what cannot be had here."""
    calls = []

    class Refusing(MemoryStore):
        def check_access(self, key: str = "") -> None:
            calls.append(key)
            raise CredentialsExpiredError("ListObjectsV2", "s3://b", "old")

    store = RenewableStore(Refusing)
    built = build_store(store, refresh=store.renew)

    def check() -> None:
        with pytest.raises(CredentialsExpiredError):
            built.check_access("k")
        assert calls == ["k"]

    assert in_a_fork(check) == 0


def asked(connections: Connections) -> bytes:
    """Make a request on a kept connection, or a new one; return the body of the answer."""
    connection = connections.take()
    connection.begin(Awaited.SMALL)
    connection.send(memoryview(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
    connection.end()
    connection.answer("GET")
    body = connection.read_rest(1000)
    connections.give_back(connection)
    return body


@BOTH
def test_a_fork_leaves_kept_connections_to_the_task(servers: Servers, *, secure: bool) -> None:
    """Nothing is sent on them and they stay open; the fork makes others."""
    connected: list[object] = []

    def serve(connection: socket.socket, _: threading.Event) -> None:
        connected.append(connection)
        number, count = len(connected), 0
        while read_request(connection) is not None:
            count += 1
            connection.sendall(answer(200, f"{number}.{count}".encode()))

    pool = servers.connections(servers.scripted(serve, secure=secure))
    assert asked(pool) == b"1.1"

    def use() -> None:
        pool.after_fork()
        assert pool._free == []
        assert asked(pool) == b"2.1"
        assert asked(pool) == b"2.2"

    assert in_a_fork(use) == 0
    assert asked(pool) == b"1.2"
    assert len(connected) == 2


@BOTH
def test_a_fork_leaves_all_connections_of_a_store(servers: Servers, *, secure: bool) -> None:
    """Those of botocore, too; and counts its own requests from the fork on."""
    connected: list[object] = []

    def serve(connection: socket.socket, _: threading.Event) -> None:
        connected.append(connection)
        number = len(connected)
        while (request := read_request(connection)) is not None:
            body = b"%d" % number if request.method == "GET" else b""
            named = {"etag": '"e"', "last_modified": MOMENT, "x-amz-meta-n": str(number)}
            connection.sendall(answer(200, body, **named))

    store = build_store(store_of(servers.scripted(serve, secure=secure)))

    def head() -> str:
        return store.head("k").attributes.metadata["n"]

    def read() -> str:
        buffer = bytearray(1)
        with store.open_range("k", None, SourceIdentity(etag="e", size=1)) as reader:
            assert reader.readinto(memoryview(buffer)) == 1
            assert reader.readinto(memoryview(buffer)) == 0
        return buffer.decode()

    assert [head(), head(), read(), read()] == ["1", "1", "2", "2"]
    express = express_of(store)
    assert express is not None

    def use() -> None:
        express.after_fork()
        assert [head(), read(), head(), read()] == ["3", "4", "3", "4"]
        assert express.made() == Requests(made=4)

    assert in_a_fork(use) == 0
    assert [head(), read()] == ["1", "2"]
    assert express.made() == Requests(made=6)
    express.add_made(Requests(made=4, refused=1))
    assert requests_of(store) == Requests(made=10, refused=1)


class Counts:
    """What is done when processes are forked."""

    def __init__(self) -> None:
        self.pipes, self.children = open_pipes(), children()

    def check(self) -> None:
        """See that nothing is left of them."""
        assert open_pipes() == self.pipes
        assert children() == self.children


def crew_of(shares: int) -> Crew:
    """Make a crew whose processes do nothing."""
    none: Any = lambda *_: None  # noqa: E731
    context: Any = SimpleNamespace(source=MemoryStore(), target=MemoryStore())
    return Crew(
        context,
        entries(100),
        [Share(budget=OWN_BYTES + MIB, objects=1)] * shares,
        done=none,
        failed=none,
        refused=none,
        hopeless=lambda: False,
    )


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes wait until they are ended."""

    def be(*what: Any) -> None:
        what[2].is_all_given()
        what[3].end_with_the_task()
        threading.Event().wait()

    monkeypatch.setattr(crew, "become_member", be)


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("works", [0, 1, 2])
def test_a_fork_that_fails_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, works: int
) -> None:
    """Neither those that were there already, nor what is open for them."""
    before, fork, calls = Counts(), os.fork, []

    def fail() -> int:
        calls.append(1)
        if len(calls) > works:
            raise OSError(errno.EAGAIN, "no more")
        return fork()

    monkeypatch.setattr(os, "fork", fail)
    with pytest.raises(OSError, match="no more"):
        crew_of(3)
    before.check()


@pytest.mark.usefixtures("idle")
def test_a_crew_that_is_closed_leaves_nothing_behind() -> None:
    """Aborted or not, listened to or not; twice is as good as once."""
    before = Counts()
    made = crew_of(2)
    listening = ThreadPoolExecutor(1)
    left = listening.submit(made.run)
    assert not left.done()
    made.abort()
    assert len(left.result(DEADLINE_S)) == 100
    made.abort()
    made.close()
    made.close()
    listening.shutdown()
    before.check()


@pytest.mark.usefixtures("idle")
def test_processes_that_somebody_else_waited_for_are_gone_all_the_same() -> None:
    """To end what is not there any more is no error, nor to wait for it."""
    before = Counts()
    made = crew_of(2)
    for process in made._processes:
        os.kill(process.pid, 9)
        os.waitpid(process.pid, 0)
    made.abort()
    assert len(made.run()) == 100
    made.close()
    before.check()


@pytest.mark.usefixtures("idle")
def test_a_signal_while_a_crew_is_ended_waits_for_nothing() -> None:
    """Its handler runs in the thread that it interrupts, which may hold what it wants."""
    made = crew_of(2)
    with made._lock:
        made.abort()
    assert len(made.run()) == 100
    made.close()


def test_a_process_ends_with_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it has nothing to do, and nobody tells it to end."""
    pid_of_process = []

    def be(*what: Any) -> None:
        what[2].is_all_given()
        what[3].end_with_the_task()
        threading.Event().wait()

    monkeypatch.setattr(crew, "become_member", be)
    reading, writing = os.pipe()

    def be_the_task() -> None:
        made = crew_of(2)
        for process in made._processes:
            os.write(writing, f"{process.pid} ".encode())
        os.kill(os.getpid(), 9)

    assert in_a_fork(be_the_task) == -9
    os.close(writing)
    with os.fdopen(reading) as told:
        # The end comes when the last process has ended: each has this pipe open.
        pid_of_process = told.read().split()
    assert len(pid_of_process) == 2


class InterruptedTaskError(Exception):
    """What a handler of the task's raises."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_right_after_the_fork_lets_no_process_go_on_as_the_task(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The task's own handler would raise there, and what comes next is the task's."""
    fork = os.fork
    reading, writing = os.pipe()

    def raise_it(*_: object) -> None:
        raise InterruptedTaskError

    def fork_and_be_told() -> int:
        pid = fork()
        if not pid:
            os.kill(os.getpid(), number)
        return pid

    def be_the_task() -> None:
        task = os.getpid()
        signal.signal(number, raise_it)
        monkeypatch.setattr(os, "fork", fork_and_be_told)
        try:
            made = crew_of(2)
            assert len(made.run()) == 100
            made.close()
            # And signals reach the task as before.
            with pytest.raises(InterruptedTaskError):
                os.kill(task, number)
        finally:
            if os.getpid() != task:
                os.write(writing, b"as the task")

    assert in_a_fork(be_the_task) == 0
    os.close(writing)
    with os.fdopen(reading) as told:
        assert told.read() == ""


def test_a_pace_says_what_the_processes_did() -> None:
    """Or what the task's own lane had under way, if it had none."""
    context: Any = SimpleNamespace(
        progress=Progress(),
        objects=SimpleNamespace(allowed=32),
        parts=SimpleNamespace(allowed=8),
        threads=SimpleNamespace(allowed=4),
        budget=MemoryBudget(MIB),
        verdict=SimpleNamespace(streams=None),
    )
    alone = Pace.of(context, 1.0, Shared())
    shared = Pace.of(context, 1.0, Shared(processes=2, objects_at_once=70))
    assert (alone.processes, alone.objects_at_once) == (0, 32)
    assert (shared.processes, shared.objects_at_once) == (2, 70)
    assert Shared() == Shared(processes=0, objects_at_once=0)
