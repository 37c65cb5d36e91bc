"""The copy of an object in parts, resumed where an earlier attempt stopped.

ListParts at the target is the single point of truth; the checkpoint only says whose parts they
are. The stages: ``preparing`` an upload, moving what is missing (``parts``), ``completing`` it.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    PreconditionFailedError,
    S3ResumeError,
    TransientStoreError,
    UploadNotFoundError,
    VerificationError,
)
from airflow_provider_s3resume.transfer.completing import finish
from airflow_provider_s3resume.transfer.context import CopyContext, Landed
from airflow_provider_s3resume.transfer.parts import Destination, PartMover
from airflow_provider_s3resume.transfer.preparing import Prepared, prepare
from airflow_provider_s3resume.transfer.subject import CopySubject, StartOverError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.transfer.lookups import Lookups
    from airflow_provider_s3resume.transfer.reading import ExactSource
    from airflow_provider_s3resume.transfer.stopping import StopSignal
    from airflow_provider_s3resume.transfer.uploads import UploadRecord

log = logging.getLogger(__name__)

_ROUNDS = 5
_FIRST_WAIT_S = 0.2


def copy_multipart(
    context: CopyContext,
    entry: CopyEntry,
    source: ExactSource,
    info: ObjectInfo,
    lookups: Lookups,
) -> Landed:
    """Copy one object in parts.

    :param lookups: what may have been asked for beside ``info``.
    :raises SourceChangedError: if the source is another object by now.
    :raises TargetChangedError: if the target is not what the plan saw.
    :raises VerificationError: if the parts do not make the source; the upload was aborted.
    :raises TransientStoreError: if other workers keep taking the upload away.
    """
    copy = CopySubject(context, entry, source, info, lookups)
    for done in range(_ROUNDS):
        try:
            return _attempt(copy)
        except (UploadNotFoundError, PreconditionFailedError, StartOverError) as error:
            # Another worker completed, aborted or took over the upload, or its parts are not ours.
            lookups.drop()
            context.stop.check()
            _give_up(copy, error)
            landed = copy.landed_elsewhere()
            if landed is not None:
                return landed
            log.warning("%s: starting over: %s", copy.uri, error)
            # Two workers that keep in step would take the upload from each other for ever.
            context.stop.wait(random.uniform(0, _FIRST_WAIT_S) * 2**done)
            last = error
    detail = f"started over {_ROUNDS} times, the last time because: {last}"
    raise TransientStoreError("CompleteMultipartUpload", copy.uri, detail) from last


def _attempt(copy: CopySubject) -> Landed:
    """Prepare or resume an upload, move what is missing, prove, complete."""
    prepared = prepare(copy)
    if isinstance(prepared, Landed):
        return prepared
    with copy.context.stop.child() as stop:
        mover = _mover(copy, prepared, stop)
        if prepared.begin is not None:
            _begin(prepared, prepared.begin, mover)
        reread = _move(copy, prepared, mover)
    return finish(copy, prepared, reread)


def _give_up(copy: CopySubject, error: S3ResumeError) -> None:
    """Leave no upload behind that no record names, and remember why."""
    if isinstance(error, StartOverError):
        copy.reason = str(error)
    if copy.upload_id is not None:
        copy.context.target.abort_upload(copy.key, copy.upload_id)
        copy.upload_id = None


def _mover(copy: CopySubject, prepared: Prepared, stop: StopSignal) -> PartMover:
    return PartMover(
        copy.context,
        copy.source,
        copy.key,
        Destination(prepared.layout, prepared.upload),
        copy.algorithm,
        stop,
        copy.moved,
        copy.source_algorithm,
    )


def _begin(prepared: Prepared, begin: Callable[[], UploadRecord], mover: PartMover) -> None:
    """Begin the upload, while its first parts are read."""
    mover.read_ahead(prepared.missing)
    try:
        record = begin()
    except BaseException as error:
        # Its kind alone: the text of an unforeseen one may hold anything.
        mover.give_up(f"the upload was not begun: {type(error).__name__}")
        raise
    prepared.upload.set_result(record)


def _move(copy: CopySubject, prepared: Prepared, mover: PartMover) -> int:
    """Send and prove what is missing; returns how many parts were only read again."""
    record = prepared.record
    copy.context.progress.add(parts_kept=len(prepared.kept))
    with record.kept_on_error():
        try:
            unproven = mover.reread_all(prepared.unrecorded)
        except VerificationError as error:
            raise StartOverError(str(error)) from error
        again = tuple(part.part_number for part in unproven)
        mover.send_all(prepared.missing + again)
    return len(prepared.unrecorded) - len(again)
