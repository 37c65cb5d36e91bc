"""The Markdown of the project, read as its tests need it: blocks, headings, links.

What is code is no link, and what is a link in a block of code is none either.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
_FENCE: Final = re.compile(r"^( *)(`{3,}|~{3,})([^`\n]*)$")
_HEADING: Final = re.compile(r"^(#{1,6}) +(.*?) *#*$")
_SPAN: Final = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK: Final = re.compile(
    r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)"
)
_REFERENCE: Final = re.compile(r"^\[[^\]]+\]: +(\S+)", re.MULTILINE)
_BARE: Final = re.compile(r"(?<![(\w\"'`/])(https?://[^\s)>\]`\"']+)")
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced block of code.

    :param language: what stands behind the fence; empty if nothing does.
    :param line: of its fence, from 1.
    """

    page: Path
    language: str
    text: str
    line: int

    @property
    def place(self) -> str:
        """Where it stands, as a person looks for it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A Markdown file: its blocks, and what is left of it without them."""

    path: Path
    blocks: tuple[Block, ...]
    prose: str

    def links(self) -> Iterator[str]:
        """Yield what its links lead to, as it is written."""
        text = _SPAN.sub("", _COMMENT.sub("", self.prose))
        yield from (found.group(2) for found in _LINK.finditer(text))
        yield from (found.group(2) for found in _LINK.finditer(self._labels(text)))
        yield from _REFERENCE.findall(text)
        yield from (found.rstrip(".,;:") for found in _BARE.findall(_LINK.sub("", text)))

    @staticmethod
    def _labels(text: str) -> str:
        # A picture may be the label of a link.
        return "\n".join(found.group(1) for found in _LINK.finditer(text))

    def spans(self) -> list[str]:
        """Return what stands between backticks outside of blocks."""
        return [found.group(2).strip() for found in _SPAN.finditer(_COMMENT.sub("", self.prose))]

    def anchors(self) -> set[str]:
        """Return the names of its headings as a code host and the site make them."""
        seen: Counter[str] = Counter()
        made = set()
        for line in self.prose.splitlines():
            if found := _HEADING.match(line):
                name = slug(found.group(2))
                made.add(f"{name}-{seen[name]}" if seen[name] else name)
                seen[name] += 1
        return made


def slug(heading: str) -> str:
    """Return the anchor of a heading: lower case, blanks as hyphens, no other punctuation."""
    plain = _LINK.sub(lambda found: found.group(1), heading).replace("`", "").lower()
    kept = (c for c in plain if c in "-_ " or unicodedata.category(c)[0] in "LN")
    return "".join(kept).strip().replace(" ", "-")


def read_page(path: Path) -> Page:
    """Read a file.

    :raises ValueError: if a block is not ended.
    """
    blocks: list[Block] = []
    prose: list[str] = []
    body: list[str] = []
    fence = language = indent = ""
    began = 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = _FENCE.match(line)
        if not fence and found:
            indent, fence, language = found.group(1), found.group(2), found.group(3).strip()
            began, body = number, []
        elif fence and found and found.group(2).startswith(fence) and not found.group(3).strip():
            text = "".join(f"{one.removeprefix(indent)}\n" for one in body)
            blocks.append(Block(page=path, language=language, text=text, line=began))
            fence = ""
        elif fence:
            body.append(line)
        else:
            prose.append(line)
    if fence:
        raise ValueError(f"{path}:{began}: this block is not ended")
    return Page(path=path, blocks=tuple(blocks), prose="\n".join(prose))


def pages() -> list[Page]:
    """Return all Markdown of the project: that of its root, and all below docs/."""
    found = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    return [read_page(path) for path in found]


def make_targets() -> set[str]:
    """Return the targets of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = re.findall(r"^([a-z][\w .-]*):(?!=)", text, re.MULTILINE)
    return {name for rule in rules for name in rule.split()}
