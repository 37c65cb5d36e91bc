"""The programs that ``make bench-transfer`` compares, each run in a process of its own."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.transfer_cases import BOTO3, ENGINE, FLOOR, PART, RCLONE, Case
from benchmarks.transfer_engine import SOURCE, TARGET, Place, order_of
from benchmarks.transfer_measure import Cost, measure
from benchmarks.transfer_native import RELAY
from benchmarks.transfer_worlds import Turn, World

RCLONE_PROGRAM = Path(sys.executable).parent / "rclone"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one copy took, in seconds.

    :param wall, cpu: of the whole process and all that it started.
    :param copy_wall, copy_cpu: without the interpreter's start and imports, where it tells.
    :param span: from the first request for an object to the last answer, as the server saw it.
    :param requests: that the server was asked, of all methods.
    :param others_cpu: of all else on the machine; much of it means that the time on the clock is
        not to be trusted. A SeaweedFS counts here.
    """

    wall: float
    cpu: float
    copy_wall: float
    copy_cpu: float
    span: float
    requests: int
    most_at_once: int
    server_cpu: float
    others_cpu: float


class Programs:
    """Runs them.

    :param config: of the engine, beside what a case says.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self._order, self._config = folder / "order.json", config

    def run(self, name: str, case: Case, world: World, flags: list[str] | None = None) -> Figures:
        """Copy a case by a program, and return what that took.

        :param flags: of rclone.
        :raises RuntimeError: if it failed, or something else arrived.
        """
        with world.turn() as turn:
            cost = self._run(name, case, turn, flags)
        return figures_of(cost, turn.told)

    def _run(self, name: str, case: Case, turn: Turn, flags: list[str] | None) -> Cost:
        if name == RCLONE:
            return measure(rclone_copy(case, flags or []), rclone_env(turn.place))
        if name == FLOOR:
            return measure(_relay(case, turn))
        if name == BOTO3:
            return self._python("transfer_boto3", _boto3_order(case, turn.place))
        assert name.startswith(ENGINE)
        config = {**case.config, **self._config}
        return self._python("transfer_engine", order_of(turn.place, turn.batch, config))

    def _python(self, module: str, order: Mapping[str, Any]) -> Cost:
        self._order.write_text(json.dumps(order))
        return measure([sys.executable, "-m", f"benchmarks.{module}", self._order])


def figures_of(cost: Cost, told: Mapping[str, Any]) -> Figures:
    """Put together what was measured, what the program said, and what the server said."""
    lines = cost.out.splitlines()
    said = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Figures(
        wall=cost.wall,
        cpu=cost.cpu,
        copy_wall=said["ended"] - said["began"] if said else cost.wall,
        copy_cpu=cost.cpu - said.get("cpu_before", 0.0),
        span=told.get("span_s", 0.0),
        requests=sum(told.get("requests", {}).values()),
        most_at_once=told.get("most_at_once", 0),
        server_cpu=told.get("server_cpu_s", 0.0),
        others_cpu=max(0.0, cost.busy - cost.cpu - told.get("server_cpu_s", 0.0)),
    )


def rclone_env(place: Place) -> dict[str, str]:
    """Return rclone's configuration: two remotes, so that it does not copy inside the server."""
    fields = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": place.endpoint_url,
        "ACCESS_KEY_ID": place.access_key,
        "SECRET_ACCESS_KEY": place.secret_key,
        "REGION": "us-east-1",
        "FORCE_PATH_STYLE": "true",
        "LIST_VERSION": "2",
    }
    named = {f"RCLONE_CONFIG_{r}_{n}": v for r in ("SOURCE", "TARGET") for n, v in fields.items()}
    trusted = {"RCLONE_CA_CERT": place.ca_file} if place.ca_file else {}
    return {"RCLONE_CONFIG": "/dev/null", **named, **trusted}


def rclone_copy(case: Case, flags: list[str]) -> list[str | Path]:
    """Return the command."""
    sides = [f"source:{SOURCE}/{case.prefix}", f"target:{TARGET}/{case.prefix}"]
    return [RCLONE_PROGRAM, "copy", *sides, *flags, "--stats", "0"]


def rclone_version() -> str:
    """Return what it says of itself."""
    return measure([RCLONE_PROGRAM, "version"]).out.splitlines()[0]


def listing_of(case: Case, place: Place) -> Cost:
    """Return what rclone's own listing of the source costs, which is part of its copies."""
    arguments = ["lsf", "-R", "--fast-list", f"source:{SOURCE}/{case.prefix}"]
    return measure([RCLONE_PROGRAM, *arguments], rclone_env(place))


def _relay(case: Case, turn: Turn) -> list[str | Path]:
    place = turn.place
    address = urlsplit(place.endpoint_url).netloc
    tls = ["--tls", place.ca_file] if place.ca_file else []
    sides = ["--source", address, "--target", address]
    sizes = ["--size", str(case.size)]
    if case.part_size:
        key = case.prefix + case.keys[0]
        sizes += ["--part", str(case.part_size)]
    else:
        key = case.prefix
        sizes += ["--objects", str(case.objects)]
    return [RELAY, *sides, *tls, "--key", key, *sizes, "--threads", str(case.threads)]


def _boto3_order(case: Case, place: Place) -> dict[str, Any]:
    keys = [case.prefix + key for key in case.keys]
    return {
        "endpoint_url": place.endpoint_url,
        "access_key": place.access_key,
        "secret_key": place.secret_key,
        "ca_file": place.ca_file,
        "keys": keys,
        "target_keys": keys,
        "size": case.size,
        "part_size": PART if case.part_size else 0,
        "threads": case.threads,
    }


def median(figures: list[Figures], name: str) -> float:
    """Return the median of one of the figures."""
    return statistics.median(float(getattr(one, name)) for one in figures)
