"""The plot of ``make bench-transfer``: bars, each program's median by that of rclone."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.transfer_cases import BOTO3, ENGINE, FLOOR, RCLONE

Document = Mapping[str, Any]
COLOURS = {ENGINE: "#1b6ca8", RCLONE: "#8a8f98", BOTO3: "#d98e04", FLOOR: "#5b8c5a"}
LEFT, PANEL, GAP, RIGHT = 250, 330, 60, 60
BAR, CASE_GAP, TOP, BOTTOM = 11, 14, 64, 30
MOST = 3.0
"""Bars end there, and say how long they are."""
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
    'height="{height}" font-family="sans-serif" font-size="11">'
)


def draw(cases: Mapping[str, Document]) -> str:
    """Return an SVG with two panels: CPU time, and time on the clock."""
    shown = [one for one in cases.values() if RCLONE in one["rounds"]]
    height = TOP + BOTTOM + sum(_height(one) for one in shown)
    width = LEFT + 2 * PANEL + GAP + RIGHT
    lines = [
        _SVG.format(width=width, height=height),
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_legend(),
        *_panel(shown, LEFT, "CPU time, rclone = 1 (less is better)", "cpu", height),
        *_panel(shown, LEFT + PANEL + GAP, "time on the clock, rclone = 1", "wall", height),
        *_names(shown),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _programs(document: Document) -> list[str]:
    return [program for program in COLOURS if program in document["rounds"]]


def _height(document: Document) -> int:
    return BAR * len(_programs(document)) + CASE_GAP


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="#222222" {more}>{escape(text)}</text>'


def _legend() -> Iterator[str]:
    x = LEFT
    for program, colour in COLOURS.items():
        yield f'<rect x="{x}" y="12" width="12" height="12" fill="{colour}"/>'
        yield _text(x + 17, 22, program)
        x += 90


def _panel(
    shown: list[Document], x: float, title: str, figure: str, height: float
) -> Iterator[str]:
    unit = PANEL / MOST
    yield _text(x, 46, title, 'font-weight="bold"')
    for tick in range(int(MOST) + 1):
        at = x + tick * unit
        yield f'<path d="M{at:.1f} {TOP - 8}V{height - BOTTOM + 4}" stroke="#dddddd"/>'
        yield _text(at, height - BOTTOM + 18, str(tick), 'text-anchor="middle"')
    y = TOP
    for document in shown:
        for place, program in enumerate(_programs(document)):
            value = _by_rclone(document, program, figure)
            top, length = y + place * BAR, min(value, MOST) * unit
            colour = COLOURS[program]
            yield (
                f'<rect x="{x}" y="{top}" width="{length:.1f}" height="{BAR - 1}" fill="{colour}"/>'
            )
            yield _text(x + length + 4, top + BAR - 2, f"{value:.2f}", 'font-size="9"')
        y += _height(document)


def _by_rclone(document: Document, program: str, figure: str) -> float:
    rounds: Mapping[str, list[dict[str, float]]] = document["rounds"]
    base = rounds.get("rclone-wall", rounds[RCLONE]) if figure == "wall" else rounds[RCLONE]
    pairs = zip(rounds[program] if program != RCLONE else base, base, strict=False)
    name = f"copy_{figure}"
    return statistics.median(one[name] / other[name] for one, other in pairs)


def _names(shown: list[Document]) -> Iterator[str]:
    y = TOP
    for document in shown:
        middle = y + (_height(document) - CASE_GAP) / 2 + 4
        what, _, wire = str(document["title"]).partition(", ")
        yield _text(LEFT - 10, middle - 6, what, 'text-anchor="end"')
        yield _text(LEFT - 10, middle + 7, wire, 'text-anchor="end" font-size="9"')
        y += _height(document)
