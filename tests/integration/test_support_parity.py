"""``make demo-parity`` as it is run: its last line, and its exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = (("an empty object", 1), ("no case is called so", 0))


@pytest.mark.parametrize(("words", "count"), CASES)
def test_chosen_cases_are_played(words: str, count: int) -> None:
    """Of none at all nothing passed."""
    command = [sys.executable, "-m", "tests.support.parity", words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = done.stdout.splitlines()[-1]
    assert last == f"demo-parity: cases={count} passed={count} failed=0", done.stdout + done.stderr
    assert done.returncode == (0 if count else 1)
