"""Whether the target's service copies the objects of a task by itself: decided once, by asking.

Two stores of one service may be of two owners, and a bucket of the source's name need not be the
source. So one object is looked at with the credentials of both sides, and has to be the same one;
the first copy tells the rest (ADR 0030).
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    InvalidInputError,
    ManifestError,
    ObjectArchivedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreError,
    UnsupportedError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.plan.digests import normal_etag
from airflow_provider_s3resume.plan.manifest import dumps, loads
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.storage.server_side import Origin, owner_of, server_side_of
from airflow_provider_s3resume.transfer.config import ServerSideCopy
from airflow_provider_s3resume.transfer.denials import refusal_at_target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_s3resume.plan.manifest import BatchRef, CopyEntry
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.storage.base import ObjectStore, Written
    from airflow_provider_s3resume.storage.server_side import ServerSide
    from airflow_provider_s3resume.transfer.config import CopyConfig
    from airflow_provider_s3resume.transfer.reading import ExactSource
    from airflow_provider_s3resume.transfer.state import StateLocation

log = logging.getLogger(__name__)

_LOOKED_AT: Final = 3
_MOST_REASONS: Final = 10
_NOT_REFUSED: Final = (
    ObjectArchivedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    UploadNotFoundError,
)
"""Answers about the objects, and none about whether the service may copy them."""


class ServiceCopies:
    """What is known of a service that copies by itself; used from many threads.

    ``calls`` makes the copies; it is ``None`` where objects are relayed, and ``reasons`` says why,
    if both sides are one service. ``conditional`` tells whether conditions on the target were seen
    to be looked at, ``None`` as long as nobody knows; ``has_copied``, that it made a copy, and
    so knows of copies.

    :param bucket: the source's.
    :param owner: account that this bucket has to belong to.
    :param required: what the service does not copy has failed, and is not relayed.
    :param reason: why objects are relayed.
    """

    def __init__(
        self,
        calls: ServerSide | None = None,
        bucket: str = "",
        owner: str | None = None,
        *,
        required: bool = False,
        reason: str | None = None,
    ) -> None:
        self.calls = calls
        self.required = required
        self.reasons: list[str] = [] if reason is None else [reason]
        self.conditional: bool | None = None
        self._bucket = bucket
        self._owner = owner
        self.has_copied: bool = False
        self._left: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self._asking = threading.Lock()

    def are_relayed(self, most: int) -> None:
        """Note that objects of up to ``most`` bytes are relayed all the same.

        Many at once, they take a fraction of the time that two calls of an SDK take for each.
        """
        if self.calls is not None:
            self.reasons.append(f"objects of up to {most} bytes are copied faster so")

    def origin(self, source: ExactSource) -> Origin:
        """Return the object that a copy is made of."""
        return Origin(
            bucket=self._bucket, key=source.key, identity=source.identity, owner=self._owner
        )

    def copied(self) -> None:
        """Note that the service has made a copy."""
        self.has_copied = True

    def refused(self, error: StoreError) -> None:
        """Note that it refused one: that object is relayed, and all others if it never made one.

        :raises StoreError: the error itself, if it has to copy.
        """
        if self.required:
            raise error
        reason = f"{error.operation} was refused: {error.detail.partition(': ')[0]}"
        with self._lock:
            known = reason in self.reasons
            if not known and len(self.reasons) < _MOST_REASONS:
                self.reasons.append(reason)
            if not self.has_copied or isinstance(error, UnsupportedError):
                self.calls = None
        if not known:
            rest = "it is" if self.calls is not None else "it and all others are"
            log.warning("%s; %s relayed", error, rest)

    def leave(self, target_key: str, etag: str | None) -> None:
        """Note that an empty object was made of a copy that the service does not know."""
        with self._lock:
            self._left[target_key] = etag

    def as_left(self, entry: CopyEntry) -> CopyEntry:
        """Return an entry as it is to be relayed: over the empty object, if there is one now."""
        with self._lock:
            if entry.target_key not in self._left:
                return entry
            etag = self._left[entry.target_key]
        return replace(entry, target_there=True, target_etag=etag)

    def settle_conditions(
        self, copy_over: Callable[[], Written], is_unchanged: Callable[[], bool]
    ) -> Written | None:
        """Find out, once, whether the service looks at conditions on the target.

        Some take the headers and do not. So what was just copied is copied once more, on condition
        that nothing is there. A refusal may be about the source, too, which is then looked at: if
        it is another one by now, the next copy is to find out.

        :param copy_over: does that.
        :param is_unchanged: looks at the source.
        :returns: what that has written, if it has.
        """
        with self._asking:
            if self.conditional is not None:
                return None
            written = None
            try:
                written = copy_over()
            except PreconditionFailedError:
                self.conditional = is_unchanged() or None
                return None
            except ObjectNotFoundError:
                return None  # The source is gone: that says nothing of the target.
            except StoreError as error:
                log.info("Whether copies are conditional is not known: %s", error)
            self.conditional = False
            return written


def is_refusal(error: StoreError) -> bool:
    """Tell whether a service says that it will not, or must not, copy."""
    return not error.retryable and not isinstance(error, _NOT_REFUSED)


def decide(
    source: ObjectStore, target: ObjectStore, config: CopyConfig, entries: Sequence[CopyEntry]
) -> ServiceCopies:
    """Return whether the service copies the objects of a batch, and if not, why.

    :raises InvalidInputError: if it has to, and cannot.
    :raises StoreError: if it has to, and cannot be asked.
    """
    required = config.server_side_copy is ServerSideCopy.REQUIRE
    if config.server_side_copy is ServerSideCopy.NEVER or not entries:
        return ServiceCopies()
    if (source.scheme, source.service) != (target.scheme, target.service):
        if required:
            raise _impossible(f"{source.service} and {target.service} are two services")
        return ServiceCopies()
    calls = server_side_of(target)
    try:
        reason = "its store cannot ask for copies"
        if source.capabilities.customer_key or target.capabilities.customer_key:
            reason = "objects are encrypted with keys of the customer"
        elif calls is not None:
            reason = _hindrance(source, calls, entries, required=required) or ""
    except StoreError as error:
        if required:
            raise
        code = error.detail.partition(": ")[0]
        reason = f"the target's credentials cannot read the source: {error.operation}: {code}"
    if reason and required:
        raise _impossible(reason)
    if reason:
        log.info("Objects are relayed, though both sides are one service: %s", reason)
        return ServiceCopies(reason=reason)
    log.info("%s copies by itself", target.service)
    return ServiceCopies(calls, source.bucket, owner_of(source), required=required)


def _hindrance(
    source: ObjectStore, calls: ServerSide, entries: Sequence[CopyEntry], *, required: bool
) -> str | None:
    """Return why the target's service does not see the source as its own credentials do."""
    for entry in islice(entries, _LOOKED_AT):
        try:
            own = source.head(entry.key, version_id=entry.version_id)
        except ObjectNotFoundError:
            continue
        identity = SourceIdentity(etag=own.etag, size=own.size, version_id=entry.version_id)
        origin = Origin(
            bucket=source.bucket, key=entry.key, identity=identity, owner=owner_of(source)
        )
        theirs = _look_at(calls, origin, required=required)
        same = (own.size, own.last_modified) == (theirs.size, theirs.last_modified)
        if same and normal_etag(own.etag) == normal_etag(theirs.etag):
            return None
        return "the target's credentials see another bucket under the source's name"
    return "its first objects are not at the source any more"


def _look_at(calls: ServerSide, origin: Origin, *, required: bool) -> ObjectInfo:
    """Return the headers of an origin; of a refusal that fails the task, whose it was is said."""
    try:
        return calls.look_at(origin)
    except AccessDeniedError as error:
        if not required:
            raise
        raise refusal_at_target(error) from error


def _impossible(reason: str) -> InvalidInputError:
    accepted = f"'auto' or 'never', as {reason}"
    return InvalidInputError("server_side_copy", found="require", accepted=accepted)


# --- for the report -----------------------------------------------------------------------------


def _folder(manifest_key: str) -> str:
    return f"{manifest_key.rpartition('/')[0]}/relayed/"


def store_reasons(state: StateLocation, ref: BatchRef, reasons: Sequence[str]) -> None:
    """Keep why objects of a batch were relayed; that it cannot be kept fails nothing."""
    if not reasons:
        return
    try:
        text = dumps({"reasons": list(reasons)})
        state.write_text(f"{_folder(ref.manifest)}{ref.index:05d}.json", text)
    except StoreError as error:
        log.warning("Why objects were relayed was not kept: %s", error)


def reasons_of(state: StateLocation, manifest_key: str) -> Mapping[str, int]:
    """Return why objects of a run were relayed: reason → batches."""
    found: Counter[str] = Counter()
    prefix = state.prefix + _folder(manifest_key)
    for listed in list(state.store.list_objects(prefix)):
        text = state.read_text(listed.key.removeprefix(state.prefix)) or ""
        try:
            found.update(map(str, loads(text, what="reasons of relaying").get("reasons", ())))
        except ManifestError as error:
            log.warning("%s", error)
    return dict(sorted(found.items()))
