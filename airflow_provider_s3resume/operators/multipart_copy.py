"""Copy the objects of one batch, or one named object, resuming at the part where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import InvalidInputError, ObjectsFailedError
from airflow_provider_s3resume.hooks._errors import hopeless_fails
from airflow_provider_s3resume.hooks._values import optional, whole
from airflow_provider_s3resume.hooks.planning import plan_id
from airflow_provider_s3resume.hooks.sides import SIDES_FIELDS, OpenSides, PlanReference, Sides
from airflow_provider_s3resume.operators._asking import ASKED_FIELDS, asked_for, choice
from airflow_provider_s3resume.operators._sides import SidesOperator
from airflow_provider_s3resume.plan.sides import parse_object
from airflow_provider_s3resume.transfer.garbage import standing_heap
from airflow_provider_s3resume.transfer.stopping import StopSignal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_s3resume.plan.objects import Location
    from airflow_provider_s3resume.storage.layers import Budget
    from airflow_provider_s3resume.transfer.batch_result import BatchResult
    from airflow_provider_s3resume.transfer.config import CopyConfig
    from airflow_provider_s3resume.transfer.progress import Figures

    Requests = Mapping[str, Mapping[str, int]]
    _Done = tuple[PlanReference, BatchResult, Requests]

COPY_FIELDS = (
    "part_size",
    "memory_budget",
    "part_concurrency",
    "object_concurrency",
    "max_bytes_per_s",
    "max_requests_per_s",
    "storage_class",
    "storage_class_map",
    "acl",
    "encryption",
    "kms_key_id",
    "bucket_key",
    "on_unsupported_attribute",
    "on_source_change",
    "server_side_copy",
)
_SIZES = (
    "part_size",
    "memory_budget",
    "part_concurrency",
    "object_concurrency",
    "max_bytes_per_s",
    "max_requests_per_s",
)


class ResumableMultipartCopyOperator(SidesOperator):
    """Copy a batch of a plan, or one named object.

    A batch: ``.partial(task_id=…).expand(batch=diff.output)``, where ``diff`` is a
    ``PlanSyncOperator``. Named objects: ``.partial(task_id=…, source_conn_id=…, …)
    .expand_kwargs([{"source_uri": "s3://a/key", "target_uri": "s3://b/key"}, …])``, or both URIs
    given directly.

    What was acknowledged is kept whatever ends the task, and another attempt sends only the rest.
    An object's failure does not hide the others: the task fails at its end, naming them.

    :param batch: one element of what ``PlanSyncOperator`` returned.
    :param source_version_id: copy this version of a named object, not the newest one.
    :param part_size: bytes, of objects whose source layout is not reproduced. What the target
        accepts is decided by its limits.
    :param memory_budget: bytes of object data held at once by this task.
    :param part_concurrency: threads that move bytes.
    :param object_concurrency: objects that are under way at once.
    :param max_bytes_per_s: bytes of bodies that this task reads a second, and as many that it
        sends; by default there is no limit. All its tasks together: the slots of their pool, by
        ``pool_slots``, times this (``docs/throttling.md``).
    :param max_requests_per_s: requests a second that this task makes to the source, and as many to
        the target.
    :param on_source_change: ``start_over`` or ``fail``, if a source object is not the planned one.
    :param storage_class: of the written objects; ``source`` for that of each object's source.
    :param storage_class_map: with ``source``: an object of classes of the source and of the target,
        on top of what is known of Amazon S3 and OSS; ``*`` stands for all that it does not name.
    :param acl: canned ACL of the written objects, such as ``bucket-owner-full-control``.
    :param encryption: ``AES256``, ``aws:kms`` or ``aws:kms:dsse``; by default the bucket's own.
    :param kms_key_id: key of the latter two.
    :param bucket_key: with ``aws:kms``, whether the service asks KMS once for many objects.
    :param on_unsupported_attribute: ``report`` or ``fail``, if the target does not hold metadata,
        tags, a class, a key or whatever else was to go with an object.
    :param server_side_copy: ``auto``: where both sides are one service and the target's credentials
        read the source, the service copies by itself; ``never``; or ``require``, which fails where
        it does not.
    """

    template_fields: Sequence[str] = (*SIDES_FIELDS, *COPY_FIELDS, "batch", "source_version_id")

    def __init__(
        self,
        *,
        batch: Mapping[str, Any] | None = None,
        source_version_id: str | None = None,
        part_size: int | str | None = None,
        memory_budget: int | str | None = None,
        part_concurrency: int | str | None = None,
        object_concurrency: int | str | None = None,
        max_bytes_per_s: int | str | None = None,
        max_requests_per_s: int | str | None = None,
        storage_class: str | None = None,
        storage_class_map: Mapping[str, str] | str | None = None,
        acl: str | None = None,
        encryption: str | None = None,
        kms_key_id: str | None = None,
        bucket_key: bool | str | None = None,
        on_unsupported_attribute: str = "report",
        on_source_change: str = "start_over",
        server_side_copy: str = "auto",
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's own
    ) -> None:
        super().__init__(**kwargs)
        self.batch = batch
        self.source_version_id = source_version_id
        self.part_size = part_size
        self.memory_budget = memory_budget
        self.part_concurrency = part_concurrency
        self.object_concurrency = object_concurrency
        self.max_bytes_per_s = max_bytes_per_s
        self.max_requests_per_s = max_requests_per_s
        self.storage_class = storage_class
        self.storage_class_map = storage_class_map
        self.acl = acl
        self.encryption = encryption
        self.kms_key_id = kms_key_id
        self.bucket_key = bucket_key
        self.on_unsupported_attribute = on_unsupported_attribute
        self.on_source_change = on_source_change
        self.server_side_copy = server_side_copy

    def execute(self, context: Context) -> dict[str, Any]:
        """Copy, and return the plan's reference with what became of the batch.

        :raises AirflowFailException: if another attempt cannot help.
        :raises CopyStoppedError: if Airflow ends the task, or its timeout is near.
        :raises ObjectsFailedError: if another attempt can help one of the objects that failed.
            An object that was named and is not at the source any more has failed, too.
        """
        with hopeless_fails(), standing_heap() as stand:
            stop = StopSignal()
            work = self._prepare(plan_id(context), stop)
            stand()
            reference, result, requests = self.run_stoppable(work, stop)
            self.log.info("%s%s", summary(result), refusals(requests))
            result.raise_for_failures()
            if reference.named:
                _refuse_gone(result)
        done = {**result.to_json_dict(), "requests": requests}
        return {**reference.to_json_dict(), "result": done}

    def config(self) -> CopyConfig:
        """Return how to copy; what was not given is the default.

        :raises InvalidInputError: naming the parameter.
        """
        from airflow_provider_s3resume.transfer.config import (  # noqa: PLC0415
            CopyConfig,
            OnSourceChange,
            ServerSideCopy,
        )

        given = {name: getattr(self, name) for name in _SIZES}
        sizes: dict[str, Any] = {n: whole(n, v) for n, v in given.items() if v not in {None, ""}}
        return CopyConfig(
            **sizes,
            **asked_for({name: getattr(self, name) for name in ASKED_FIELDS}),
            on_source_change=choice("on_source_change", self.on_source_change, OnSourceChange),
            server_side_copy=choice("server_side_copy", self.server_side_copy, ServerSideCopy),
        )

    def _prepare(self, run_id: str, stop: StopSignal) -> Callable[[StopSignal], _Done]:
        # Connections are read here, in the main thread; the copy runs in others.
        config = self.config()
        version_id = optional(self.source_version_id)
        if self.batch is not None:
            if version_id is not None:
                accepted = "nothing beside 'batch': a version is that of one named object"
                raise InvalidInputError("source_version_id", found=version_id, accepted=accepted)
            reference, index = _read_batch(self.batch)
            planned = reference.open(stop.wait, budget=_budget(config))
            _check_fits(config, planned)
            return lambda stop: _copy(planned, reference, index, config, stop, self._tell)
        opened = self.sides().open_pair(stop.wait, budget=_budget(config))
        _check_fits(config, opened)
        return lambda stop: self._copy_pair(opened, run_id, config, stop)

    def _copy_pair(
        self, opened: OpenSides, run_id: str, config: CopyConfig, stop: StopSignal
    ) -> _Done:
        from airflow_provider_s3resume.transfer.pairs import pairs_manifest  # noqa: PLC0415

        pair = (opened.places.source.prefix, opened.places.target.prefix)
        name = f"{run_id}.{opened.mark}/{pair[1]}"
        version_id = optional(self.source_version_id)
        key, manifest = pairs_manifest(
            opened.source,
            opened.target,
            opened.state,
            [pair],
            name,
            now=time.time(),
            versions=None if version_id is None else {pair[0]: version_id},
        )
        reference = PlanReference.of(_bucket_sides(self.sides()), key, manifest, named=True)
        return _copy(opened, reference, 0, config, stop, self._tell)

    def _tell(self, figures: Figures, requests: Requests) -> None:
        self.log.info(
            "%d of %d objects, %d of %d bytes; parts sent %d, kept %d%s",
            figures.objects_done,
            figures.objects_planned,
            figures.bytes_moved,
            figures.bytes_planned,
            figures.parts_sent,
            figures.parts_kept,
            refusals(requests),
        )


def summary(result: BatchResult) -> str:
    """Return a batch's result as one line for the task log."""
    counts = ", ".join(f"{name} {n}" for name, n in sorted(result.counts.items()))
    figures = result.figures
    return (
        f"Batch {result.index}: {counts or 'nothing to do'}; {figures.bytes_moved} bytes moved; "
        f"parts sent {figures.parts_sent}, kept {figures.parts_kept}, "
        f"read again {figures.parts_reread}"
    )


def refusals(requests: Requests) -> str:
    """Return how many requests the stores refused as too many, to be put behind a line of a log."""
    refused = [
        f"; the {side} refused {counts['refused']} of {counts['made']} requests as too many"
        for side, counts in requests.items()
        if counts["refused"]
    ]
    return "".join(refused)


def _check_fits(config: CopyConfig, opened: OpenSides) -> None:
    """Refuse a configuration that does not fit the target.

    :raises InvalidInputError: naming the parameter.
    """
    from airflow_provider_s3resume.transfer.options import check_fits_target  # noqa: PLC0415

    check_fits_target(config, opened.target)


def _budget(config: CopyConfig) -> Budget | None:
    """Return what the task may use, ``None`` if nothing was said."""
    from airflow_provider_s3resume.storage.layers import Budget  # noqa: PLC0415 - at DAG parse

    if config.max_bytes_per_s is None and config.max_requests_per_s is None:
        return None
    return Budget(bytes_per_s=config.max_bytes_per_s, requests_per_s=config.max_requests_per_s)


def _refuse_gone(result: BatchResult) -> None:
    """Refuse to pass by what was asked for by name (c40).

    :raises ObjectsFailedError: if the source object was deleted while the task was about it.
    """
    gone = result.counts.get("gone", 0)
    if gone:
        raise ObjectsFailedError(
            f"{gone} objects that were named are not at the source any more; see "
            f"{result.outcomes_key}",
            retryable=False,
        )


def _read_batch(batch: object) -> tuple[PlanReference, int]:
    if not isinstance(batch, Mapping) or not {"plan", "index"} <= set(batch):
        raise InvalidInputError(
            "batch", found=batch, accepted="an element of what PlanSyncOperator returned"
        )
    return PlanReference.from_json_dict(batch["plan"], parameter="batch"), whole(
        "batch index", batch["index"]
    )


def _copy(
    opened: OpenSides,
    reference: PlanReference,
    index: int,
    config: CopyConfig,
    stop: StopSignal,
    tell: Callable[[Figures, Requests], None],
) -> _Done:
    from airflow_provider_s3resume.transfer.batch import copy_batch  # noqa: PLC0415 - threads

    refs = {ref.index: ref for ref in reference.load(opened.state).batches}
    if index not in refs:
        raise InvalidInputError("batch index", found=index, accepted=f"one of {sorted(refs)}")
    result = copy_batch(
        opened.source,
        opened.target,
        opened.state,
        refs[index],
        config,
        stop=stop,
        now=time.time(),
        on_progress=lambda figures: tell(figures, opened.requests()),
    )
    return reference, result, opened.requests()


def _bucket_sides(sides: Sides) -> Sides:
    """Return the sides of a plan of named objects: the buckets that they are in."""
    source = parse_object(sides.source_uri, "source_uri")
    target = parse_object(sides.target_uri, "target_uri")
    return replace(
        sides,
        source_uri=_around(source),
        target_uri=_around(target),
    )


def _around(place: Location) -> str:
    """Return the URI of the bucket of an object, or of the folder that a file is in."""
    folder = place.prefix[: place.prefix.rfind("/") + 1] if place.scheme == "file" else ""
    return f"{place.scheme}://{place.bucket}/{folder}"
