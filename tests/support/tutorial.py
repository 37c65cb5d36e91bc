"""The tutorial, carried out: its commands in the order of the page, in a shell like a reader's."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.documents import ROOT, Block, read_page
from tests.support.processes import Child

PAGE: Final = ROOT / "docs" / "tutorial.md"
DAG_FILE: Final = "nightly_oss_to_s3.py"
DEADLINE_S: Final = 240.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Somebody who does what the page says.

    :param env: of the terminal; ``HOME`` is a folder of its own.
    :param connections: JSON of the connections, by the name of the variable, put in place of the
        page's.
    """

    env: Mapping[str, str]
    connections: Mapping[str, str]

    def script(self, block: Block) -> str:
        """Return what is typed: with everything that was exported before, and the reader's keys."""
        before = [one for one in shell_blocks() if one.line < block.line]
        lines = [line for one in before for line in one.text.splitlines()]
        exported = [line for line in lines if line.startswith("export ")]
        text = "\n".join(["set -eu", *exported, block.text])
        for name, connection in self.connections.items():
            given = f"{name}='{connection}'".replace("\\", r"\\")
            text = re.sub(f"{name}='[^']*'", given, text)
        return text

    def run(self, block: Block) -> str:
        """Run a block; return what it said.

        :raises AssertionError: with what it said, if it failed.
        """
        done = subprocess.run(
            ["bash", "-c", self.script(block)],
            env=dict(self.env),
            cwd=self.env["HOME"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, f"{block.place}\n{block.text}\n{done.stdout[-8000:]}"
        return done.stdout

    def start(self, block: Block) -> Child:
        """Start a block that does not end by itself."""
        home = Path(self.env["HOME"])
        name, command = block.text.strip(), ["bash", "-c", self.script(block)]
        return Child(name, command, log_file=home / "child.log", env=self.env, cwd=home)

    def save_dag(self) -> None:
        """Save the Python of the page where it says."""
        (python,) = [one for one in read_page(PAGE).blocks if one.language == "python"]
        (Path(self.env["HOME"]) / "airflow" / "dags" / DAG_FILE).write_text(python.text)


def shell_blocks() -> list[Block]:
    """Return the commands of the page."""
    return [block for block in read_page(PAGE).blocks if block.language == "sh"]


def told_lines() -> list[str]:
    """Return the lines that the page says are printed, in their order."""
    told = [block for block in read_page(PAGE).blocks if block.language == "text"]
    return [line for block in told for line in block.text.splitlines()]
