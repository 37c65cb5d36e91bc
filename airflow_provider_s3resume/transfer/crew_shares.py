"""How many processes copy small objects, and what each may use of its task's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.transfer.pool import MemoryBudget

if TYPE_CHECKING:
    from airflow_provider_s3resume.transfer.config import CopyConfig

MOST: Final = 4
"""Processes of a task, however many processors there are: other tasks want some, too."""
LEAST_OBJECTS: Final = 500
"""What each process should have to do at the least, to be worth its start."""
OWN_BYTES: Final = 20 * MIB
"""What a process takes for itself, of what it shares with the task at first, beside objects."""
_LEAST_AT_ONCE: Final = 16
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one process may use.

    :param budget: bytes of the task's, for objects and itself.
    :param objects: under way at once, as the user wants; ``None`` if it is to be found.
    """

    budget: int
    objects: int | None

    @property
    def for_objects(self) -> int:
        """Bytes that are left for objects."""
        return self.budget - OWN_BYTES


def shares_of(
    config: CopyConfig, *, objects: int, alone: bool, processors: int
) -> tuple[Share, ...]:
    """Return what each process may use; none if one lane in the task itself does as well.

    :param objects: that are small.
    :param alone: there are no others, which need memory, too.
    """
    # What is not as expected is copied by the task, which needs some for it.
    room = config.memory_budget * 3 // 4 if alone else config.memory_budget // 2
    least = OWN_BYTES + MemoryBudget.of_objects(_LEAST_AT_ONCE)
    wanted = config.object_concurrency
    most_by_wish = MOST if wanted is None else wanted // _LEAST_AT_ONCE
    count = min(processors, MOST, objects // LEAST_OBJECTS, room // least, most_by_wish)
    if count <= 1:
        return ()
    each = None if wanted is None else wanted // count
    if each is not None and MemoryBudget(room // count - OWN_BYTES).most_objects <= each:
        # There is not room for as many as are wanted; one lane may use it all.
        return ()
    rest = 0 if wanted is None else wanted % count
    return tuple(
        Share(
            budget=room // count,
            objects=None if each is None else each + (number < rest),
        )
        for number in range(count)
    )


def usable_processors(quota: Path = _QUOTA) -> int:
    """Return how many processors this process may use, whole ones.

    :param quota: what a container is allowed: microseconds of processor time, or ``max``, in each
        so many microseconds (cgroup v2).
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    try:
        allowed, _, period = quota.read_text().partition(" ")
        return count if allowed == "max" else min(count, int(allowed) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return count
