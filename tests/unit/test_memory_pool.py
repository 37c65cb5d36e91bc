"""c20: threads and buffers that are gone when they are not needed any more."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import NoCredentialsError

from airflow_provider_s3resume.hooks._clients import sign_without_copies
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.transfer import batch
from airflow_provider_s3resume.transfer.pool import MemoryBudget, Workers, empty
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.transfer_world import CONFIG, World


class Buffer:
    """Something whose end can be seen."""


def test_c20_an_error_that_is_kept_keeps_no_buffer() -> None:
    """Nor what its causes held: after an outage there may be hundreds of such errors."""
    budget, seen, kept = MemoryBudget(MIB), list[weakref.ref[Buffer]](), list[Exception]()

    def deepest() -> None:
        buffer = Buffer()
        seen.append(weakref.ref(buffer))
        raise ConnectionError

    def deep() -> None:
        buffer = Buffer()
        seen.append(weakref.ref(buffer))
        try:
            deepest()
        except ConnectionError as error:
            raise OSError("broken") from error

    gc.disable()  # What is gone only with the next collection is not gone.
    try:
        with pytest.raises(OSError, match="broken"), budget.hold(MIB, StopSignal()):
            try:
                deep()
            except OSError as error:
                kept.append(error)
                raise
        assert [type(error.__cause__) for error in kept] == [ConnectionError]
        assert [ref() for ref in seen] == [None, None]
    finally:
        gc.enable()


def test_c20_a_buffer_is_given_back_whoever_still_holds_it() -> None:
    """Garbage in circles, as an SDK leaves it behind, waits for its collection."""
    data = bytearray(MIB)
    empty(data)
    assert data == b""
    looked_at = bytearray(b"abc")
    with memoryview(looked_at):
        empty(looked_at)
        assert looked_at == b"abc"


def test_c20_threads_are_started_only_as_jobs_need_them() -> None:
    """Two hundred jobs one after another need one thread, three at once three, not more."""
    workers = Workers(64, "memory-test")
    for number in range(200):
        assert workers.submit(partial(int, number)).result(10) == number
    assert count("memory-test") <= 2
    free = threading.Event()
    waiting = [workers.submit(lambda: free.wait(10)) for _ in range(3)]
    assert count("memory-test") <= 4
    free.set()
    assert all(one.result(10) for one in waiting)
    workers.close()


def test_c20_no_more_threads_than_were_asked_for() -> None:
    """What does not find one waits for one, and all is done before the threads end."""
    workers, free = Workers(3, "memory-few"), threading.Event()
    jobs = [workers.submit(lambda: free.wait(10)) for _ in range(20)]
    assert count("memory-few") == 3
    workers.close()
    free.set()
    assert all(job.result(10) for job in jobs)


def count(name: str) -> int:
    """Return how many threads of a name there are."""
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("total", "parts", "objects"), [(16 * MIB, 16, 32), (100, 1, 1), (64 * MIB, 64, 128)]
)
def test_c20_a_budget_says_how_much_can_be_under_way(total: int, parts: int, objects: int) -> None:
    """A part has a MiB, an object what it takes beside its bytes; there is always one."""
    budget = MemoryBudget(total)
    assert (budget.most_parts, budget.most_objects) == (parts, objects)


def test_c20_a_small_budget_has_few_objects_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever concurrency was asked for."""
    counts: dict[str, int] = {}

    class Counted(Workers):
        def __init__(self, count: int, name: str) -> None:
            counts[name] = count
            super().__init__(count, name)

    monkeypatch.setattr(batch, "Workers", Counted)
    world = World()
    world.seed(b"x")
    world.plan()
    most = replace(CONFIG, part_concurrency=256, object_concurrency=256, memory_budget=16 * MIB)
    world.run(most).raise_for_failures()
    assert counts == {"s3resume-part": 16, "s3resume-object": 32, "s3resume-express": 3}


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:9"])
def test_c20_a_part_is_signed_and_sent_where_it_lies(url: str) -> None:
    """The SDK copies what it signs; it is lent the buffer as a file, and sends the buffer."""
    client = lending(url)
    sent: list[object] = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        sent.extend([request.body, request.headers["Authorization"]])
        raw: Any = SimpleNamespace(stream=list)
        return AWSResponse(request.url, 200, HTTPHeaders(), raw)

    client.meta.events.register("before-send.s3", answer)
    data = bytearray(b"some data")
    client.upload_part(Bucket="bucket", Key="k", UploadId="u", PartNumber=1, Body=data)
    assert sent[0] is data
    assert str(sent[1]).startswith(("AWS4-HMAC-SHA256", "b'AWS4"))
    data.clear()  # Nobody looks at it any more.


def test_c20_a_part_that_could_not_be_signed_is_given_back_at_once() -> None:
    """The request may wait for the collector, and nobody takes the buffer out of it."""
    client, kept, data = lending("http://127.0.0.1:9"), list[object](), bytearray(b"some data")

    def refuse(request: AWSRequest, **_: object) -> None:
        # As one that signs does: it reads, and then it fails.
        lent: Any = request.data
        assert lent.read(4) == b"some"
        kept.append(request)
        raise NoCredentialsError

    client.meta.events.register("before-sign.s3", refuse)
    with pytest.raises(NoCredentialsError):
        client.upload_part(Bucket="bucket", Key="k", UploadId="u", PartNumber=1, Body=data)
    assert len(kept) == 1
    empty(data)
    assert data == b""


def lending(url: str) -> Any:
    """Return a client that lends what it signs."""
    client: Any = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(request_checksum_calculation="when_required"),
    )
    sign_without_copies(client)
    return client
