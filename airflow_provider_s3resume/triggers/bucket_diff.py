"""Waiting until two buckets differ enough: one question, asked by a worker or by the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_s3resume.exceptions import InvalidInputError, S3ResumeError
from airflow_provider_s3resume.hooks._values import whole
from airflow_provider_s3resume.hooks.planning import PlanArguments
from airflow_provider_s3resume.hooks.sides import OpenSides, PlanReference, Sides
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.triggers._answers import error_event, in_thread, path_of

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.manifest import Manifest
    from airflow_provider_s3resume.transfer.plan_request import PlanRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffQuestion:
    """Whether there is enough to copy.

    :param run_id: names the plan that the answer is kept in.
    :param min_objects: objects to copy, at least.
    :param min_bytes: bytes to copy, at least.
    :param min_age_s: seconds since the newest of these objects was written, by the source's
        clock: what is still being uploaded is waited for.
    """

    sides: Sides
    run_id: str
    plan: PlanArguments = field(default_factory=PlanArguments)
    min_objects: int | str = 1
    min_bytes: int | str = 0
    min_age_s: int | str = 0

    def check(self) -> None:
        """Refuse what cannot be asked; reads the connections and asks no service.

        :raises InvalidInputError: naming the parameter.
        """
        for name in ("min_objects", "min_bytes", "min_age_s"):
            value = whole(name, getattr(self, name))
            if value < (name == "min_objects"):
                least = int(name == "min_objects")
                raise InvalidInputError(name, found=value, accepted=f"a whole number from {least}")
        self._request(self.run_id, self.sides.open())

    def ask(self, stop: StopSignal) -> PlanReference | None:
        """List and diff both sides; return the plan if there is enough to copy, else ``None``.

        :raises S3ResumeError: if it cannot be found out; never taken for "no difference" (c01).
        """
        from airflow_provider_s3resume.transfer.planning import make_plan  # noqa: PLC0415

        opened = self.sides.open(stop.wait)
        request = self._request(f"{self.run_id}.{opened.mark}", opened)
        now = time.time()
        key, manifest = make_plan(
            opened.source, opened.target, opened.state, request, now=now, stop=stop
        )
        if manifest.copy_objects < whole("min_objects", self.min_objects):
            return None
        if manifest.copy_bytes < whole("min_bytes", self.min_bytes):
            return None
        if now - newest(opened, manifest, stop) < whole("min_age_s", self.min_age_s):
            return None
        return PlanReference.of(self.sides, key, manifest)

    def _request(self, run_id: str, opened: OpenSides) -> PlanRequest:
        return self.plan.request(run_id, opened.places, self.sides.source_conn_id)

    def to_json_dict(self) -> dict[str, Any]:
        """Return the form that a trigger is stored in."""
        return asdict(self)

    @classmethod
    def from_json_dict(cls, data: Mapping[str, Any]) -> DiffQuestion:
        """Read that form."""
        nested = {"sides": Sides(**data["sides"]), "plan": PlanArguments(**data["plan"])}
        return cls(**{**data, **nested})


def newest(opened: OpenSides, manifest: Manifest, stop: StopSignal) -> float:
    """Return when the newest object to copy was written, in seconds since the epoch."""
    from airflow_provider_s3resume.transfer.loading import load_entries  # noqa: PLC0415

    found = 0.0
    for ref in manifest.batches:
        stop.check()
        entries = load_entries(opened.state, ref)
        found = max([found, *(entry.last_modified for entry in entries)])
    return found


class BucketDiffTrigger(BaseTrigger):
    """Ask again and again, in a thread of the triggerer.

    All that it knows is in its arguments, so that another triggerer can go on with it.

    :param question: a :class:`DiffQuestion`, as :meth:`DiffQuestion.to_json_dict` gives it.
    :param poke_interval_s: seconds between two questions.
    """

    def __init__(self, question: Mapping[str, Any], poke_interval_s: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.question = dict(question)
        self.poke_interval_s = poke_interval_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments."""
        return path_of(self), {"question": self.question, "poke_interval_s": self.poke_interval_s}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: the plan, or what is wrong."""
        yield TriggerEvent(await self._answer())  # type: ignore[no-untyped-call]

    async def _answer(self) -> dict[str, Any]:
        question = DiffQuestion.from_json_dict(self.question)
        stop = StopSignal()
        ask = in_thread(question.ask)
        try:
            while (found := await ask(stop)) is None:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(self.poke_interval_s)
        except S3ResumeError as error:
            return error_event(error)
        finally:
            stop.stop("the trigger ended")
        return {"status": "found", "plan": found.to_json_dict()}
