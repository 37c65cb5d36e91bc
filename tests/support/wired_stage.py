"""A stage whose Airflow reaches both servers over wires that record and break things."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.support.airflow_backend import Backend
from tests.support.endpoints import S3Endpoint
from tests.support.stage import DAGS, Stage
from tests.support.wire import Wire


class WiredStage(Stage):
    """A :class:`Stage` with ``source_wire`` and ``target_wire`` between Airflow and the servers."""

    def __init__(
        self,
        folder: Path,
        *,
        fill: bool = True,
        env: Mapping[str, str] | None = None,
        backend: Backend | None = None,
        dags: Path = DAGS,
    ) -> None:
        super().__init__(folder, fill=fill, env=env, backend=backend, dags=dags)
        self._wires = ExitStack()
        self.source_wire: Wire
        self.target_wire: Wire

    def endpoints_for_airflow(self) -> tuple[S3Endpoint, S3Endpoint]:
        """Return the wires' addresses, with the servers' identities."""
        source, target = self.source.endpoint, self.target.endpoint
        self.source_wire = self._wires.enter_context(Wire(source.endpoint_url))
        self.target_wire = self._wires.enter_context(Wire(target.endpoint_url))
        return source.through(self.source_wire.url), target.through(self.target_wire.url)

    def start(self) -> Self:
        """Start everything; the wires end with it."""
        try:
            return super().start()
        except BaseException:
            self._wires.close()
            raise

    def stop(self) -> None:
        """Stop everything."""
        super().stop()
        self._wires.close()
