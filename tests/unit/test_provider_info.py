"""What Airflow reads about the provider."""

from __future__ import annotations

import importlib
import json
import logging
import pkgutil
import warnings
from importlib.resources import files
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from airflow.providers_manager import ProviderInfo, ProvidersManager
from airflow.utils.deprecation_tools import DeprecatedImportWarning

import airflow_provider_s3resume
from airflow_provider_s3resume import get_provider_info as info_module
from airflow_provider_s3resume.get_provider_info import get_provider_info
from airflow_provider_s3resume.hooks._airflow import BaseHook
from airflow_provider_s3resume.hooks._connections import OWN_FIELDS
from airflow_provider_s3resume.hooks._local_connections import OWN_FIELDS as LOCAL_FIELDS
from airflow_provider_s3resume.hooks._oss_connections import OSS_FIELDS
from airflow_provider_s3resume.hooks.local import LocalResumeHook
from airflow_provider_s3resume.hooks.oss import OSSResumeHook, OwnTypeOSSResumeHook
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook

NAME = "airflow-provider-s3resume"
ALIBABA = "apache-airflow-providers-alibaba"
VALUES = {"sides", "planning", "params", "event_params", "taken"}
"""Modules beside the hooks and operators that hold none."""


@pytest.mark.parametrize("schema", ["provider_info.schema.json", "provider.yaml.schema.json"])
def test_it_is_what_airflows_schema_describes(schema: str) -> None:
    """The second schema is the one that knows connection fields; it asks for more than we have."""
    known = json.loads(files("airflow").joinpath(schema).read_text(encoding="utf-8"))
    info = get_provider_info()
    if schema.startswith("provider_info"):
        jsonschema.validate(info, known)
        return
    jsonschema.validate(info["connection-types"], known["properties"]["connection-types"])


def hook_of(manager: Any, conn_type: str) -> Any:
    """Return what Airflow knows of a connection type."""
    with warnings.catch_warnings():
        # It is what the commands use; tasks shall use another class.
        warnings.simplefilter("ignore", DeprecatedImportWarning)
        return manager.hooks[conn_type]


@pytest.mark.parametrize(
    ("conn_type", "hook_class", "field"),
    [
        ("s3resume", "hooks.s3.S3ResumeHook", "list_order"),
        ("oss", "hooks.oss.OSSResumeHook", "symlinks"),
        ("s3resume_oss", "hooks.oss.OwnTypeOSSResumeHook", "symlinks"),
        ("s3resume_local", "hooks.local.LocalResumeHook", "path"),
    ],
)
def test_airflow_finds_provider_hook_and_form(conn_type: str, hook_class: str, field: str) -> None:
    """As the commands ``airflow providers list``, ``hooks``, ``widgets`` and ``behaviours`` do."""
    manager: Any = ProvidersManager()  # type: ignore[no-untyped-call]
    assert manager.providers[NAME].version == airflow_provider_s3resume.__version__
    hook = hook_of(manager, conn_type)
    assert hook is not None
    assert hook.hook_class_name.endswith(hook_class)
    assert hook.connection_testable
    assert hook.package_name == NAME
    assert f"extra__{conn_type}__{field}" in manager.connection_form_widgets
    relabeled = {} if conn_type == "s3resume_local" else {"host": "Endpoint"}
    assert relabeled.items() <= manager.field_behaviours[conn_type]["relabeling"].items()


@pytest.mark.parametrize("installed", [False, True])
def test_the_alibaba_providers_connection_type_stays_its_own(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    installed: bool,  # noqa: FBT001 - both cases
) -> None:
    """Airflow gives a type to the provider that is first by name, and warns of the other."""
    hook_class = "airflow.providers.alibaba.cloud.hooks.oss.OSSHook"
    described = {
        "package-name": ALIBABA,
        "name": "Alibaba",
        "description": "its connection type, as it registers it",
        "connection-types": [
            {"connection-type": "oss", "hook-class-name": hook_class, "hook-name": "OSS"}
        ],
    }
    monkeypatch.setattr(info_module, "_is_installed", lambda name: installed and name == ALIBABA)
    known = {NAME: ProviderInfo("1", get_provider_info())}
    if installed:
        known[ALIBABA] = ProviderInfo("3.5.2", described)
    manager: Any = object.__new__(ProvidersManager)
    monkeypatch.setattr(ProvidersManager, "_initialized", False)
    manager.__init__()
    manager._provider_dict = known
    monkeypatch.setattr(manager, "initialize_providers_list", lambda: None)
    caplog.set_level(logging.WARNING)
    manager.initialize_providers_hooks()
    hooks = manager._hooks_lazy_dict
    assert {"s3resume", "s3resume_oss"} <= set(hooks)
    ours = (NAME, "airflow_provider_s3resume.hooks.oss.OSSResumeHook")
    found = manager._hook_provider_dict["oss"]
    theirs = (ALIBABA, hook_class)
    assert (found.package_name, found.hook_class_name) == (theirs if installed else ours)
    assert hooks["s3resume_oss"].package_name == NAME
    assert "already" not in caplog.text


def test_every_module_is_named_and_can_be_imported() -> None:
    """No operator, sensor, trigger or hook is forgotten."""
    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        named = {name for entry in info[kind] for name in entry["python-modules"]}
        for name in named:
            importlib.import_module(name)
        package = importlib.import_module(f"airflow_provider_s3resume.{kind}")
        there = {m.name for m in pkgutil.iter_modules(package.__path__, package.__name__ + ".")}
        public = {name for name in there if not name.rpartition(".")[2].startswith("_")}
        helpers = {
            "airflow_provider_s3resume.hooks.sides",
            "airflow_provider_s3resume.hooks.planning",
            "airflow_provider_s3resume.hooks.taken",
            "airflow_provider_s3resume.operators.event_params",
            "airflow_provider_s3resume.operators.params",
            "airflow_provider_s3resume.operators.retries",
        }
        assert named == public - helpers


def test_the_fields_of_the_form_are_read() -> None:
    """What a person enters must not be lost: a field is botocore's or one of ours."""
    ours, oss, own_oss, local = get_provider_info()["connection-types"]
    assert set(ours["conn-fields"]) - {"region_name"} <= OWN_FIELDS
    assert set(oss["conn-fields"]) <= OSS_FIELDS
    assert set(local["conn-fields"]) <= LOCAL_FIELDS
    hooks: list[tuple[type[BaseHook], dict[str, Any]]]
    hooks = [(S3ResumeHook, ours), (OSSResumeHook, oss), (OwnTypeOSSResumeHook, own_oss)]
    hooks.append((LocalResumeHook, local))
    for hook, connection in hooks:
        behaviour: Any = hook.get_ui_field_behaviour()
        assert behaviour["relabeling"] == connection["ui-field-behaviour"]["relabeling"]
        assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}
        # Airflow 3.0 does not ask a class for what it inherits.
        assert {"get_ui_field_behaviour", "get_connection_form_widgets"} <= set(vars(hook))


def test_a_token_is_a_password_of_the_form() -> None:
    """It is not shown, and Airflow masks it."""
    oss = get_provider_info()["connection-types"][1]
    secret = {n for n, f in oss["conn-fields"].items() if f["schema"].get("format") == "password"}
    assert secret == {"security_token"}
