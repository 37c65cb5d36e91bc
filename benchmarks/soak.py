"""An hour of kill rounds in a row, on one Airflow and two servers: ``make soak``.

Prints each round as it ends, then the totals; ``MINUTES=10`` makes it shorter.
"""

from __future__ import annotations

import argparse
import os
import sys

from tests.support.kill_rounds import play_rounds

HOUR = 60.0


def main() -> int:
    """Read the command line and play."""
    parser = argparse.ArgumentParser(description="Kill workers in the middle of syncs, for long.")
    parser.add_argument("--minutes", type=float, default=HOUR)
    parser.add_argument("--seed", type=int, default=None, help="the first round's")
    given = parser.parse_args()
    return play_rounds(
        rounds=None,
        minutes=given.minutes,
        seed=given.seed,
        name="soak",
        replay="make kill-rounds SEED={seed}",
    )


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.exit(main())
