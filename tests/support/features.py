"""The policies in ``docs/features.md``, of its tables: ``python -m tests.support.features``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from airflow_provider_s3resume.plan.permissions import choose, read_features
from airflow_provider_s3resume.plan.policies import policies
from airflow_provider_s3resume.plan.sides import parse_places

DOCUMENT: Final = Path(__file__).resolve().parent.parent.parent / "docs" / "features.md"
MARK: Final = "<!-- Made by `python -m tests.support.features`; a test compares it. -->"
_TARGET, _STATE = "s3://reports-mirror/daily/", "s3://sync-state/.s3resume/"
_EXAMPLES: Final = (
    ("The source, `s3://reports/daily/`", "s3://reports/daily/", "source"),
    (f"The target, `{_TARGET}`", "s3://reports/daily/", "target"),
    (f"The state location, `{_STATE}`", "s3://reports/daily/", "state"),
    ("A source at Alibaba Cloud OSS, `oss://reports/daily/`", "oss://reports/daily/", "source"),
)


def renewed(text: str) -> str:
    """Return the document with the policies that its tables make.

    :raises ValueError: if the mark is not there, behind which they stand.
    """
    before, mark, _ = text.partition(MARK)
    if not mark:
        raise ValueError(f"{DOCUMENT.name} has no line {MARK}")
    plain = choose(read_features(before), ())
    pieces = []
    for title, source, name in _EXAMPLES:
        made = policies(parse_places(source, _TARGET, _STATE), plain)[name]
        document = json.dumps(made, indent=2, ensure_ascii=False)
        pieces.append(f"{title}:\n\n```json\n{document}\n```\n")
    return f"{before}{mark}\n\n" + "\n".join(pieces)


def main() -> None:
    """Write the document anew."""
    DOCUMENT.write_text(renewed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
