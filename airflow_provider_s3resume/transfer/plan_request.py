"""What a plan is asked to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_s3resume.plan.archives import OnArchived
from airflow_provider_s3resume.plan.batches import BatchLimits
from airflow_provider_s3resume.plan.diff import DEFAULT_RULE, DiffRule
from airflow_provider_s3resume.plan.objects import KeyMapping
from airflow_provider_s3resume.plan.parts import DEFAULT_PART_SIZE
from airflow_provider_s3resume.transfer.config import ServerSideCopy
from airflow_provider_s3resume.transfer.selecting import EVERYTHING, Scope

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.renaming import Renaming


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What to plan.

    :param run_id: names the run; only letters, digits and ``._-+=:@/`` are used as they are.
    :param scope: what of the source is looked at.
    :param archived: what is done about objects that have to be restored first.
    :param renaming: what becomes of keys besides the exchange of prefixes.
    :param part_size: bytes, of the copies; for the estimate of their requests only.
    :param server_side_copy: the same of who moves the bytes.
    """

    run_id: str
    source_prefix: str = ""
    target_prefix: str = ""
    rule: DiffRule = DEFAULT_RULE
    batch_limits: BatchLimits = field(default_factory=BatchLimits)
    dry_run: bool = False
    scope: Scope = EVERYTHING
    archived: OnArchived = OnArchived.REPORT
    renaming: Renaming | None = None
    part_size: int = DEFAULT_PART_SIZE
    server_side_copy: ServerSideCopy = ServerSideCopy.AUTO

    @property
    def mapping(self) -> KeyMapping:
        """How source keys become target keys, as long as they keep their order."""
        add = self.renaming.add_prefix if self.renaming and self.renaming.keeps_order else ""
        return KeyMapping(source_prefix=self.source_prefix, target_prefix=self.target_prefix + add)

    @property
    def reorders(self) -> bool:
        """Whether target keys come in another order than source keys."""
        return self.renaming is not None and not self.renaming.keeps_order

    @property
    def lists_all_in_order(self) -> bool:
        """Whether the listings tell where to cut all of them.

        A part of a listing, or one in another order, does not.
        """
        return not (self.scope.partial or self.reorders)

    @property
    def key_mapping(self) -> dict[str, str]:
        """What becomes of keys besides the exchange of prefixes; see ``Manifest.key_mapping``."""
        return self.renaming.to_json_dict() if self.renaming else {}
