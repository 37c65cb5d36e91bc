"""A private Redis: the server of the Debian package, which keeps nothing."""

from __future__ import annotations

import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.support.debian import require
from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import Child

START_DEADLINE_S = 30.0


class RedisServer:
    """One Redis on the loopback address; as a context manager it runs inside the block."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._password = secrets.token_urlsafe(24)
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """The address with the password, as Celery takes it."""
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    def start(self) -> Self:
        """Return once it answers.

        :raises MissingProgramError: naming the Debian package.
        """
        (program,) = require("redis-server")
        self._folder.mkdir(parents=True, exist_ok=True)
        child = Child(
            "redis",
            [program, self._configuration()],
            log_file=self._folder / "redis.log",
            cwd=self._folder,
        )
        try:
            child.wait_ready(self._answers, deadline_s=START_DEADLINE_S)
        except BaseException:
            child.kill()
            raise
        self._child = child
        return self

    def _configuration(self) -> Path:
        # In a file, since everybody can read a command line.
        file = self._folder / "redis.conf"
        file.touch(mode=0o600)
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {self._password}",
            'save ""',
            "appendonly no",
            "daemonize no",
        ]
        file.write_text("\n".join(lines) + "\n")
        return file

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()
