"""Who runs a server that refuses to be run by root."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import TypedDict

_UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """An account of this machine."""

    name: str
    uid: int
    gid: int


class As(TypedDict, total=False):
    """Arguments of ``subprocess.Popen``."""

    user: int
    group: int
    extra_groups: list[int]


def unprivileged() -> Account | None:
    """Return an account that is not root's: None stands for our own.

    :raises LookupError: if this machine has none of those that every Debian has.
    """
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in _UNPRIVILEGED:
        if name in known:
            return Account(name=name, uid=known[name].pw_uid, gid=known[name].pw_gid)
    raise LookupError(
        f"root cannot run PostgreSQL, and there is no account {' or '.join(_UNPRIVILEGED)}: "
        "run this as another user"
    )


def as_account(account: Account | None) -> As:
    """Return what makes ``subprocess.Popen`` run a program as an account."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}
