"""The connections of the documentation are read as they stand there, and name every field."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from airflow_provider_s3resume.hooks import _amazon
from airflow_provider_s3resume.hooks._oss_connections import OSS_FIELDS
from airflow_provider_s3resume.hooks.oss import OSSResumeHook
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "connections.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_makes_a_store(monkeypatch: pytest.MonkeyPatch, block: str) -> None:
    """With nothing added to it."""
    connection: dict[str, Any] = json.loads(block)
    monkeypatch.setenv("AIRFLOW_CONN_EXAMPLE", block)
    monkeypatch.setattr(_amazon, "discover_region", lambda *_: "")
    role = "airflow.providers.amazon.aws.hooks.base_aws.BaseSessionFactory._refresh_credentials"
    expiry = "2999-01-01T00:00:00+00:00"
    keys = {"access_key": "role", "secret_key": "s", "token": "t", "expiry_time": expiry}
    monkeypatch.setattr(role, lambda _: keys)
    users = ModuleType("our_company.oss")
    users.provider = lambda: SimpleNamespace(get_credentials=dict)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "our_company", ModuleType("our_company"))
    monkeypatch.setitem(sys.modules, users.__name__, users)
    oss = connection["conn_type"] in {"oss", "s3resume_oss"}
    hook = OSSResumeHook("example") if oss else S3ResumeHook("example")
    store = hook.get_store("my-bucket")
    assert (store.scheme, store.bucket) == ("oss" if oss else "s3", "my-bucket")


def test_every_field_of_a_connection_to_oss_is_documented() -> None:
    """In the table of that section, and no other."""
    section = TEXT[TEXT.index("## Alibaba Cloud OSS") : TEXT.index("## Permissions")]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == OSS_FIELDS
