"""The outcomes of a running batch, written now and then: each once, and the latest one."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.journal import Journal
from airflow_provider_s3resume.transfer.outcomes import Outcome, Status
from airflow_provider_s3resume.transfer.state import StateLocation
from tests.support.processes import wait_until

NAME = "runs/r/outcomes/00000.jsonl"
DEADLINE_S = 20.0


def outcome(key: str, size: int = 1, **more: Any) -> Outcome:
    """Return an outcome."""
    return Outcome(key=key, target_key=key, status=Status.COPIED, size=size, **more)


class Written:
    """A journal on a memory store, and what it wrote."""

    def __init__(self) -> None:
        self.store = MemoryStore("state")
        self.state = StateLocation(self.store)
        context: Any = SimpleNamespace(known_checkpoints=frozenset())
        self.journal = Journal(self.state, NAME, context)
        self.writes = 0
        self.store.observer.before = self._count

    def _count(self, operation: str, _arguments: object) -> None:
        self.writes += operation == "PutObject"

    def lines(self) -> list[Outcome]:
        """Return the outcomes that are stored."""
        text = self.state.read_text(NAME)
        assert text is not None
        return [Outcome.from_line(line) for line in text.splitlines()]


@pytest.fixture
def written() -> Written:
    """Give a journal."""
    return Written()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often the line of each object is made."""
    counts: Counter[str] = Counter()
    original = Outcome.to_line

    def to_line(self: Outcome) -> str:
        counts[self.key] += 1
        return original(self)

    monkeypatch.setattr(Outcome, "to_line", to_line)
    return counts


def test_c40_each_outcome_is_written_once_in_key_order(written: Written) -> None:
    """However often it is flushed, and in whatever order the objects ended."""
    written.journal.begin([outcome("b")])
    for key in ("c", "a", "é", "d"):
        written.journal.add(outcome(key))
        written.journal.flush()
    assert [one.key for one in written.lines()] == ["a", "b", "c", "d", "é"]


def test_c40_the_latest_outcome_of_an_object_is_the_one(written: Written) -> None:
    """Also if the earlier one was written before: its line is not used again."""
    written.journal.begin([outcome("a", 1), outcome("b", 1)])
    written.journal.add(outcome("a", 2))
    written.journal.flush()
    assert [one.size for one in written.lines()] == [2, 1]
    written.journal.add(outcome("a", 3))
    written.journal.add(outcome("a", 4))
    written.journal.flush()
    assert [one.size for one in written.lines()] == [4, 1]


def test_a_line_is_made_once(written: Written, made: Counter[str]) -> None:
    """A long batch is written many times; what was written before is not encoded again."""
    written.journal.begin(outcome(f"k{number}") for number in range(10))
    for number in range(10, 15):
        written.journal.add(outcome(f"k{number}"))
        written.journal.flush()
    assert set(made.values()) == {1}
    assert len(made) == len(written.lines()) == 15


def test_nothing_new_is_not_written(written: Written) -> None:
    """A flush without another outcome costs no request."""
    written.journal.begin([])
    assert written.writes == 1
    written.journal.flush()
    assert written.writes == 1
    written.journal.add(outcome("a"))
    written.journal.flush()
    written.journal.flush()
    assert written.writes == 2


def test_c40_what_could_not_be_written_is_written_the_next_time(written: Written) -> None:
    """The store fails once: no outcome is lost."""
    written.journal.begin([outcome("a")])
    written.journal.add(outcome("b"))

    def fail(operation: str, _arguments: object) -> None:
        if operation in {"PutObject", "GetObject"}:
            raise TransientStoreError(operation, "s3://state", "down")

    written.store.observer.before = fail
    with pytest.raises(TransientStoreError):
        written.journal.flush()
    written.store.observer.before = lambda _operation, _arguments: None
    written.journal.flush()
    assert [one.key for one in written.lines()] == ["a", "b"]


def test_c40_an_outcome_that_is_replaced_while_it_is_written_is_written_anew(
    written: Written,
) -> None:
    """While a flush is on its way another outcome of the first object comes in."""
    written.journal.begin([])
    for key in ("a", "b"):
        written.journal.add(outcome(key, 1))
    later = iter([True])

    def meanwhile(operation: str, _arguments: object) -> None:
        if operation == "PutObject" and next(later, False):
            written.journal.add(outcome("a", 2))

    written.store.observer.before = meanwhile
    written.journal.flush()
    assert [one.size for one in written.lines()] == [1, 1]
    written.journal.flush()
    assert [one.size for one in written.lines()] == [2, 1]


def test_c40_threads_that_add_while_it_is_flushed_lose_nothing(written: Written) -> None:
    """Each adds its objects twice; in the end each stands there once, as it was added last."""
    written.journal.begin([])
    start, over = threading.Barrier(5), threading.Event()
    flushes = [0]

    def add(thread: int) -> None:
        start.wait(DEADLINE_S)
        for size in (1, 2):
            for number in range(50):
                written.journal.add(outcome(f"{thread}-{number:03d}", size))
            # What was added is written at least once before it is replaced.
            seen = flushes[0]
            wait_until(lambda seen=seen: flushes[0] > seen + 1, deadline_s=DEADLINE_S, what="it")  # type: ignore[misc]

    def flush() -> None:
        start.wait(DEADLINE_S)
        while not over.is_set():
            written.journal.flush()
            flushes[0] += 1

    with ThreadPoolExecutor(5) as threads:
        flusher = threads.submit(flush)
        try:
            for end in [threads.submit(add, number) for number in range(4)]:
                end.result(DEADLINE_S)
        finally:
            over.set()
        flusher.result(DEADLINE_S)
    written.journal.flush()
    found = written.lines()
    assert len(found) == 200
    assert {one.size for one in found} == {2}
    assert [one.key for one in found] == sorted(one.key for one in found)
