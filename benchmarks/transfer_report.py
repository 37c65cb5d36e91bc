"""Table and plot of the last results, put between two marks into ``docs/performance.md``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.transfer_cases import BOTO3, CASES, COMMON_FLAGS, ENGINE, FLOOR, RCLONE
from benchmarks.transfer_plot import draw

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, PLOT = DOCS / "performance.md", DOCS / "performance.svg"
MARK, END = "<!-- bench-transfer -->", "<!-- /bench-transfer -->"
PROGRAMS = (ENGINE, RCLONE, BOTO3, FLOOR)
BY_WALL = "rclone-wall"
Document = Mapping[str, Any]


def write_report(results: Path) -> None:
    """Write both files.

    :raises SystemExit: if nothing was measured yet.
    """
    if not results.exists():
        raise SystemExit(f"error: no results in {results}; first run make bench-transfer")
    known: dict[str, Document] = json.loads(results.read_text())
    names = [case.name for case in CASES if case.name in known]
    names += sorted(name for name in known if name.startswith("airflow"))
    cases = {name: known[name] for name in names}
    PLOT.write_text(draw(cases))
    before, mark, rest = PAGE.read_text().partition(MARK)
    if not mark:
        before, rest = before.rstrip("\n") + "\n\n", f"{END}\n"
    _, _, after = rest.partition(END)
    text = "\n".join(_lines(cases))
    PAGE.write_text(f"{before}{MARK}\n{text}\n{END}{after}")


def _lines(cases: Mapping[str, Document]) -> Iterator[str]:
    first = next(iter(cases.values()))
    less = any(case.bytes > cases[case.name]["bytes"] for case in CASES if case.name in cases)
    how = "With less data than usual (`--quick`), measured" if less else "Measured"
    yield (
        f"{how} {first['at']} on {first['cores']} shared cores, Python {first['python']}, "
        f"{first['rclone']}. Medians of the rounds; what stands in brackets is with the "
        "interpreter's start and imports.\n"
    )
    yield from _table(cases, "CPU, s/GiB, or ms an object where they are small", _cpu)
    yield from _table(cases, "wall, s", _wall)
    yield f"![CPU and wall of each program, by rclone's]({PLOT.name})\n"
    yield from _ratios(cases)
    yield from _airflow(cases)
    yield from _flags(cases)


def _table(cases: Mapping[str, Document], title: str, cell: Any) -> Iterator[str]:  # noqa: ANN401 - a function of three
    yield f"| {title} | {' | '.join(PROGRAMS)} |"
    yield "|---|" + "---|" * len(PROGRAMS)
    for document in cases.values():
        if document["shape"] != "airflow":
            cells = [cell(document, program) for program in PROGRAMS]
            yield f"| {document['title']} | {' | '.join(cells)} |"
    yield ""


def median(document: Document, program: str, figure: str) -> float | None:
    """Return the median of a figure, ``None`` if the program was not there."""
    rounds = document["rounds"].get(program)
    return statistics.median(one[figure] for one in rounds) if rounds else None


def _cpu(document: Document, program: str) -> str:
    whole, bare = (median(document, program, name) for name in ("cpu", "copy_cpu"))
    if whole is None or bare is None:
        return ""
    small = document["shape"] == "small"
    scale = 1000 / document["objects"] if small else (1 << 30) / document["bytes"]
    return f"{bare * scale:.2f}" + (f" ({whole * scale:.2f})" if bare < whole else "")


def _wall(document: Document, program: str) -> str:
    if program == RCLONE and BY_WALL in document["rounds"]:
        program = BY_WALL
    whole, bare = (median(document, program, name) for name in ("wall", "copy_wall"))
    if whole is None or bare is None:
        return ""
    return f"{bare:.2f}" + (f" ({whole:.2f})" if bare < whole else "")


def _ratios(cases: Mapping[str, Document]) -> Iterator[str]:
    yield "| ratio, medians of the rounds' own | value | with imports | target | |"
    yield "|---|---|---|---|---|"
    for document in cases.values():
        for name, ratio in document["ratios"].items():
            whole = ratio.get("with_imports")
            told = "" if whole is None else f"{whole:.2f}"
            least = "≥" if ("-rate-" in name or name.endswith("-ideal")) else "≤"
            value, verdict = ratio["value"], ratio["verdict"]
            bound = f"{least} {ratio['bound']:.2f}" if verdict != "told" else ""
            yield f"| `{name}` | {value:.2f} | {told} | {bound} | {verdict} |"
    yield ""


def _airflow(cases: Mapping[str, Document]) -> Iterator[str]:
    for document in cases.values():
        if document["shape"] == "airflow":
            engine = ", ".join(f"{one['wall']:.1f}" for one in document["rounds"][ENGINE])
            task = ", ".join(f"{one:.1f}" for one in document["rounds"]["airflow"])
            yield (
                f"Through Airflow, {document['title']}: the engine's process took {engine} s, the "
                f"task {task} s, from its start to its end as Airflow recorded them.\n"
            )


def _flags(cases: Mapping[str, Document]) -> Iterator[str]:
    yield f"rclone's flags, beside `{COMMON_FLAGS}`; the best of those tried:\n"
    told: dict[str, list[str]] = {}
    for name, document in cases.items():
        for which, flags in document["flags"].items():
            told.setdefault(flags, []).append(f"{name} (by {which})")
    for flags, names in told.items():
        yield f"- `{flags}`: {', '.join(names)}"
    listings = [
        f"{name} {document['listing'][0]:.2f} s, CPU {document['listing'][1]:.2f} s"
        for name, document in cases.items()
        if document.get("listing", [0])[0]
    ]
    if listings:
        yield "\nrclone lists the source itself, ours did so when it planned. "
        yield f"`rclone lsf -R --fast-list` alone: {'; '.join(listings)}."
