"""The commands of a shell script, as far as documentation needs a shell, and what they name."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Final

_HERE_DOCUMENT: Final = re.compile(
    r"<<-?\s*(['\"]?)(\w+)\1([^\n]*)\n.*?^\s*\2$", re.DOTALL | re.MULTILINE
)
_ASSIGNMENT: Final = re.compile(r"^[A-Za-z_]\w*=")
_ENDS: Final = frozenset(";&|\n()<>")
_BEFORE: Final = frozenset({"export", "sudo", "env", "if", "then", "else", "do", "while", "!"})


def commands(script: str) -> Iterator[list[str]]:
    """Yield the words of each command; what is assigned before it is left out."""
    text = _without_comments(_HERE_DOCUMENT.sub(r"\3", script)).replace("\\\n", " ")
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n()<>")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    words: list[str] = []
    for token in lexer:
        if token and set(token) <= _ENDS:
            yield from _command(words)
            words = []
        else:
            words.append(token)
    yield from _command(words)


def _command(words: list[str]) -> Iterator[list[str]]:
    left = list(words)
    while left and (left[0] in _BEFORE or _ASSIGNMENT.match(left[0])):
        del left[0]
    if left:
        yield left


def _without_comments(text: str) -> str:
    kept: list[str] = []
    quote, skipping, before = "", False, "\n"
    for sign in text:
        if skipping:
            skipping = sign != "\n"
        elif quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"" and before != "\\":
            quote = sign
        elif sign == "#" and before.isspace():
            skipping = True
        if not skipping:
            kept.append(sign)
        before = sign
    return "".join(kept)


def wrong_in_airflow(words: list[str]) -> Iterator[str]:
    """Yield what Airflow's own parser says of a call of its command."""
    from airflow.cli.cli_parser import get_parser  # noqa: PLC0415 - it is slow

    try:
        get_parser().parse_args(words)
    except SystemExit:  # With the reason on the standard error.
        yield f"airflow {' '.join(words)}"


def wrong_in_module(words: list[str]) -> Iterator[str]:
    """Yield options that a module, run as a program, does not have, or the module itself."""
    module, *rest = words
    if importlib.util.find_spec(module) is None:
        yield module
        return
    if module.split(".")[0] in {"airflow_provider_s3resume", "benchmarks", "tests"}:
        options = {word.partition("=")[0] for word in rest if word.startswith("--")}
        known = _help(module) if options else ""
        yield from (f"{module} has no {o}" for o in sorted(options) if f"{o} " not in known)


@cache
def _help(module: str) -> str:
    command = [sys.executable, "-m", module, "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return re.sub(r"[\s,\]=]+", " ", told.stdout)
