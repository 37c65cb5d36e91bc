"""Which records are old enough to be cleared away, and which uploads they make ours (c34).

Age never makes an upload ours. It only says which of our own records nobody works with any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import InvalidInputError

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.resume import Checkpoint

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
DEFAULT_AGE_S = 7 * DAY_S
LEAST_AGE_S = HOUR_S
"""Well above the 15 minutes that a worker's clock may be wrong by before S3 refuses it
(RequestTimeTooSkewed, "Authenticating Requests: AWS Signature Version 4")."""

SKEW_S = 900.0
"""What the clocks of a worker and of the store may differ by (the same)."""

UNKNOWN_UPLOADS = "*"
"""Among the uploads before an intent: they could not be listed, so any may have been there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningRules:
    """What to clear away.

    :param older_than_s: seconds that nothing was written to a record.
    :param dry_run: find and report, change nothing.
    :param abort_empty_uploads_of_intents: abort also what only an intent points at: empty uploads
        of exactly its key that were begun after it. Another tool may have begun one like it.
    """

    older_than_s: float = DEFAULT_AGE_S
    dry_run: bool = True
    abort_empty_uploads_of_intents: bool = False

    def __post_init__(self) -> None:
        """Refuse an age at which copies may be under way.

        :raises InvalidInputError: in that case.
        """
        if not self.older_than_s >= LEAST_AGE_S:
            accepted = "at least an hour, and more than a copy may go without writing its record"
            found = f"{self.older_than_s:g} seconds"
            raise InvalidInputError("older_than", found=found, accepted=accepted)

    def is_old(self, time_s: float, now: float) -> bool:
        """Tell whether something of this time is old enough; both in seconds since the epoch."""
        return now - time_s > self.older_than_s


def key_at(target_uri: str, *, bucket: str, prefix: str) -> str | None:
    """Return the key that a record is about, ``None`` if it is none under ``prefix``.

    :param target_uri: as the record holds it, the service in front.
    :param bucket: the URI of the target bucket, spelt the same way, with a slash at its end.
    """
    if not target_uri.startswith(bucket + prefix):
        return None
    return target_uri.removeprefix(bucket)


def own_ids(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the ids of the uploads that a record names as ours."""
    ids = (checkpoint.upload_id, *checkpoint.superseded)
    return tuple(dict.fromkeys(upload_id for upload_id in ids if upload_id is not None))


def knows_uploads(intent: Checkpoint) -> bool:
    """Tell whether an intent says which uploads of its key there were before it."""
    return UNKNOWN_UPLOADS not in intent.uploads_before


def may_be_of_intent(checkpoint: Checkpoint, upload_id: str, initiated: float) -> bool:
    """Tell whether a kill between Create and the record of its id may have left this upload.

    It was not there before the intent, as far as the intent knows, and was begun since. That it is
    empty, too, has to be seen.

    :param initiated: of an upload of exactly the record's key, seconds since the epoch.
    """
    if checkpoint.upload_id is not None:
        return False
    known = {*checkpoint.uploads_before, *checkpoint.superseded}
    return upload_id not in known and initiated >= checkpoint.started - SKEW_S
