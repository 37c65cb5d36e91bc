"""What a copy costs, side by side: our engine, tuned rclone, a lean boto3 relay, a bare C relay.

``make bench-transfer`` (``BENCH="--only big-tls"`` for one case, ``BENCH=--quick`` for less data;
``BENCH=--report`` writes table and plot of the last results into ``docs/performance.md``).

Every copy is a process of its own. What counts is its CPU time, user and system, with that of all
that it starts, and its time on the clock. A Python program's begin when its modules are imported,
which takes each task the same (0.4 s, beside the two seconds of Airflow's own), however much it
copies; clients, connections and further processes are made after that, and count. ``also
…-with-imports`` are the ratios of the whole processes.

Null servers (``benchmarks/native``) make up what is read and compare what is written, and cost
little, so that time on a clock can be measured beside them; a SeaweedFS is a real server, but takes
most of the machine for itself. In a round the programs take turns, and each round begins with
another one. A figure is the median of the rounds, a ratio the median of the rounds' own.

What each is:

- ``ours``: ``copy_batch`` with stores as the hook makes them, of a batch that was planned before.
- ``rclone``: the best of a stated list of flags, which are tried once at the start: by CPU time for
  the ratios of that, by time on the clock for the others. It lists the source itself; what a
  listing alone takes is printed.
- ``boto3``: ranges to parts, or objects whole, in threads, with unsigned payloads and CRC64NVME.
- ``floor``: a relay in C that neither signs nor computes anything; of parts, or whole objects.

What else the machine does meanwhile is printed as ``others' CPU``: it should be next to nothing.
``ratio NAME VALUE TARGET ok|short`` are the targets; ``also`` is for information. The exit code is
1 if any target is not reached.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.transfer_cases import (
    BOTO3,
    CASES,
    ENGINE,
    LATENCY_MS,
    RCLONE,
    ROUNDS_OF_SLOW,
    TWIN,
    Case,
    Target,
    quick,
    rclone_flags,
    told_flags,
)
from benchmarks.transfer_measure import adopt_orphans
from benchmarks.transfer_native import BUILT, build
from benchmarks.transfer_programs import (
    Figures,
    Programs,
    listing_of,
    median,
    rclone_version,
)
from benchmarks.transfer_worlds import World, null_world, seaweed_world

RESULTS = "results.json"
AIRFLOW = "airflow"
AIRFLOW_ROUNDS = 7
"""A ratio of one round may be a tenth off, twice what is asked of the median: 3 were too few."""
BY_WALL = "rclone-wall"
"""rclone with the flags that are best on the clock, where they are others than those by CPU."""


@dataclass(kw_only=True)
class Result:
    """The rounds of a case.

    :param rounds: program → what it took, round by round; a slow one has fewer rounds.
    :param flags: of rclone, by what they are the best.
    :param tried: all of them that were tried, with what each took.
    """

    case: Case
    flags: dict[str, list[str]] = field(default_factory=dict)
    tried: dict[str, Figures] = field(default_factory=dict)
    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    listing_wall: float = 0.0
    listing_cpu: float = 0.0

    def against(self, target: Target) -> list[Figures]:
        """Return the rounds of the program that a target compares with."""
        by_wall = target.figure in {"wall", "rate"} and BY_WALL in self.rounds
        return self.rounds[BY_WALL if by_wall and target.against == RCLONE else target.against]

    def value(self, target: Target, *, with_imports: bool = False) -> float:
        """Return the median of the rounds' own ratios."""
        ours = self.rounds[ENGINE]
        if target.figure == "ideal":
            twins = self.rounds.get(target.against, [])
            ideals = [max(self.ideal_s, t.span) for t in twins] or [self.ideal_s] * len(ours)
            return statistics.median(i / o.span for i, o in zip(ideals, ours, strict=True))
        prefix = "" if with_imports else "copy_"
        name = prefix + ("cpu" if target.figure == "cpu" else "wall")
        pairs = zip(ours, self.against(target), strict=False)
        values = [(float(getattr(o, name)), float(getattr(t, name))) for o, t in pairs]
        if target.figure == "rate":
            return statistics.median(theirs / own for own, theirs in values)
        return statistics.median(own / theirs for own, theirs in values)

    @property
    def ideal_s(self) -> float:
        """The time that the requests take at the least, so many in flight, each so long."""
        return self.case.requests / self.case.threads * LATENCY_MS / 1000


class Bench:
    """Runs cases."""

    def __init__(self, folder: Path, rounds: int, config: Mapping[str, Any]) -> None:
        self._folder, self._rounds = folder, rounds
        self._programs = Programs(folder, config)

    def run(self, case: Case) -> Result:
        """Run all rounds of a case."""
        result = Result(case=case)
        with self._worlds(case) as worlds:
            world = worlds[ENGINE]
            if RCLONE in case.programs:
                self._tune(case, world, result)
            names = [name for name in case.programs if name != RCLONE]
            names += [RCLONE, BY_WALL][: len({tuple(f) for f in result.flags.values()})]
            for turn in range(self._rounds * case.often):
                for name in names[turn % len(names) :] + names[: turn % len(names)]:
                    if not _is_done(name, case, turn):
                        found = self._one(name, result, worlds)
                        result.rounds.setdefault(name, []).append(found)
                        say(f"  {case.name} round {turn + 1} {name}: {told(found)}")
        return result

    @contextmanager
    def _worlds(self, case: Case) -> Iterator[dict[str, World]]:
        with ExitStack() as stack:
            if case.wire == "seaweed":
                world: World = stack.enter_context(seaweed_world(case, self._folder))
            else:
                world = stack.enter_context(null_world(case, self._folder))
            worlds = {ENGINE: world}
            if TWIN in case.programs:
                twin = null_world(case, self._folder, delayed=False)
                worlds[TWIN] = stack.enter_context(twin)
            yield worlds

    def _one(self, name: str, result: Result, worlds: Mapping[str, World]) -> Figures:
        world = worlds.get(name, worlds[ENGINE])
        if name == BY_WALL:
            return self._programs.run(RCLONE, result.case, world, result.flags["wall"])
        return self._programs.run(name, result.case, world, result.flags.get("cpu"))

    def _tune(self, case: Case, world: World, result: Result) -> None:
        """Try rclone's flags once each, and keep the best by CPU time and by the clock."""
        tried = []
        for flags in rclone_flags(case):
            found = self._programs.run(RCLONE, case, world, flags)
            say(f"  {case.name} rclone {told_flags(flags)}: {told(found)}")
            tried.append((found, flags))
            result.tried[told_flags(flags)] = found
        result.flags = {
            "cpu": min(tried, key=lambda one: one[0].cpu)[1],
            "wall": min(tried, key=lambda one: one[0].wall)[1],
        }
        if case.wire != "seaweed":
            cost = listing_of(case, world.place)
            result.listing_wall, result.listing_cpu = cost.wall, cost.cpu
            say(f"  {case.name} rclone lsf alone: {cost.wall:.2f} s, CPU {cost.cpu:.2f} s")


def _is_done(name: str, case: Case, turn: int) -> bool:
    return name == BOTO3 and case.shape == "small" and turn >= ROUNDS_OF_SLOW


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def told(found: Figures) -> str:
    """Return the figures of one run."""
    text = f"{found.wall:.2f} s, CPU {found.cpu:.2f} s"
    if found.copy_wall < found.wall:
        text += f"; without imports {found.copy_wall:.2f} s, CPU {found.copy_cpu:.2f} s"
    if found.requests:
        text += f"; {found.requests} requests, {found.most_at_once} at once"
        text += f"; server's CPU {found.server_cpu:.2f} s"
    return f"{text}; others' CPU {found.others_cpu:.2f} s"


def tell(result: Result) -> dict[str, dict[str, Any]]:
    """Print what a case came to, and return its ratios."""
    case, ratios = result.case, dict[str, dict[str, Any]]()
    say(f"{case.name}: {case.title}")
    for name, found in result.rounds.items():
        walls = f"{median(found, 'copy_wall'):.2f} s ({median(found, 'wall'):.2f} s)"
        per_gib = 2**30 / case.bytes
        cpu, bare = (median(found, n) * per_gib for n in ("cpu", "copy_cpu"))
        pace = f"{case.bytes / 2**20 / median(found, 'copy_wall'):.0f} MiB/s"
        if case.shape == "small":
            pace = f"{case.objects / median(found, 'copy_wall'):.0f} objects/s"
        say(f"  {name}: {walls}, CPU-s/GiB {bare:.2f} ({cpu:.2f}), {pace}")
    for which, flags in result.flags.items():
        say(f"  rclone by {which}: {told_flags(flags)}")
    for target in case.targets:
        value = result.value(target)
        verdict = "ok" if target.keeps(value) else "short"
        if target.binds:
            say(f"ratio {target.name} {value:.3f} {target.bound:.2f} {verdict}")
        else:
            verdict = "told"
            say(f"also {target.name} {value:.3f}")
        ratios[target.name] = {"value": value, "bound": target.bound, "verdict": verdict}
        if target.figure != "ideal":
            whole = result.value(target, with_imports=True)
            say(f"also {target.name}-with-imports {whole:.3f}")
            ratios[target.name]["with_imports"] = whole
        elif target.against:
            alone = Result.value(result, Target(name="", figure="ideal", against="", bound=0))
            say(f"also {target.name}-by-latency-alone {alone:.3f}")
    return ratios


def keep(place: Path, name: str, document: Mapping[str, Any]) -> None:
    """Put a case's results beside those of other cases."""
    known = json.loads(place.read_text()) if place.exists() else {}
    known[name] = {**document, "at": time.strftime("%Y-%m-%d", time.gmtime())}
    made = place.with_suffix(".new")
    made.write_text(json.dumps(known, indent=1))
    made.replace(place)


def document_of(result: Result, ratios: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a case."""
    case = result.case
    return {
        "title": case.title,
        "shape": case.shape,
        "objects": case.objects,
        "bytes": case.bytes,
        "listing": [result.listing_wall, result.listing_cpu],
        "flags": {which: told_flags(flags) for which, flags in result.flags.items()},
        "tried": {flags: asdict(found) for flags, found in result.tried.items()},
        "rounds": {n: [asdict(one) for one in found] for n, found in result.rounds.items()},
        "ratios": ratios,
        "python": platform.python_version(),
        "rclone": rclone_version(),
        "cores": os.cpu_count(),
    }


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(description="Copies by several programs, side by side.")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*names, AIRFLOW],
        metavar="CASE",
        help=("of " + ", ".join([*names, AIRFLOW])),
    )
    parser.add_argument("--rounds", type=int, help="rounds of a case (3, quick 1); some have more")
    parser.add_argument("--airflow-rounds", type=int, help="those of Airflow (7, quick 1)")
    parser.add_argument("--quick", action="store_true", help="less data, results kept elsewhere")
    parser.add_argument("--report", action="store_true", help="write the last results into docs/")
    parser.add_argument(
        "--engine",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="fields of CopyConfig for ours, as part_concurrency=4",
    )
    return parser.parse_args()


def run_airflow(given: argparse.Namespace, folder: Path, place: Path) -> bool:
    """Run the case of Airflow, and return whether its targets are reached."""
    from benchmarks.transfer_airflow import (  # noqa: PLC0415 - of this case only
        QUICK_SECONDS,
        SECONDS,
        Plan,
        measure_airflow,
    )

    plan = Plan(
        folder=folder,
        config=engine_config(given),
        rounds=given.airflow_rounds or (1 if given.quick else AIRFLOW_ROUNDS),
        seconds=QUICK_SECONDS if given.quick else SECONDS,
    )
    reached = True
    for name, document in measure_airflow(plan, say):
        keep(place, name, document)
        reached &= all(one["verdict"] == "ok" for one in document["ratios"].values())
    return reached


def engine_config(given: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of CopyConfig that were given."""
    pairs = (one.partition("=") for one in given.engine)
    return {name: json.loads(value) for name, _, value in pairs}


def main() -> int:
    """Run the cases; 1 if a target is not reached."""
    given = arguments()
    place = BUILT / (f"quick-{RESULTS}" if given.quick else RESULTS)
    if given.report:
        from benchmarks.transfer_report import write_report  # noqa: PLC0415 - of this order only

        write_report(place)
        return 0
    logging.disable(logging.WARNING)
    build()
    adopt_orphans()
    reached = True
    wanted = given.only or [*(case.name for case in CASES), AIRFLOW]
    with tempfile.TemporaryDirectory(dir=BUILT) as name:
        folder = Path(name)
        rounds = given.rounds or (1 if given.quick else 3)
        bench = Bench(folder, rounds, engine_config(given))
        for case in (one for one in CASES if one.name in wanted):
            result = bench.run(quick(case) if given.quick else case)
            ratios = tell(result)
            keep(place, case.name, document_of(result, ratios))
            reached &= all(one["verdict"] != "short" for one in ratios.values())
        if AIRFLOW in wanted:
            reached &= run_airflow(given, folder, place)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
