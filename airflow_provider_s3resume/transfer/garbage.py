"""When a task looks for garbage: not while it opens its stores, nor among what it began with."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def standing_heap() -> Iterator[Callable[[], None]]:
    """Let the collector leave alone what stays for as long as a task does; yield what ends opening.

    What Airflow has imported, and the descriptions of services that boto3 reads for its clients
    (40,000 objects), are no garbage. Python takes their number for a sign of some, and looks
    through all of it several times before the first request of a task: a third of that time.

    The collector rests until what was yielded is called, which is to be done when all is open.
    From then on it looks at what is made later alone, until this ends.
    """
    looks, others = gc.isenabled(), gc.get_freeze_count()

    def stand() -> None:
        gc.freeze()
        if looks:
            gc.enable()

    gc.disable()
    try:
        yield stand
    finally:
        # What executors froze before they forked stays so: pages that processes share are copied
        # when somebody looks at them. Only a task's own process is left with more than it had.
        if not others:
            gc.unfreeze()
        if looks:
            gc.enable()
