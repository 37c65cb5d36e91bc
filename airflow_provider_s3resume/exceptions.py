"""Every error that this provider raises, each saying whether another attempt can help.

.. code-block:: text

    S3ResumeError
    ├── InvalidInputError            a parameter, URI, connection field or key that cannot be used
    │   └── ManifestError            a stored plan that is damaged, too old or of another version
    ├── PlanRefusedError             the plan as a whole would be unsafe; nothing was copied
    ├── ListingError                 a listing that is not complete, ordered and free of repeats
    ├── StoreError                   a call to a store failed
    │   ├── TransientStoreError      * network faults, 5xx, answers cut short
    │   │   ├── ThrottledError       * SlowDown, 429, 503: back off
    │   │   ├── CredentialsExpiredError  * refreshed, then tried again
    │   │   └── DigestRejectedError  * the server saw other bytes than were sent
    │   ├── AccessDeniedError        signature, policy or KMS key says no
    │   ├── BucketNotFoundError
    │   ├── ObjectNotFoundError
    │   ├── UploadNotFoundError      the multipart upload is gone (completed or aborted elsewhere)
    │   ├── PreconditionFailedError  the object is not the one that was named in the condition
    │   ├── ObjectArchivedError      the object must be restored before it can be read
    │   ├── RangeMismatchError       a range was answered with other bytes than asked for
    │   └── UnsupportedError         the store cannot do this at all
    ├── SourceChangedError           * the source is no longer the object that was planned
    ├── TargetChangedError           the target is no longer the object that the plan saw
    ├── AttributesLostError          the target does not hold what was asked for beside the bytes
    ├── VerificationError            * the proof of a copy does not match its source
    ├── CopyStoppedError             * SIGTERM, on_kill or a timeout: state was kept
    ├── UnexpectedError              * of no kind that is known here
    └── ReportedError                (*) what failed elsewhere, told by its kinds
        └── ObjectsFailedError       (*) some objects of a batch or run failed

``*`` marks the classes that are worth another attempt (``S3ResumeError.retryable``), ``(*)``
those of which each instance answers for itself. How long to wait before that attempt is said in
:mod:`~airflow_provider_s3resume.plan.attempts`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class S3ResumeError(Exception):
    """Base of all errors raised here.

    ``retryable`` says whether the same call, made again later, can succeed.
    """

    retryable: ClassVar[bool] = False


class InvalidInputError(S3ResumeError):
    """A value given by the user cannot be used; raised before any byte moves.

    :param parameter: name of the parameter, connection field or key at fault.
    :param found: what was given (never a secret).
    :param accepted: what would be accepted.
    """

    def __init__(self, parameter: str, *, found: object, accepted: str) -> None:
        super().__init__(f"{parameter}: found {found!r}, accepted is {accepted}")
        self.parameter = parameter
        self.found = found
        self.accepted = accepted

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it come out of a pickle as it went in."""
        return partial(type(self), found=self.found, accepted=self.accepted), (self.parameter,)


class ManifestError(InvalidInputError):
    """A stored manifest, checkpoint or report cannot be used as it is."""


class PlanRefusedError(S3ResumeError):
    """The plan as a whole is refused; nothing was copied, replaced or deleted."""


class ListingError(S3ResumeError):
    """A listing is incomplete, out of order or repeats itself, so nothing may rest on it."""


class StoreError(S3ResumeError):
    """A call to a store failed.

    :param operation: the call, in the service's words (``UploadPart``).
    :param subject: what it was about, as ``s3://bucket/key``.
    :param detail: the service's own code and message, without anything secret.
    """

    def __init__(self, operation: str, subject: str, detail: str) -> None:
        # A key may hold line breaks: they must not make lines of their own in a log.
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in subject)
        super().__init__(f"{operation} of {shown}: {detail}")
        self.operation = operation
        self.subject = subject
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it come out of a pickle as it went in."""
        return type(self), (self.operation, self.subject, self.detail)


class TransientStoreError(StoreError):
    """A fault of the network or the service that another try may not meet."""

    retryable = True


class ThrottledError(TransientStoreError):
    """The service asks for fewer requests."""


class CredentialsExpiredError(TransientStoreError):
    """The credentials were refused as expired; they are refreshed, then the call is made again."""


class DigestRejectedError(TransientStoreError):
    """The server computed another digest than was sent: the bytes changed on the way."""


class AccessDeniedError(StoreError):
    """The service refuses this caller: wrong key or signature, policy, or KMS."""


class BucketNotFoundError(StoreError):
    """The bucket does not exist, or not for this caller."""


class ObjectNotFoundError(StoreError):
    """The object (or the version asked for) does not exist."""


class UploadNotFoundError(StoreError):
    """The multipart upload does not exist any more: completed or aborted by somebody."""


class PreconditionFailedError(StoreError):
    """The object at the service is not the one named in ``If-Match`` or ``If-None-Match``."""


class ObjectArchivedError(StoreError):
    """The object is in an archive class and has to be restored before it can be read."""


class RangeMismatchError(StoreError):
    """A ranged read was answered with another status, range or length than asked for."""

    retryable = True


class UnsupportedError(StoreError):
    """The store does not implement the call."""


class SourceChangedError(S3ResumeError):
    """The source object is not the one that was planned; a new attempt starts over."""

    retryable = True


class TargetChangedError(S3ResumeError):
    """Somebody else changed the target object since the plan; it was not replaced."""


class AttributesLostError(S3ResumeError):
    """The target does not hold metadata, tags, a class or an encryption that was asked for."""


class VerificationError(S3ResumeError):
    """The digest of what would land, or has landed, is not the source's."""

    retryable = True


class CopyStoppedError(S3ResumeError):
    """The copy was told to stop; what was acknowledged is kept for the next attempt."""

    retryable = True


class UnexpectedError(S3ResumeError):
    """Something failed in a way that nothing here foresees; it is not known to be hopeless."""

    retryable = True


class ReportedError(S3ResumeError):
    """What failed in other threads, or in another process, as it was reported from there.

    :param message: what failed, and why.
    :param retryable: whether another attempt can help.
    :param kinds: names of the classes above that another attempt can help, as they occurred.
    """

    def __init__(self, message: str, *, retryable: bool, kinds: Iterable[str] = ()) -> None:
        super().__init__(message)
        # One class serves both cases, so the instance answers for itself.
        self.retryable = retryable  # type: ignore[misc]
        self.kinds: frozenset[str] = frozenset(kinds)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it come out of a pickle as it went in."""
        return partial(type(self), retryable=self.retryable, kinds=self.kinds), self.args


class ObjectsFailedError(ReportedError):
    """Objects failed after all others were dealt with; the message names the first of them."""
