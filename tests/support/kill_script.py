"""What happens in one round of kills, drawn from its seed: the objects, and who dies when."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.support.demo_data import MIB, Small, bytes_of

Victim = Literal["task", "pair", "worker", "scheduler", "terminated"]
"""Who is hit: the process of a task; that and its supervisor; a worker with all its processes; the
scheduler; all by SIGKILL. ``terminated``: the process of a task, by SIGTERM."""

Moment = Literal["requests", "parts"]
"""What is counted at the target's wire: any requests of the round, or parts it acknowledged."""

PART_SIZE = 5 * MIB
MOST_STRIKES = 3
"""As many as a task has retries: they may all hit the same one."""

_VICTIMS: tuple[Victim, ...] = ("task", "pair", "worker", "scheduler", "terminated")
# Airflow waits for the heartbeat of a pair or a worker; the others cost next to nothing.
_WEIGHTS = (4, 3, 3, 1, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Strike:
    """A kill.

    :param after: how many of them the target's wire has seen by then. When parts are counted, a
        task that copies a large object is hit.
    """

    after: int
    of: Moment
    victim: Victim

    def __str__(self) -> str:
        """Return what the round's line shows."""
        return f"{self.victim}@{self.after}-{self.of}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """One round.

    :param small: number of objects that are written in one request.
    :param large: number of parts of each object that is written in parts.
    """

    seed: int
    small: int
    large: tuple[int, ...]
    strikes: tuple[Strike, ...]

    @property
    def prefix(self) -> str:
        """Where the round's objects are, in both buckets."""
        return f"round-{self.seed:08d}/"

    @property
    def objects(self) -> int:
        """How many objects there are in all."""
        return self.small + len(self.large)

    @property
    def parts(self) -> int:
        """How many parts the large objects have in all."""
        return sum(self.large)

    def small_objects(self) -> Iterator[Small]:
        """Yield the small objects: of nothing up to some 40 kB."""
        for number in range(self.small):
            key = f"{self.prefix}small/{number % 7}/{number:04d}"
            yield Small(key=key, body=bytes_of(f"{self.seed}-{number}", number % 20 * 2_000))

    def large_objects(self) -> Iterator[tuple[str, list[bytes]]]:
        """Yield the key and the parts of each large object."""
        for number, count in enumerate(self.large):
            pattern = bytes_of(f"{self.seed}-large-{number}", PART_SIZE)
            parts = [n.to_bytes(8, "big") + pattern[8:] for n in range(count)]
            yield f"{self.prefix}large/{number}.bin", parts


def script_of(seed: int) -> Script:
    """Return the round of a seed: the same one whenever it is asked for."""
    drawn = random.Random(seed)
    small = drawn.randint(90, 150)
    large = tuple(drawn.randint(4, 12) for _ in range(drawn.randint(3, 4)))
    # A sync of this size makes a few requests more than this at the target.
    most = 40 + 2 * small + sum(large)
    strikes = []
    for share in sorted(drawn.uniform(0.02, 0.95) for _ in range(drawn.randint(2, MOST_STRIKES))):
        # Resuming is what this is about: most kills hit a copy in parts.
        of: Moment = drawn.choices(("parts", "requests"), (3, 2))[0]
        after = max(1, round(share * (sum(large) if of == "parts" else most)))
        victim = drawn.choices(_VICTIMS, _WEIGHTS)[0]
        strikes.append(Strike(after=after, of=of, victim=victim))
    return Script(seed=seed, small=small, large=large, strikes=tuple(strikes))
