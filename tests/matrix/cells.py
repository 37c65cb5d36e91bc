"""The cells of the matrix, and the figures that are compared for each: values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PINS = ROOT / "tests" / "data" / "mwaa"
OURS = "airflow-provider-s3resume"
AIRFLOW = "apache-airflow"


class CellError(Exception):
    """What a cell promises is not so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One environment.

    :param airflow: its release; ``None`` is the one of ``uv.lock``, the newest that is tested.
    :param python: its minor version, such as ``3.12``.
    :param scheduler: the sync is run by a real scheduler, too.
    """

    airflow: str | None
    python: str
    scheduler: bool = False

    @property
    def name(self) -> str:
        """A name for folders, buckets and people."""
        release = f"mwaa-{self.airflow}" if self.airflow else "newest"
        return f"{release}-py{self.python}"

    @property
    def pins(self) -> Path | None:
        """The file of what Amazon MWAA installs, if this is one of its environments."""
        return PINS / f"constraints-{self.airflow}-py{self.python}.txt" if self.airflow else None


CELLS = (
    Cell(airflow="3.0.6", python="3.12", scheduler=True),
    Cell(airflow="3.2.1", python="3.12"),
    Cell(airflow="3.3.1", python="3.12"),
    Cell(airflow=None, python="3.11"),
    Cell(airflow=None, python="3.12"),
    Cell(airflow=None, python="3.13", scheduler=True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What a program that runs in the environment says of it (see ``probe``).

    :param version: of the provider, as Airflow has registered it.
    :param not_registered: connection types of ours that Airflow does not give to our hooks.
    :param dags: ids of the example DAGs that were parsed.
    :param import_errors: file → error.
    :param features: what depends on the release of Airflow, and how it is there.
    :param run: the state in which ``dag.test()`` ended.
    """

    version: str
    not_registered: Sequence[str]
    dags: Sequence[str]
    import_errors: Mapping[str, str]
    features: Mapping[str, str]
    run: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What there is to tell of a cell.

    :param versions: of all distributions.
    :param added: those that were not there before the wheel was installed, if it came later.
    :param features: what depends on the release of Airflow, and how it is there.
    """

    versions: Mapping[str, str]
    added: Sequence[str]
    features: Mapping[str, str]


def pinned(text: str) -> dict[str, str]:
    """Return name → version of a file of constraints."""
    lines = (line.partition("#")[0].partition(";")[0].strip() for line in text.splitlines())
    pairs = (line.split("==", 1) for line in lines if "==" in line)
    return {normal_name(name): version.strip() for name, version in pairs}


def normal_name(name: str) -> str:
    """Return a distribution's name in the form in which names are compared (PEP 503)."""
    bare = name.partition("[")[0].strip().lower()
    return "-".join(word for word in bare.replace("_", "-").replace(".", "-").split("-") if word)


def unpinned(exported: str, pins: Mapping[str, str]) -> str:
    """Return those lines of an exported lock that a file of pins says nothing about.

    What the wheel adds beside the pins is then the same every day. Airflow itself is left out: it
    is another release.
    """
    lines = [line for line in exported.splitlines() if "==" in line]
    named = [(normal_name(line.split("==", 1)[0]), line) for line in lines]
    kept = [line for name, line in named if name not in pins and not name.startswith(AIRFLOW)]
    return "\n".join(kept) + "\n"


def disturbed(
    before: Mapping[str, str], after: Mapping[str, str], pins: Mapping[str, str]
) -> list[str]:
    """Return what the installation of the wheel has changed, or what is not as it is pinned.

    :param before: name → version, without the wheel.
    :param after: the same with it.
    """
    changed = [
        f"{name} was {version}, is {after.get(name, 'gone')}"
        for name, version in before.items()
        if after.get(name) != version
    ]
    others = [
        f"{name} is {after[name]}, pinned to {version}"
        for name, version in pins.items()
        if after.get(name, version) != version
    ]
    return changed + others


def judge(said: Said, cell: Cell, versions: Mapping[str, str], dags: Sequence[str]) -> None:
    """Make sure that an environment is what it should be.

    :param versions: of what is installed.
    :param dags: the ids that the example DAGs have.
    :raises CellError: naming all that is not so.
    """
    release = versions.get(AIRFLOW)
    wrong = {
        f"Airflow is {release}": cell.airflow not in {None, release},
        f"registered as {said.version}, not {versions.get(OURS)}": (
            said.version != versions.get(OURS)
        ),
        f"connection types that are not ours: {said.not_registered}": bool(said.not_registered),
        f"example DAGs that do not import: {dict(said.import_errors)}": bool(said.import_errors),
        f"example DAGs: {list(said.dags)}, not {list(dags)}": list(said.dags) != list(dags),
        f"dag.test() ended as {said.run}": said.run != "success",
    }
    found = [words for words, is_wrong in wrong.items() if is_wrong]
    if found:
        raise CellError("\n".join(found))
