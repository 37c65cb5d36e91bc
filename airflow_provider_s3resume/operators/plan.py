"""The plan of a sync: check both sides (``list``), then diff them into batches (``diff``)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import InvalidInputError, ManifestError
from airflow_provider_s3resume.hooks._errors import hopeless_fails
from airflow_provider_s3resume.hooks._values import document, flag, optional, whole
from airflow_provider_s3resume.hooks.planning import PlanArguments, plan_id
from airflow_provider_s3resume.hooks.sides import SIDES_FIELDS, OpenSides, PlanReference
from airflow_provider_s3resume.operators._asking import asked_for, choice
from airflow_provider_s3resume.operators._sides import SidesOperator
from airflow_provider_s3resume.plan.parts import check_part_size
from airflow_provider_s3resume.plan.sides import check_unknown
from airflow_provider_s3resume.transfer.stopping import StopSignal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_s3resume.plan.manifest import Manifest
    from airflow_provider_s3resume.transfer.checking import SidesReport
    from airflow_provider_s3resume.transfer.plan_request import PlanRequest

PLAN_KEY = "plan"
"""XCom key of the plan's reference."""
MISSING_POOL_KEY = "s3resume_missing_pool"
"""XCom key under which the scheduler's side notes that the pool of a task does not exist."""
_DEFAULTS = PlanArguments()
CHECKED_SIZES = ("part_size", "memory_budget", "max_bytes_per_s", "max_requests_per_s")
"""Arguments of the transfer tasks that ``list`` checks beforehand."""
PLAN_FIELDS = (
    "rule",
    "max_objects",
    "max_bytes",
    "max_batches",
    "plan_only",
    "selection",
    "archived",
    "key_mapping",
)
_UNTEMPLATED = ("key_function",)
"""It names code to run: no template may change it."""


class _PlanningOperator(SidesOperator):
    """What both tasks of a plan take.

    :param rule: how two objects of one key are told apart: ``size``, ``etag``, ``newer`` and
        ``metadata``, joined by ``+``.
    :param max_objects: objects in one batch.
    :param max_bytes: bytes in one batch.
    :param max_batches: batches of one run, each of them one mapped task.
    :param plan_only: a dry run: plan and report, copy nothing. (``dry_run`` is a method that every
        operator of Airflow has.)
    :param selection: which objects of the source are meant, such as
        ``{"include": ["*.csv"], "max_age": "7d"}``; `docs/selection.md` has all names.
    :param archived: what is done about source objects that have to be restored first: ``report``
        (all others are copied), ``fail`` (nothing is), or ``try`` (they are copied like any
        other, which works where the bucket lets them be read at once).
    :param key_mapping: ``{"strip_prefix": "old/", "add_prefix": "new/"}``: what becomes of keys
        behind the source's prefix; `docs/selection.md` says how.
    :param key_function: ``package.module:function`` of the worker: takes a key behind the source's
        prefix and returns the one it goes to. No template: it names code.
    """

    template_fields: Sequence[str] = (*SIDES_FIELDS, *PLAN_FIELDS)

    def __init__(
        self,
        *,
        rule: str = _DEFAULTS.rule,
        max_objects: int | str = _DEFAULTS.max_objects,
        max_bytes: int | str = _DEFAULTS.max_bytes,
        max_batches: int | str = _DEFAULTS.max_batches,
        plan_only: bool | str = _DEFAULTS.plan_only,
        selection: Mapping[str, Any] | str | None = None,
        archived: str = _DEFAULTS.archived,
        key_mapping: Mapping[str, str] | str | None = None,
        key_function: str | None = None,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.rule = rule
        self.max_objects = max_objects
        self.max_bytes = max_bytes
        self.max_batches = max_batches
        self.plan_only = plan_only
        self.selection = selection
        self.archived = archived
        self.key_mapping = key_mapping
        self.key_function = key_function

    def request(self, run_id: str, opened: OpenSides) -> PlanRequest:
        """Return what to plan.

        :raises InvalidInputError: naming the parameter.
        """
        given = {name: getattr(self, name) for name in (*PLAN_FIELDS, *_UNTEMPLATED)}
        return PlanArguments(**given).request(
            f"{run_id}.{opened.mark}", opened.places, optional(self.source_conn_id)
        )


class ListSyncOperator(_PlanningOperator):
    """Check a sync before anything else happens: parameters, connections, both sides.

    The result names both services and what to be warned of; the key ranges that the listings are
    cut at are kept in the state location, under ``sides``.

    :param transfer_task_id: task whose pool must exist, in the same DAG.
    :param refuse_unknown_params: fail if the run was given parameters that the DAG does not have.
        Airflow lets them through, so that a misspelt one would pass for its default.
    :param part_size, memory_budget, max_bytes_per_s, max_requests_per_s: of the transfer tasks, to
        be refused before anything is listed.
    :param asked: the same of what the transfer tasks ask for with each object (``storage_class``,
        ``acl``, ``encryption`` and so on), by name.
    """

    template_fields: Sequence[str] = (*SIDES_FIELDS, *PLAN_FIELDS, *CHECKED_SIZES, "asked")

    def __init__(
        self,
        *,
        transfer_task_id: str | None = None,
        refuse_unknown_params: bool = False,
        part_size: int | str | None = None,
        memory_budget: int | str | None = None,
        max_bytes_per_s: int | str | None = None,
        max_requests_per_s: int | str | None = None,
        asked: Mapping[str, Any] | None = None,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.transfer_task_id = transfer_task_id
        self.refuse_unknown_params = refuse_unknown_params
        self.part_size = part_size
        self.memory_budget = memory_budget
        self.max_bytes_per_s = max_bytes_per_s
        self.max_requests_per_s = max_requests_per_s
        self.asked = asked

    def execute(self, context: Context) -> dict[str, Any]:
        """Check both sides and return what was found out.

        :raises AirflowFailException: if another attempt cannot help.
        """
        with hopeless_fails():
            if self.refuse_unknown_params:
                check_params(context)
            if self.transfer_task_id is not None:
                check_pool(context, self.transfer_task_id)
            stop = StopSignal()
            opened = self.sides().open(stop.wait)
            self._check_sizes(opened)
            request = self.request(plan_id(context), opened)
            report = self.run_stoppable(lambda _: _check(opened, request), stop)
        return {
            "sides": _sides_name(request),
            "source": f"{report.source.service} {report.source.uri}",
            "target": f"{report.target.service} {report.target.uri}",
            "state_uri": opened.places.state.uri,
            "ranges": len(report.ranges),
            "warnings": list(report.warnings),
        }

    def _check_sizes(self, opened: OpenSides) -> None:
        """Refuse what the transfer tasks would refuse, before both sides are listed for nothing."""
        from airflow_provider_s3resume.transfer.config import CopyConfig  # noqa: PLC0415
        from airflow_provider_s3resume.transfer.options import check_fits_target  # noqa: PLC0415

        given = {name: getattr(self, name) for name in CHECKED_SIZES}
        sizes: dict[str, Any] = {n: whole(n, v) for n, v in given.items() if v not in {None, ""}}
        config = CopyConfig(**sizes, **asked_for(self.asked or {}))
        check_fits_target(config, opened.target)


class PlanSyncOperator(_PlanningOperator):
    """Diff both sides into batches and store the manifest.

    Returns the list of batches, to be mapped over; the reference of the whole plan is the XCom
    ``plan``. (Airflow maps over the return value of a task only, and only over a list.)

    :param sides_name: name of what :class:`ListSyncOperator` kept (its result's ``sides``);
        without it both sides are checked here.
    :param plan: a plan that is there already, such as the result of ``BucketDiffSensor``: it is
        taken over and nothing is listed again. It must be of the same sides, and has the rule and
        the batches that it was made with; ``plan_only`` makes a dry run of it all the same.
    :param part_size, server_side_copy: of the transfer tasks, for the estimate of their requests.
    """

    template_fields: Sequence[str] = (
        *SIDES_FIELDS,
        *PLAN_FIELDS,
        "sides_name",
        "plan",
        "part_size",
        "server_side_copy",
    )

    def __init__(
        self,
        *,
        sides_name: str | None = None,
        plan: Mapping[str, Any] | str | None = None,
        part_size: int | str | None = None,
        server_side_copy: str | None = None,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.sides_name = sides_name
        self.plan = plan
        self.part_size = part_size
        self.server_side_copy = server_side_copy

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Plan, and return the batches with most bytes first; none in a dry run.

        :raises AirflowFailException: if another attempt cannot help.
        """
        with hopeless_fails():
            stop = StopSignal()
            reference, manifest = self.run_stoppable(self._prepare(plan_id(context), stop), stop)
        context["ti"].xcom_push(key=PLAN_KEY, value=reference.to_json_dict())
        counts = ", ".join(f"{name} {n}" for name, n in sorted(manifest.counts.items()))
        self.log.info(
            "Plan %s: %d objects, %d bytes in %d batches; %s",
            reference.manifest,
            reference.objects,
            reference.bytes,
            reference.batches,
            counts or "both sides are empty",
        )
        return [] if reference.dry_run else reference.to_batches(manifest)

    def _prepare(
        self, run_id: str, stop: StopSignal
    ) -> Callable[[StopSignal], tuple[PlanReference, Manifest]]:
        # Connections are read here, in the main thread; the listing runs in another.
        given = document("plan", self.plan)
        if given:
            reference = PlanReference.from_json_dict(given)
            self._check_same_sides(reference)
            taken = reference.open(stop.wait)
            dry_run = flag("plan_only", self.plan_only)
            return lambda _: _take_over(taken, reference, f"{run_id}.{taken.mark}", dry_run=dry_run)
        opened = self.sides().open(stop.wait)
        request = self._with_estimate(self.request(run_id, opened), opened)
        return lambda stop: self._make(opened, request, stop)

    def _with_estimate(self, request: PlanRequest, opened: OpenSides) -> PlanRequest:
        """Return the same, and how it will be copied."""
        from airflow_provider_s3resume.transfer.config import ServerSideCopy  # noqa: PLC0415

        if self.part_size not in {None, ""}:
            size = check_part_size(whole("part_size", self.part_size), opened.target.limits)
            request = replace(request, part_size=size)
        if self.server_side_copy not in {None, ""}:
            chosen = choice("server_side_copy", self.server_side_copy, ServerSideCopy)
            request = replace(request, server_side_copy=chosen)
        return request

    def _check_same_sides(self, reference: PlanReference) -> None:
        own = self.sides()
        if not own.source_uri and not own.target_uri:
            return  # It names no sides of its own.
        if not own.means_the_same_as(reference.sides):
            raise InvalidInputError(
                "plan",
                found=f"a plan from {reference.sides.source_uri} to {reference.sides.target_uri}",
                accepted="a plan of the connections, URIs and state location that the task names: "
                f"from {own.source_uri} to {own.target_uri}",
            )

    def _make(
        self, opened: OpenSides, request: PlanRequest, stop: StopSignal
    ) -> tuple[PlanReference, Manifest]:
        from airflow_provider_s3resume.transfer.planning import make_plan  # noqa: PLC0415

        key, manifest = make_plan(
            opened.source,
            opened.target,
            opened.state,
            request,
            _load_sides(opened, optional(self.sides_name)),
            now=time.time(),
            stop=stop,
        )
        return PlanReference.of(self.sides(), key, manifest), manifest


def _take_over(
    opened: OpenSides, reference: PlanReference, run_id: str, *, dry_run: bool
) -> tuple[PlanReference, Manifest]:
    """Return a plan that is there; for a dry run, a copy of it that says so."""
    from airflow_provider_s3resume.transfer.planning import store_dry_run  # noqa: PLC0415

    manifest = reference.load(opened.state)
    if manifest.dry_run or not dry_run:
        return replace(reference, dry_run=manifest.dry_run), manifest
    # Verify and report go by the manifest: that it was a dry run must stand there.
    key, manifest = store_dry_run(opened.state, manifest, run_id)
    return PlanReference.of(reference.sides, key, manifest, named=reference.named), manifest


def _check(opened: OpenSides, request: PlanRequest) -> SidesReport:
    from airflow_provider_s3resume.transfer.checking import check_sides  # noqa: PLC0415

    report = check_sides(opened.source, opened.target, opened.state, request, now=time.time())
    opened.state.write_text(_sides_name(request), json.dumps(report.to_json_dict()))
    return report


def _sides_name(request: PlanRequest) -> str:
    from airflow_provider_s3resume.transfer.state import run_prefix  # noqa: PLC0415

    return f"{run_prefix(request.run_id)}/sides.json"


def _load_sides(opened: OpenSides, name: str | None) -> SidesReport | None:
    from airflow_provider_s3resume.transfer.checking import SidesReport  # noqa: PLC0415

    if name is None:
        return None
    text = opened.state.read_text(name)
    if text is None:
        raise ManifestError("sides", found=name, accepted="what the task 'list' kept")
    return SidesReport.from_json_dict(json.loads(text))


def check_params(context: Context) -> None:
    """Refuse parameters of a run that its DAG does not have.

    :raises InvalidInputError: naming them.
    """
    given = context["dag_run"].conf or {}
    check_unknown(given, context["dag"].params.keys(), what="parameters of the run")


def check_pool(context: Context, task_id: str) -> None:
    """Refuse to go on if the pool of a later task does not exist.

    :raises InvalidInputError: naming the pool.
    """
    # What a listener in the scheduler found out; see plugins/pool_guard.py.
    missing = context["ti"].xcom_pull(task_ids=task_id, key=MISSING_POOL_KEY)
    if missing:
        # As the database keeps it: a JSON text.
        missing = str(missing).strip('"')
        accepted = f"a pool that exists; make it: airflow pools set {missing} 4 'S3 transfers'"
        raise InvalidInputError(f"pool of the task {task_id!r}", found=missing, accepted=accepted)
