"""Write ``.env`` beside docker-compose.yaml: a secret of its own for everything that has one.

``python3 docker/make_env.py [FILE]``; needs nothing but Python 3.11. A file that is there already
is kept as it is: the database was made with what is in it.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / ".env"
_TOKENS = (
    "AIRFLOW_ADMIN_PASSWORD",
    "AIRFLOW_API_SECRET_KEY",
    "AIRFLOW_JWT_SECRET",
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "SOURCE_SECRET_KEY",
    "TARGET_SECRET_KEY",
)
_BYTES = 32
"""Of a secret: HS512, which signs the tokens of tasks, takes keys of 64 characters."""


def made() -> dict[str, str]:
    """Return a value for each name."""
    # Hexadecimal: nothing in it means anything in a URL, in JSON, to a shell or to compose.
    found = {name: secrets.token_hex(_BYTES) for name in _TOKENS}
    # Of Fernet's own form: 32 bytes as URL-safe base64.
    found["AIRFLOW_FERNET_KEY"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    found |= {"SOURCE_ACCESS_KEY": "source-user", "TARGET_ACCESS_KEY": "target-user"}
    return found


def write(file: Path) -> bool:
    """Write the file, readable by its owner alone; return whether it was not there before."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.writelines(f"{name}={value}\n" for name, value in sorted(made().items()))
    return True


def main() -> None:
    """Write it, and say where it is."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    print(f"{file} {'was made' if write(file) else 'is there already, and was left as it is'}")


if __name__ == "__main__":
    main()
