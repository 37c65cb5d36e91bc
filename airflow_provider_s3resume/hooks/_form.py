"""The connection forms, for the releases of Airflow that ask the hook class for them."""

from __future__ import annotations

from typing import Any


def form_behaviour(conn_type: str) -> dict[str, Any]:
    """Return what the form of a connection type shows, as ``get_ui_field_behaviour`` does."""
    behaviour = _described(conn_type)["ui-field-behaviour"]
    return {name.replace("-", "_"): value for name, value in behaviour.items()}


def form_widgets(conn_type: str) -> dict[str, Any]:
    """Return the form's additional fields, as ``get_connection_form_widgets`` does."""
    # Airflow puts these modules in place for the call; they are no requirement.
    from wtforms import (  # type: ignore[import-untyped] # noqa: PLC0415 - see above
        BooleanField,
        IntegerField,
        PasswordField,
        StringField,
    )

    kinds = {"boolean": BooleanField, "integer": IntegerField, "string": StringField}
    found: dict[str, Any] = {}
    for name, field in _described(conn_type)["conn-fields"].items():
        schema = field["schema"]
        secret = schema.get("format") == "password"
        kind = PasswordField if secret else kinds[schema["type"][0]]
        found[name] = kind(field["label"])
    return found


def _described(conn_type: str) -> dict[str, Any]:
    from airflow_provider_s3resume.get_provider_info import (  # noqa: PLC0415 - form only
        get_provider_info,
    )

    described: list[dict[str, Any]] = get_provider_info()["connection-types"]
    return next(one for one in described if one["connection-type"] == conn_type)
