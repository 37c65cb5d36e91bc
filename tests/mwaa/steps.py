"""Steps that are said, timed and counted."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


class Steps:
    """Counts what was done; a step that fails ends the others, which build upon it."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Do something, and say how it went."""
        started = time.monotonic()
        try:
            yield
        except BaseException:
            self.failed += 1
            print(f"FAILED  {title} ({time.monotonic() - started:.0f} s)", flush=True)
            raise
        self.passed += 1
        print(f"passed  {title} ({time.monotonic() - started:.0f} s)", flush=True)

    @contextmanager
    def all_of_them(self) -> Iterator[None]:
        """Print what failed, and go on to the summary."""
        try:
            yield
        except Exception:  # noqa: BLE001 - whatever it is, the summary is the last line
            print(traceback.format_exc(), flush=True)
            # What is between the steps fails as well.
            self.failed = max(self.failed, 1)

    def summary(self) -> str:
        """Return the last line."""
        counted = self.passed + self.failed
        return f"mwaa: steps={counted} passed={self.passed} failed={self.failed}"
