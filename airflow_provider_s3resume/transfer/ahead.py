"""Calls made ahead of their turn, a bounded number at once, with their answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from airflow_provider_s3resume.transfer.pool import Workers

if TYPE_CHECKING:
    from concurrent.futures import Future

    from airflow_provider_s3resume.transfer.stopping import StopSignal

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

CALLS_AT_ONCE: Final = 32
_TOGETHER: Final = 256
"""Items that are held: those without a call of their own wait behind those with one."""


def answers_in_order(
    items: Iterable[_Item],
    call: Callable[[_Item], _Answer],
    *,
    stop: StopSignal,
    wanted: Callable[[_Item], bool] | None = None,
    at_once: int = CALLS_AT_ONCE,
) -> Iterator[tuple[_Item, _Answer | None]]:
    """Yield every item with the answer to its call.

    :param call: is made in another thread.
    :param wanted: tells which items need a call; the others pass with ``None``, without a thread
        as long as no item before them waits for its answer.
    :raises CopyStoppedError: if told to stop.
    """
    waiting: deque[tuple[_Item, Future[_Answer] | None]] = deque()

    def first() -> tuple[_Item, _Answer | None]:
        item, future = waiting.popleft()
        return item, None if future is None else future.result()

    begun = 0
    workers = Workers(at_once, "s3resume-ahead")
    try:
        for item in items:
            if wanted is not None and not wanted(item):
                if not waiting:
                    yield item, None
                    continue
                waiting.append((item, None))
            else:
                stop.check()
                waiting.append((item, workers.submit(_bound(call, item))))
                begun += 1
            while begun > at_once or len(waiting) > _TOGETHER or _is_ready(waiting[0][1]):
                begun -= waiting[0][1] is not None
                yield first()
                if not waiting:
                    break
        while waiting:
            yield first()
    finally:
        workers.close()


def _bound(call: Callable[[_Item], _Answer], item: _Item) -> Callable[[], _Answer]:
    return lambda: call(item)


def _is_ready(future: Future[_Answer] | None) -> bool:
    return future is None or future.done()
