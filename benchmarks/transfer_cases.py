"""The cases of ``make bench-transfer``, what they are judged by, and rclone's flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PART = 16 * MIB
ENGINE, RCLONE, BOTO3, FLOOR, TWIN = "ours", "rclone", "boto3", "floor", "ours-undelayed"
LATENCY_MS = 50
ROUNDS_OF_SLOW = 2
"""boto3 takes minutes for what the others do in seconds: more rounds of it would say nothing."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A bound.

    :param figure: ``cpu``, ``wall``, ``rate`` (objects a second) or ``ideal``.
    :param against: the program that ours is compared with; for ``ideal`` none, or the twin.
    :param bound: the most, or the least of ``rate`` and ``ideal``.
    :param binds: it is to be reached; if not, it is told for comparison.
    """

    name: str
    figure: str
    against: str
    bound: float
    binds: bool = True

    def keeps(self, value: float) -> bool:
        """Tell whether a value keeps the bound."""
        return value >= self.bound if self.figure in {"rate", "ideal"} else value <= self.bound


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is copied, where, and by whom.

    :param shape: ``big`` (one object in parts), ``medium`` or ``small``: whose flags rclone gets.
    :param wire: ``http``, ``tls``, ``seaweed``, or ``delay``: plain HTTP with latency.
    :param part_size: of the source object, 0 if it is not made of parts.
    :param config: of the engine, beside its defaults.
    :param extra: what the connection says, beside what all say.
    :param threads: of boto3 and of the floor; requests in flight, where there is latency.
    :param often: times as many rounds as of other cases: where one takes seconds, or a spell of the
        machine is as much as what is left to the bound.
    """

    name: str
    shape: str
    wire: str
    objects: int
    size: int
    part_size: int = 0
    programs: tuple[str, ...] = (ENGINE, RCLONE, BOTO3)
    targets: tuple[Target, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    threads: int = 8
    often: int = 1

    @property
    def prefix(self) -> str:
        """Where its objects lie in the source."""
        if self.part_size:
            return f"big/{self.size // self.part_size}x{self.part_size // MIB}/"
        return f"objects/{self.size}/{self.objects}/"

    @property
    def keys(self) -> list[str]:
        """The objects' names under the prefix."""
        if self.part_size:
            return ["object"]
        return [f"{number:08d}" for number in range(self.objects)]

    @property
    def bytes(self) -> int:
        """How much is copied."""
        return self.objects * self.size

    @property
    def requests(self) -> int:
        """GETs and PUTs of data that are needed."""
        return 2 * max(self.objects, self.size // self.part_size if self.part_size else 0)

    @property
    def title(self) -> str:
        """What tables call it."""
        what = f"{self.objects:,} objects of {_told(self.size)}"
        if self.part_size:
            what = f"{_told(self.size)} in parts of {_told(self.part_size)}"
        wires = {"http": "HTTP", "tls": "TLS", "seaweed": "SeaweedFS, HTTP"}
        wire = wires.get(self.wire, f"HTTP, {LATENCY_MS} ms a request, {self.threads} in flight")
        return f"{what}, {wire}"


def _told(size: int) -> str:
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


def _targets(case: str, *bounds: tuple[str, str, float]) -> tuple[Target, ...]:
    return tuple(
        Target(name=f"{case}-{figure}-{against}", figure=figure, against=against, bound=bound)
        for figure, against, bound in bounds
    )


def _big(wire: str, *bounds: tuple[str, str, float]) -> Case:
    return Case(
        name=f"big-{wire}",
        shape="big",
        wire=wire,
        objects=1,
        size=4 * GIB,
        part_size=PART,
        programs=(ENGINE, RCLONE, BOTO3, FLOOR),
        targets=_targets(f"big-{wire}", *bounds),
        often=2 if wire == "tls" else 1,
    )


def _medium(wire: str) -> Case:
    name = f"medium-{wire}"
    bounds = _targets(name, ("cpu", RCLONE, 1.0), ("wall", RCLONE, 1.0))
    return Case(
        name=name,
        shape="medium",
        wire=wire,
        objects=200,
        size=8 * MIB,
        programs=(ENGINE, RCLONE, BOTO3, FLOOR),
        targets=bounds,
        threads=16,
    )


_FEW = 5_000


def _small(label: str, objects: int, size: int, wire: str) -> Case:
    name = f"{label}-{wire}"
    bounds = _targets(name, ("rate", RCLONE, 1.2), ("rate", BOTO3, 8.0))
    if wire == "seaweed":
        bounds = _targets(name, ("cpu", RCLONE, 0.6), ("wall", RCLONE, 1.0))
    return Case(
        name=name,
        shape="small",
        wire=wire,
        objects=objects,
        size=size,
        programs=(ENGINE, RCLONE) if wire == "seaweed" else (ENGINE, RCLONE, BOTO3),
        targets=bounds,
        threads=16,
        often=3 if objects <= _FEW else 1,
    )


def _ideal(name: str, against: str = "") -> tuple[Target, ...]:
    return (Target(name=f"{name}-ideal", figure="ideal", against=against, bound=0.9),)


_DELAYED = (
    # Moving the bytes takes longer than the latency here (for the floor, too), so that requests in
    # flight by latency are no ideal: it is held against what the same copy takes without latency,
    # beside which six answers are waited for one after the other.
    Case(
        name="delay-large",
        shape="big",
        wire="delay",
        objects=1,
        size=4 * GIB,
        part_size=PART,
        programs=(ENGINE, TWIN, RCLONE, BOTO3, FLOOR),
        targets=(replace(*_ideal("delay-large", TWIN), binds=False),),
        config={"part_concurrency": 16, "memory_budget": 512 * MIB},
        threads=16,
    ),
    # In parts so small, the latency is nearly everything.
    Case(
        name="delay-parts",
        shape="big",
        wire="delay",
        objects=1,
        size=GIB,
        part_size=MIB,
        programs=(ENGINE, FLOOR),
        targets=_ideal("delay-parts"),
        config={"part_concurrency": 16},
        extra={"limits": {"min_part_size": MIB}},
        threads=16,
        often=3,
    ),
    Case(
        name="delay-small",
        shape="small",
        wire="delay",
        objects=4_000,
        size=64 * KIB,
        targets=_ideal("delay-small"),
        config={"part_concurrency": 64, "object_concurrency": 64},
        extra={"connections": 128},
        threads=64,
    ),
)

CASES = (
    _big("http", ("cpu", RCLONE, 0.35), ("wall", RCLONE, 0.65)),
    _big(
        "tls",
        ("cpu", RCLONE, 0.75),
        ("cpu", BOTO3, 0.70),
        ("wall", RCLONE, 0.85),
        ("cpu", FLOOR, 1.35),
    ),
    _medium("http"),
    _medium("tls"),
    *(_small("64k", 5_000, 64 * KIB, wire) for wire in ("http", "tls", "seaweed")),
    *(_small("4k", 20_000, 4 * KIB, wire) for wire in ("http", "tls", "seaweed")),
    *_DELAYED,
)


def quick(case: Case) -> Case:
    """Return the case with less in it."""
    if case.part_size:
        return replace(case, size=min(case.size, GIB) if case.wire != "delay" else 256 * MIB)
    return replace(case, objects=max(40, case.objects // 5))


_COMMON = (
    "--fast-list --no-check-dest --s3-no-head --s3-no-check-bucket "
    "--s3-disable-checksum --s3-use-unsigned-payload=true "
    "--s3-use-data-integrity-protections=false --s3-chunk-size 16M --multi-thread-chunk-size 16M"
)
_RCLONE_FLAGS = {
    "big": (
        "--multi-thread-streams 4 --s3-upload-concurrency 4",
        "--multi-thread-streams 8 --s3-upload-concurrency 8",
        "--multi-thread-streams 2 --s3-upload-concurrency 2",
        "--multi-thread-streams 4 --s3-upload-concurrency 4 --buffer-size 0 --use-mmap",
        "--multi-thread-streams 0 --s3-upload-concurrency 4 --buffer-size 16M",
    ),
    "medium": (
        "--transfers 4 --checkers 4 --buffer-size 16M",
        "--transfers 8 --checkers 8 --buffer-size 0",
        "--transfers 16 --checkers 8 --buffer-size 0 --use-mmap",
        "--transfers 16 --checkers 8 --buffer-size 8M --use-mmap",
        "--transfers 8 --checkers 8 --buffer-size 0 --s3-use-presigned-request",
    ),
    "small": (
        "--transfers 8 --checkers 8 --buffer-size 0",
        "--transfers 16 --checkers 16 --buffer-size 0",
        "--transfers 32 --checkers 16 --buffer-size 64K --use-mmap",
        "--transfers 64 --checkers 16 --buffer-size 0",
        "--transfers 16 --checkers 8 --buffer-size 0 --s3-use-presigned-request",
    ),
}
# With it, rclone takes what it has copied in several streams for empty.
_NOT_BIG = "--s3-no-head-object"
_WITH_LATENCY = {
    "big": "--multi-thread-streams {threads} --s3-upload-concurrency {threads}",
    "small": "--transfers {threads} --checkers 16 --buffer-size 0",
}
COMMON_FLAGS = f"{_COMMON}, and {_NOT_BIG} where objects are copied whole"


def rclone_flags(case: Case) -> list[list[str]]:
    """Return the sets of flags that are tried; with latency, the one with as much in flight."""
    sets: tuple[str, ...] = _RCLONE_FLAGS[case.shape]
    if case.wire == "delay":
        sets = (_WITH_LATENCY[case.shape].format(threads=case.threads),)
    common = _COMMON if case.shape == "big" else f"{_NOT_BIG} {_COMMON}"
    return [[*flags.split(), *common.split()] for flags in sets]


def told_flags(flags: list[str]) -> str:
    """Return what is particular in a set of flags."""
    return " ".join(flags).removesuffix(_COMMON).strip().removesuffix(_NOT_BIG).strip()
