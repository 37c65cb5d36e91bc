"""The words for what a written object can be asked to have."""

from __future__ import annotations

from typing import Final

SSE_S3: Final = "AES256"
KMS: Final = "aws:kms"
DSSE: Final = "aws:kms:dsse"
ENCRYPTIONS: Final = (SSE_S3, KMS, DSSE)
"""Encryption by the service ("Protecting data with server-side encryption")."""
ACLS: Final = (
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
)
"""Canned ACLs of objects ("Access control list (ACL) overview")."""
