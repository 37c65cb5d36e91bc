"""What the package raises, read from its source: each error that is made, with its words.

Three dots stand for what is only known when it is raised.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from airflow_provider_s3resume import exceptions

PACKAGE: Final = Path(__file__).resolve().parent.parent.parent / "airflow_provider_s3resume"
GAP: Final = "…"


@dataclass(frozen=True, kw_only=True, slots=True)
class Raised:
    """An error that is made somewhere.

    :param words: its message, or the name of what cannot be used; empty if they are not there.
    """

    kind: str
    words: str
    place: str


def public_errors() -> dict[str, type[exceptions.S3ResumeError]]:
    """Return the classes of errors that users meet, by name."""
    found = {name: value for name, value in vars(exceptions).items() if isinstance(value, type)}
    return {n: v for n, v in found.items() if issubclass(v, exceptions.S3ResumeError)}


@cache
def all_raised() -> tuple[Raised, ...]:
    """Return every public error that the package makes."""
    return tuple(one for path in sorted(PACKAGE.rglob("*.py")) for one in _made_in(path))


def _made_in(path: Path) -> Iterator[Raised]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known = public_errors()
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    seen: set[int] = set()
    # The innermost function first: its own `msg` is the one that is meant.
    for scope in sorted(functions, key=lambda n: n.lineno, reverse=True):
        texts = _assigned(scope)
        for call in ast.walk(scope):
            if not isinstance(call, ast.Call) or id(call) in seen or not call.args:
                continue
            if isinstance(call.func, ast.Name) and call.func.id in known:
                seen.add(id(call))
                place = f"{path.relative_to(PACKAGE)}:{call.lineno}"
                words = _template(call.args[0], texts)
                yield Raised(kind=call.func.id, words=words, place=place)


def _assigned(scope: ast.AST) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for one in ast.walk(scope):
        if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
            found[one.targets[0].id] = one.value
    return found


def _template(node: ast.expr, texts: dict[str, ast.expr]) -> str:
    if isinstance(node, ast.Name):
        given = texts.get(node.id)
        return "" if given is None else _template(given, {})
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        pieces = (str(v.value) if isinstance(v, ast.Constant) else GAP for v in node.values)
        return "".join(pieces)
    return ""


def stands_for(quoted: str, words: str, *, whole: bool) -> bool:
    """Return whether a quoted text is what these words become: all of it, or a piece."""
    pattern = ".*".join(re.escape(piece.strip()) for piece in quoted.split(GAP))
    found = re.fullmatch(pattern, words) if whole else re.search(pattern, words)
    return found is not None
