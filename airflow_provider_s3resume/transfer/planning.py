"""Making a plan: list both sides, diff them, and store the result as a manifest.

Both listings are streams, and what is kept of them goes through temporary files (see ``storing``),
so memory does not grow with the bucket.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_s3resume.plan.archives import OnArchived
from airflow_provider_s3resume.plan.diff import Action, Criterion
from airflow_provider_s3resume.plan.manifest import Manifest
from airflow_provider_s3resume.transfer.archived import refuse_archived
from airflow_provider_s3resume.transfer.checking import check_sides, latest_name
from airflow_provider_s3resume.transfer.colliding import refuse_collisions
from airflow_provider_s3resume.transfer.comparing import Comparison
from airflow_provider_s3resume.transfer.estimating import asked_by_plan, costs_of
from airflow_provider_s3resume.transfer.event_record import ScanBesideEvents
from airflow_provider_s3resume.transfer.looking_closer import looked_closer
from airflow_provider_s3resume.transfer.proven import load_proven
from airflow_provider_s3resume.transfer.renamed import compared
from airflow_provider_s3resume.transfer.state import run_prefix
from airflow_provider_s3resume.transfer.storing import UNKNOWN_COST, PlanWriter
from airflow_provider_s3resume.transfer.target_rules import rules_of
from airflow_provider_s3resume.transfer.tree_targets import without_collisions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.checking import SidesReport
    from airflow_provider_s3resume.transfer.plan_request import PlanRequest
    from airflow_provider_s3resume.transfer.selecting import Chosen
    from airflow_provider_s3resume.transfer.state import StateLocation
    from airflow_provider_s3resume.transfer.stopping import StopSignal


def make_plan(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    request: PlanRequest,
    sides: SidesReport | None = None,
    *,
    now: float,
    stop: StopSignal,
) -> tuple[str, Manifest]:
    """List both sides, diff them and store the manifest.

    :returns: the manifest's name under the state prefix, and the manifest.
    :raises ListingError, StoreError: if either side cannot be listed to its end; nothing is stored.
    :raises InvalidInputError: if a list of what to look at cannot be read; nothing was listed.
    :raises PlanRefusedError: if two source keys would meet at the target, or objects are archived
        that must not be.
    """
    sides = sides or check_sides(source, target, state, request, now=now)
    scope = request.scope.opened(source, request.source_prefix, now=now)
    events = ScanBesideEvents(state, sides, now=now)
    costs = costs_of(source, target, request.part_size, request.server_side_copy)
    with scope as chosen, PlanWriter(state, run_prefix(request.run_id), costs) as writer:
        actions = _actions(source, target, state, request, sides, chosen, events, stop)
        kept = events.watch(without_collisions(actions, target.capabilities))
        _take_all(writer, kept, chosen.gaps(reorders=request.reorders), stop)
        _refuse(source, target, request, writer)
        writer.forget_earlier()
        manifest = _manifest_of(writer, request, sides, chosen, now=now)
    events.store(state, writer.manifest_key)
    state.write_text(writer.manifest_key, manifest.to_json())
    if request.lists_all_in_order and not request.dry_run:
        state.write_text(latest_name(sides), writer.manifest_key)
    return writer.manifest_key, manifest


def store_dry_run(state: StateLocation, manifest: Manifest, run_id: str) -> tuple[str, Manifest]:
    """Store a copy of a manifest that nothing may be copied by.

    :returns: its name under the state prefix, and the copy.
    """
    key = f"{run_prefix(run_id)}/manifest.json"
    dry = replace(manifest, run_id=run_id, dry_run=True, batches=())
    state.write_text(key, dry.to_json())
    return key, dry


def _actions(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    request: PlanRequest,
    sides: SidesReport,
    chosen: Chosen,
    events: ScanBesideEvents,
    stop: StopSignal,
) -> Iterator[Action]:
    rules = rules_of(source, target, state, request)
    comparison = Comparison(
        source=source,
        target=target,
        mapping=request.mapping,
        rule=request.rule,
        rules=rules,
        select=chosen.select,
        stop=stop,
    )
    asked = Criterion.ETAG in request.rule.criteria
    mapped = replace(sides, key_mapping=request.key_mapping)
    pairs = events.with_pairs(load_proven(state, mapped)) if asked else iter(())
    actions = compared(comparison, request.renaming, pairs, chosen, sides.ranges)
    return looked_closer(actions, comparison, request.archived)


def _take_all(
    writer: PlanWriter,
    actions: Iterator[Action],
    gaps: Callable[[Action], bool] | None,
    stop: StopSignal,
) -> None:
    """Keep what has to be kept of all actions.

    :param gaps: tells before which of them there may be keys that nobody has listed.
    """
    for action in actions:
        stop.check()
        if gaps is not None and gaps(action):
            writer.leave_gap(UNKNOWN_COST)
        writer.take(action)


def _refuse(
    source: ObjectStore, target: ObjectStore, request: PlanRequest, writer: PlanWriter
) -> None:
    """Refuse the plan for what was found in it.

    :raises PlanRefusedError: see :func:`make_plan`.
    """
    mapping = None if request.reorders else request.mapping
    if target.capabilities.file_tree is None:
        refuse_collisions(source, mapping, writer.unkept)
    if request.archived is OnArchived.FAIL:
        refuse_archived(writer)


def _manifest_of(
    writer: PlanWriter, request: PlanRequest, sides: SidesReport, chosen: Chosen, *, now: float
) -> Manifest:
    """Write the plan's other files and return its manifest."""
    return Manifest(
        run_id=request.run_id,
        created=now,
        source=sides.source,
        target=sides.target,
        rule=request.rule.text,
        counts=dict(sorted(writer.counts.items())),
        copy_objects=writer.copy_objects,
        copy_bytes=writer.copy_bytes,
        batches=writer.write_batches(request.batch_limits),
        noted=writer.write_noted(),
        quantiles=writer.quantiles() if request.lists_all_in_order else (),
        dry_run=request.dry_run,
        selection=chosen.facts,
        partial=request.scope.partial,
        key_mapping=request.key_mapping,
        sizes=dict(sorted(writer.sizes.items())),
        requests=writer.cost.requests() | asked_by_plan(request.rule, writer.counts),
    )
