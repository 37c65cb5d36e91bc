"""Source keys that would meet at a target which folds keys: such a plan is refused (c04)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import ObjectNotFoundError, PlanRefusedError
from airflow_provider_s3resume.plan.diff import Action, folded
from airflow_provider_s3resume.transfer.storing import MOST_UNKEPT_KEYS

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.objects import KeyMapping
    from airflow_provider_s3resume.storage.base import ObjectStore


def refuse_collisions(
    source: ObjectStore, mapping: KeyMapping | None, unkept: list[Action]
) -> None:
    """Refuse the plan if keys that the target folds would meet there (c04).

    :param mapping: back from target keys to source keys, ``None`` if there is no such way.

    :raises PlanRefusedError: naming the first such keys.
    """
    if len(unkept) > MOST_UNKEPT_KEYS:
        raise PlanRefusedError(
            f"more than {MOST_UNKEPT_KEYS} source keys cannot be held exactly by the target, which "
            f"folds keys, such as {unkept[0].key!r}; nothing was copied. Use another target"
        )
    seen: dict[str, str] = {}
    for action in unkept:
        # At the target keys meet, so it is the target key that is folded, and mapped back.
        meeting = folded(action.target_key)
        meets = seen.setdefault(meeting, action.key)
        if mapping and meets == action.key and meeting.startswith(mapping.target_prefix):
            plain = mapping.to_source(meeting)
            meets = plain if plain != action.key and _is_there(source, plain) else meets
        if meets != action.key:
            raise PlanRefusedError(
                f"source keys {meets!r} and {action.key!r} are one key at the target, which folds "
                "keys; nothing was copied. Rename one of them, or use another target"
            )


def _is_there(store: ObjectStore, key: str) -> bool:
    if not key:
        return False
    try:
        store.head(key)
    except ObjectNotFoundError:
        return False
    return True
