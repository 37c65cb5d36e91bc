"""Where the services of docker-compose.yaml are played without containers.

**What is replaced**, and nothing else: hosts, ports, paths, the user, and what an engine and the
images bring.

| in the file | here |
|---|---|
| ``0.0.0.0`` | the loopback address: nothing of a test listens elsewhere |
| ``service:port`` after ``//`` or ``@`` | the loopback address, and a free port of that service |
| ``localhost:port`` after ``//``, published on the host | the same port as above |
| a port of the service's own (``LISTENS``), as a word of its own | the same |
| the path of a volume, a path that the Dockerfile makes (``_COPIED``) | a folder of the test's |
| an image and its entrypoint | a program of this machine (``started_as``) |
| a volume of PostgreSQL | a folder that an account without privileges owns (``PostgresServer``) |
| ``user``, and the other keys of ``LEFT_TO_AN_ENGINE`` | left out: the user that runs the test |
| ``HOSTNAME``, ``HOME``, ``PATH``, ``AIRFLOW_HOME``, ``GODEBUG`` of engine and images | set here |
| the interval of a health check | a tenth of it; how long it may fail at all stays what it is |
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.bootstrap import ROOT
from tests.support.compose_file import ComposeError, Service
from tests.support.debian import COMPOSED, require
from tests.support.ports import LOOPBACK, free_block

_SEAWEED = (8333, 8888, 9333, 9340, 23646)
LISTENS: Mapping[str, Sequence[int]] = {
    "postgres": (5432,),
    "redis": (6379,),
    "source": _SEAWEED,
    "target": _SEAWEED,
    "api-server": (8080,),
    "scheduler": (8974,),
}
"""What a service listens on in its container."""

_COPIED = {"/opt/airflow/docker": ROOT / "docker"}
_AIRFLOW, _SEAWEEDFS, _POSTGRES, _REDIS = (
    "s3resume-airflow",
    "chrislusf/seaweedfs",
    "postgres",
    "redis",
)
_KEPT_BY_AIRFLOW = frozenset({"airflow", "bash", "python"})
"""Before any other first word the image's entrypoint puts ``airflow``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where one service is played: port and path in the container → port and path here."""

    service: Service
    ports: Mapping[int, int]
    paths: Mapping[str, Path]


class Places:
    """Where all of them are, in ``folder``."""

    def __init__(self, folder: Path, services: Mapping[str, Service]) -> None:
        self._folder = folder
        self._all = {name: self._place(one) for name, one in services.items()}
        self._published = {
            host: self._all[name].ports[port]
            for name, one in services.items()
            for host, port in one.ports.items()
        }

    def _place(self, service: Service) -> Place:
        listens = LISTENS.get(service.name, ())
        first = free_block(len(listens), with_grpc=True) if listens else 0
        paths = {path: self.volume(volume) for path, volume in service.volumes.items()}
        return Place(
            service=service,
            ports={port: first + number for number, port in enumerate(listens)},
            paths={**_COPIED, **paths},
        )

    def volume(self, name: str) -> Path:
        """Return the folder of a volume, or the one of the project that is mounted in its place."""
        if name.startswith("./"):
            return ROOT / name
        folder = self._folder / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def home(self, name: str) -> Path:
        """Return the folder in which a service runs."""
        folder = self._folder / "homes" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def port(self, name: str, port: int) -> int:
        """Return the port here of a port of a service's container."""
        return self._all[name].ports[port]

    def url(self, name: str, port: int) -> str:
        """Return the address of a service."""
        return f"http://{LOOPBACK}:{self.port(name, port)}"

    def here(self, name: str, text: str) -> str:
        """Return a word, or a value of the environment, of a service as it is played here."""
        place = self._all[name]
        text = text.replace("0.0.0.0", LOOPBACK)  # noqa: S104 - that is what is taken away
        text = re.sub(r"(?<=[/@])([a-z][a-z-]*):(\d+)\b", self._address, text)
        for port, number in place.ports.items():
            text = re.sub(rf"(?<![\w.]){port}(?![\w.])", str(number), text)
        # Paths last: a folder of this machine may have the number of a port in its name.
        for path in sorted(place.paths, key=len, reverse=True):
            parts = re.split(rf"(?<![\w./]){re.escape(path)}(?![\w.-])", text)
            text = str(place.paths[path]).join(parts)
        return text

    def _address(self, found: re.Match[str]) -> str:
        name, port = found[1], int(found[2])
        if name == "localhost":
            return f"{LOOPBACK}:{self._published[port]}"
        return f"{LOOPBACK}:{self.port(name, port)}"

    def environment(self, name: str) -> dict[str, str]:
        """Return the whole environment of a service: the file's, and what engine and image set."""
        service = self._all[name].service
        said = {key: self.here(name, value) for key, value in service.environment.items()}
        return {**self._of_engine(service), **said}

    def _of_engine(self, service: Service) -> dict[str, str]:
        bins = [Path(sys.executable).parent, *(found.parent for found in require(*COMPOSED))]
        path = os.pathsep.join([*map(str, dict.fromkeys(bins)), os.environ.get("PATH", os.defpath)])
        home = str(self.home(service.name))
        found = {"HOME": home, "HOSTNAME": socket.gethostname(), "LANG": "C.UTF-8", "PATH": path}
        if service.image.startswith(_AIRFLOW):
            return {**found, "AIRFLOW_HOME": home}
        if service.image.startswith(_SEAWEEDFS):
            return {**found, "GODEBUG": "fips140=on"}
        return found

    def started_as(self, name: str) -> list[str]:
        """Return the program that stands for a service's image, with the file's own command.

        :raises ComposeError: for an image of which nobody has said what it starts.
        """
        service = self._all[name].service
        words = [self.here(name, word) for word in service.command]
        image = service.image.partition(":")[0]
        if image == _AIRFLOW:
            return words if words[0] in _KEPT_BY_AIRFLOW else ["airflow", *words]
        if image == _SEAWEEDFS:
            return ["weed", "-logtostderr=true", *words]
        if image == _REDIS:
            return words
        raise ComposeError(f"service {name}: nobody has said what {image} starts")

    def is_postgres(self, name: str) -> bool:
        """Return whether a service is the database, which is made before it is started."""
        return self._all[name].service.image.partition(":")[0] == _POSTGRES
