"""What Airflow reads about the provider when it starts; imports nothing of Airflow or an SDK."""

from __future__ import annotations

from importlib import metadata
from typing import Any

PACKAGE = "airflow_provider_s3resume"
INTEGRATION = "S3 Resume"
ALIBABA = "apache-airflow-providers-alibaba"


def get_provider_info() -> dict[str, Any]:
    """Return what ``provider_info.schema.json`` of Airflow describes."""
    return {
        "package-name": "airflow-provider-s3resume",
        "name": INTEGRATION,
        "description": "Sync S3 and OSS buckets with verification, resuming at the part where it "
        "stopped.",
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://docs.aws.amazon.com/AmazonS3/latest/userguide/",
                "tags": ["protocol"],
            }
        ],
        "hooks": [_modules("hooks", "local", "oss", "queue", "s3")],
        "operators": [
            _modules(
                "operators",
                *("plan", "multipart_copy", "verify", "report", "sync", "clean_uploads"),
                *("take_events", "plan_events", "copy_events", "acknowledge_events", "events"),
            ),
        ],
        "sensors": [_modules("sensors", "bucket_diff", "s3_events")],
        "triggers": [_modules("triggers", "bucket_diff", "s3_events")],
        "connection-types": [
            _connection_type(),
            *_oss_connection_types(),
            _local_connection_type(),
        ],
    }


def _oss_connection_types() -> list[dict[str, Any]]:
    """Return our own type, and ``oss`` where the alibaba provider does not register it.

    Being first by name, we would take its type away. Connections of that type are read all the
    same; their form is then the alibaba provider's.
    """
    own = _oss_connection_type(
        "s3resume_oss", "OwnTypeOSSResumeHook", "Alibaba Cloud OSS (s3resume)"
    )
    if _is_installed(ALIBABA):
        return [own]
    return [_oss_connection_type("oss", "OSSResumeHook", "Alibaba Cloud OSS"), own]


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _modules(folder: str, *names: str) -> dict[str, Any]:
    return {
        "integration-name": INTEGRATION,
        "python-modules": [f"{PACKAGE}.{folder}.{name}" for name in names],
    }


def _connection_type() -> dict[str, Any]:
    return {
        "connection-type": "s3resume",
        "hook-class-name": f"{PACKAGE}.hooks.s3.S3ResumeHook",
        "hook-name": "S3 or compatible (s3resume)",
        "conn-fields": _connection_fields(),
        "ui-field-behaviour": {
            "hidden-fields": [],
            "relabeling": {
                "host": "Endpoint",
                "login": "Access key id",
                "password": "Secret access key",
                "schema": "Bucket to test with",
            },
            "placeholders": {
                "host": "https://minio.example:9000 (empty for Amazon S3)",
                "schema": "only used by the connection test",
                "extra": '{"role_arn": "arn:aws:iam::123456789012:role/sync", "verify": true}',
            },
        },
    }


def _connection_fields() -> dict[str, Any]:
    """Return the fields that the form shows; all that a connection can say goes into the extra."""
    return {
        "region_name": _field("Region", "Of the bucket, such as eu-central-1.", "string"),
        "addressing_style": _field(
            "Addressing", "Where the bucket stands in the address.", "string", "auto path virtual"
        ),
        "list_order": _field(
            "Order of listings",
            "'unordered' for services that do not list in byte order of the keys.",
            "string",
            "bytes unordered",
        ),
        "key_folding": _field(
            "Keys are folded", "The service takes 'a//b' and 'a/b' for one key.", "boolean"
        ),
        "checksums": _field(
            "Checksums",
            "What the service checks on every part that it takes.",
            "string",
            "crc64nvme crc32c crc32 md5 none",
        ),
        "conditional_writes": _field(
            "Conditional writes", "The service honours If-Match and If-None-Match.", "boolean"
        ),
        "requests_per_second": _field("Requests per second", "At most, per task.", "integer"),
        "bytes_per_second": _field("Bytes per second", "At most, per task.", "integer"),
        **_access_fields(),
    }


def _access_fields() -> dict[str, Any]:
    key = _field(
        "Customer-provided key",
        "SSE-C: base64 of 32 bytes, which all objects of the bucket are encrypted with.",
        "string",
    )
    key["schema"]["format"] = "password"
    return {
        "expected_bucket_owner": _field(
            "Owner of the bucket", "Account id; a bucket of another account is refused.", "string"
        ),
        "request_payer": _field("Requester pays", "The caller pays for its requests.", "boolean"),
        "unsigned": _field("Unsigned", "For public buckets: no credentials are used.", "boolean"),
        "use_accelerate_endpoint": _field("Transfer acceleration", "Of Amazon S3.", "boolean"),
        "use_dualstack_endpoint": _field("Dual-stack endpoint", "IPv6 and IPv4.", "boolean"),
        "use_fips_endpoint": _field("FIPS endpoint", "Of Amazon S3.", "boolean"),
        "sse_c_secret_key": key,
    }


def _oss_connection_type(conn_type: str, hook_class: str, name: str) -> dict[str, Any]:
    return {
        "connection-type": conn_type,
        "hook-class-name": f"{PACKAGE}.hooks.oss.{hook_class}",
        "hook-name": name,
        "conn-fields": _oss_connection_fields(),
        "ui-field-behaviour": {
            "hidden-fields": [],
            "relabeling": {
                "host": "Endpoint",
                "login": "Access key id",
                "password": "Access key secret",
                "schema": "Bucket to test with",
            },
            "placeholders": {
                "host": "https://oss-cn-hangzhou.aliyuncs.com (empty for the region's own)",
                "schema": "only used by the connection test",
                "extra": '{"accelerate": "overseas"}',
            },
        },
    }


def _oss_connection_fields() -> dict[str, Any]:
    """Return the fields that the form shows; all that a connection can say goes into the extra."""
    token = _field("Security token", "Of temporary keys.", "string")
    token["schema"]["format"] = "password"
    return {
        "auth_type": _field(
            "Credentials",
            "Keys (AK), temporary keys (STS), the role of the ECS instance, the environment of "
            "the worker, or a callable.",
            "string",
            "AK STS ecs_ram_role env custom",
        ),
        "security_token": token,
        "role_name": _field("RAM role", "For ecs_ram_role.", "string"),
        "region": _field("Region", "Of the bucket, such as cn-hangzhou.", "string"),
        "internal": _field(
            "Internal endpoint", "For workers in the bucket's own region.", "boolean"
        ),
        "signature_version": _field("Signature", "", "string", "v4 v1"),
        "symlinks": _field(
            "Symlinks", "Copy what they point at, or report them.", "string", "follow report"
        ),
        "requests_per_second": _field("Requests per second", "At most, per task.", "integer"),
        "bytes_per_second": _field("Bytes per second", "At most, per task.", "integer"),
    }


def _local_connection_type() -> dict[str, Any]:
    return {
        "connection-type": "s3resume_local",
        "hook-class-name": f"{PACKAGE}.hooks.local.LocalResumeHook",
        "hook-name": "Local folder (s3resume)",
        "conn-fields": _local_connection_fields(),
        "ui-field-behaviour": {
            "hidden-fields": ["host", "port", "login", "password", "schema"],
            "relabeling": {},
            "placeholders": {"extra": '{"path": "/data", "symlinks": "report"}'},
        },
    }


def _local_connection_fields() -> dict[str, Any]:
    """Return the fields that the form shows; all that a connection can say goes into the extra."""
    return {
        "path": _field(
            "Folder", "Every file:// URI has to lie in it. All workers see the same.", "string"
        ),
        "symlinks": _field(
            "Symlinks",
            "In a folder that is read: name them in the report, follow those that stay in it, or "
            "fail.",
            "string",
            "report follow fail",
        ),
        "directory_markers": _field(
            "Directories are objects",
            "Of no bytes, whose key ends with a slash; so that empty ones are kept, too.",
            "boolean",
        ),
        "guess_content_type": _field(
            "Guess content types", "Of what is uploaded, by the end of the name.", "boolean"
        ),
        "requests_per_second": _field("Requests per second", "At most, per task.", "integer"),
        "bytes_per_second": _field("Bytes per second", "At most, per task.", "integer"),
    }


def _field(label: str, description: str, kind: str, choices: str = "") -> dict[str, Any]:
    schema: dict[str, Any] = {"type": [kind, "null"]}
    if choices:
        schema["enum"] = [*choices.split(), None]
    return {"label": label, "description": description, "schema": schema}
