"""Reads a compose file: its values filled in, its services as values.

Only what is asked of our own docker-compose.yaml: a key that nobody has thought of is refused, so
that nothing of the file goes unplayed in silence. A test compares what is read here with what
Debian's ``docker-compose config`` makes of the same file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

HEALTHY, COMPLETED = "service_healthy", "service_completed_successfully"
LEFT_TO_AN_ENGINE = frozenset(
    {"build", "cap_drop", "logging", "mem_limit", "restart", "security_opt", "user"}
)
"""Keys of a service that mean nothing without a container."""

_PLAYED = frozenset(
    {
        *("command", "depends_on", "environment", "healthcheck", "image", "ports"),
        *("stop_grace_period", "stop_signal", "volumes"),
    }
)
_GRACE = "10s"
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:-|:\?)([^}]*))?\})")
_DURATION = re.compile(r"(\d+)(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class ComposeError(ValueError):
    """The file, or what it is filled with, is not as it has to be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A health check: the command, and how often it may fail before the service counts as ill."""

    command: Sequence[str]
    interval_s: float
    timeout_s: float
    retries: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """One service.

    ``volumes`` is path in the container → volume, or ``./folder`` of the host. ``ports`` is port
    of the host's loopback address → port of the container. ``depends_on`` is name → condition.
    """

    name: str
    image: str
    command: Sequence[str]
    environment: Mapping[str, str]
    volumes: Mapping[str, str]
    ports: Mapping[int, int]
    depends_on: Mapping[str, str]
    check: Check | None
    grace_s: float
    stop_signal: str


def variables_of(file: Path) -> dict[str, str]:
    """Return name → value of an ``.env`` whose lines are ``NAME=value`` and nothing else."""
    lines = (line.partition("=") for line in file.read_text().splitlines())
    return {name: value for name, _, value in lines}


def filled(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with its variables filled in.

    :raises ComposeError: with the text's own words, for one that has to be there and is not.
    """

    def value(found: re.Match[str]) -> str:
        dollar, name, how, word = found.groups()
        if dollar:
            return "$"
        if given := variables.get(name):
            return given
        if how == ":-":
            return str(word)
        raise ComposeError(f"{name}: {word or 'is not set'}")

    return _VARIABLE.sub(value, text)


def seconds(duration: str) -> float:
    """Return a duration such as ``1m30s`` in seconds.

    :raises ComposeError: if it is none.
    """
    found = _DURATION.findall(duration)
    if "".join(number + unit for number, unit in found) != duration or not found:
        raise ComposeError(f"{duration!r} is no duration")
    return sum(int(number) * _SECONDS[unit] for number, unit in found)


def read(file: Path, variables: Mapping[str, str]) -> dict[str, Service]:
    """Return the services of a compose file by name.

    :raises ComposeError: for a key that is not known here, a variable that is not set, or a
        condition that a service cannot come to.
    """
    document = yaml.safe_load(file.read_text())
    found = _filled(document["services"], variables)
    services = {name: _service(name, keys) for name, keys in found.items()}
    for one in services.values():
        for on, condition in one.depends_on.items():
            fit = HEALTHY if services[on].check else COMPLETED
            if condition != fit:
                raise ComposeError(f"service {one.name}: {on} can be {fit}, not {condition}")
    return services


def levels(services: Mapping[str, Service]) -> list[list[str]]:
    """Return the names in the order of their start: each after all that it depends on."""
    order = TopologicalSorter({name: one.depends_on for name, one in services.items()})
    order.prepare()
    found = []
    while order.is_active():
        ready = sorted(order.get_ready())
        found.append(ready)
        order.done(*ready)
    return found


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return filled(value, variables)
    if isinstance(value, list):
        return [_filled(one, variables) for one in value]
    if isinstance(value, dict):
        return {key: _filled(one, variables) for key, one in value.items()}
    return value


def _service(name: str, keys: Mapping[str, Any]) -> Service:
    if unknown := keys.keys() - _PLAYED - LEFT_TO_AN_ENGINE:
        raise ComposeError(f"service {name}: nobody has thought of {sorted(unknown)}")
    volumes = [volume.split(":")[:2] for volume in keys.get("volumes", [])]
    return Service(
        name=name,
        image=keys["image"],
        command=keys.get("command", []),
        environment=keys.get("environment", {}),
        volumes={path: source for source, path in volumes},
        ports=dict(map(_published, keys.get("ports", []))),
        depends_on={on: how["condition"] for on, how in keys.get("depends_on", {}).items()},
        check=_check(keys["healthcheck"]) if "healthcheck" in keys else None,
        grace_s=seconds(keys.get("stop_grace_period", _GRACE)),
        stop_signal=keys.get("stop_signal", "SIGTERM"),
    )


def _published(port: str) -> tuple[int, int]:
    address, host, container = port.split(":")
    if address != "127.0.0.1":
        raise ComposeError(f"port {port} is published on more than the loopback address")
    return int(host), int(container.removesuffix("/tcp"))


def _check(keys: Mapping[str, Any]) -> Check:
    kind, *words = keys["test"]
    return Check(
        command=words if kind == "CMD" else ["/bin/sh", "-c", *words],
        interval_s=seconds(keys["interval"]),
        timeout_s=seconds(keys["timeout"]),
        retries=keys["retries"],
    )
