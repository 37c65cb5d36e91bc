"""What Airflow reads about the provider."""

from __future__ import annotations

import importlib
import json
import pkgutil
import warnings
from importlib.resources import files
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.utils.deprecation_tools import DeprecatedImportWarning

import airflow_provider_s3resume
from airflow_provider_s3resume.get_provider_info import get_provider_info
from airflow_provider_s3resume.hooks._connections import OWN_FIELDS
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook

NAME = "airflow-provider-s3resume"
VALUES = {"sides", "planning", "params"}
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


def test_airflow_finds_provider_hook_and_form() -> None:
    """As the commands ``airflow providers list``, ``hooks``, ``widgets`` and ``behaviours`` do."""
    manager: Any = ProvidersManager()  # type: ignore[no-untyped-call]
    assert manager.providers[NAME].version == airflow_provider_s3resume.__version__
    with warnings.catch_warnings():
        # It is what the commands use; tasks shall use another class.
        warnings.simplefilter("ignore", DeprecatedImportWarning)
        hook = manager.hooks["s3resume"]
    assert hook is not None
    assert hook.hook_class_name.endswith("hooks.s3.S3ResumeHook")
    assert hook.connection_testable
    assert hook.package_name == NAME
    assert "extra__s3resume__list_order" in manager.connection_form_widgets
    assert manager.field_behaviours["s3resume"]["relabeling"]["host"] == "Endpoint"


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
        }
        assert named == public - helpers - {"airflow_provider_s3resume.operators.params"}


def test_the_fields_of_the_form_are_read() -> None:
    """What a person enters must not be lost: a field is botocore's or one of ours."""
    [connection] = get_provider_info()["connection-types"]
    assert set(connection["conn-fields"]) - {"region_name"} <= OWN_FIELDS
    behaviour = S3ResumeHook.get_ui_field_behaviour()
    assert behaviour["relabeling"] == connection["ui-field-behaviour"]["relabeling"]
    assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}
