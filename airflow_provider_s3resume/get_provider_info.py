"""What Airflow reads about the provider when it starts; imports nothing."""

from __future__ import annotations

from typing import Any

PACKAGE = "airflow_provider_s3resume"
INTEGRATION = "S3 Resume"


def get_provider_info() -> dict[str, Any]:
    """Return what ``provider_info.schema.json`` of Airflow describes."""
    return {
        "package-name": "airflow-provider-s3resume",
        "name": INTEGRATION,
        "description": "Sync S3 buckets with verification, resuming at the part where it stopped.",
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://docs.aws.amazon.com/AmazonS3/latest/userguide/",
                "tags": ["protocol"],
            }
        ],
        "hooks": [_modules("hooks", "s3")],
        "operators": [
            _modules("operators", "plan", "multipart_copy", "verify", "report", "sync"),
        ],
        "sensors": [_modules("sensors", "bucket_diff")],
        "triggers": [_modules("triggers", "bucket_diff")],
        "connection-types": [_connection_type()],
    }


def _modules(folder: str, *names: str) -> dict[str, Any]:
    return {
        "integration-name": INTEGRATION,
        "python-modules": [f"{PACKAGE}.{folder}.{name}" for name in names],
    }


def _connection_type() -> dict[str, Any]:
    return {
        "connection-type": "s3resume",
        "hook-class-name": f"{PACKAGE}.hooks.s3.S3ResumeHook",
        "hook-name": "S3 or compatible, for s3resume",
    }
