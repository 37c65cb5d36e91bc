"""What ``make release`` leaves in ``dist/``, and that its checks see what is wrong."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import zipfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provider_s3resume import __version__
from tests.release import __main__ as release
from tests.release import artefacts, audit, changelog, sbom
from tests.release.artefacts import Built
from tests.release.tools import DISTRIBUTION, PACKAGE, ReleaseError, run
from tests.support.bootstrap import ROOT, UV, child_environment


class Made(NamedTuple):
    """The files of a release, and the lines that were printed."""

    dist: Path
    printed: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Make all files of a release."""
    dist = tmp_path_factory.mktemp("release") / "dist"
    with redirect_stdout(io.StringIO()) as printed:
        release.files(dist, final=False)
    return Made(dist, printed.getvalue().splitlines())


@pytest.fixture
def bill(made: Made) -> Path:
    """Give the bill of materials."""
    (found,) = made.dist.glob("*.cdx.json")
    return found


def test_every_file_is_made_and_checked(made: Made) -> None:
    """The last line counts them."""
    stem = f"{PACKAGE}-{__version__}"
    names = {f"{stem}{end}" for end in (".tar.gz", ".cdx.json", ".changes.md")}
    names |= {f"{stem}-py3-none-any.whl", release.SUMS}
    assert {path.name for path in made.dist.iterdir()} == names
    checked = {line.split()[1] for line in made.printed if line.endswith(" checked")}
    assert checked == names
    assert made.printed[-1] == "release: files=5 checked=5"
    run("sha256sum", "--check", "--strict", release.SUMS, cwd=made.dist)


def test_one_version_everywhere(built: Built, installed: Path, bill: Path, tmp_path: Path) -> None:
    """Both metadata, both names, what the installed package says and pip shows, and the bill."""
    shown = run(UV, "pip", "show", "--python", installed, DISTRIBUTION)
    program = (
        "import importlib.metadata as m, airflow_provider_s3resume as p\n"
        f"print(p.__version__, m.version({DISTRIBUTION!r}), p.__file__)"
    )
    told, listed, file = run(installed, "-I", "-c", program, cwd=tmp_path).split(maxsplit=2)
    assert Path(file.strip()).is_relative_to(installed.parent.parent)
    found = {
        "tree": __version__,
        "wheel's name": built.wheel.name.split("-")[1],
        "wheel": artefacts.metadata_of(built.wheel)["Version"],
        "sdist's name": built.sdist.name.removesuffix(".tar.gz").split("-")[1],
        "sdist": artefacts.metadata_of(built.sdist)["Version"],
        "package": told,
        "importlib.metadata": listed,
        "pip show": next(x for x in shown.splitlines() if x.startswith("Version:")).split()[1],
        "bill": json.loads(bill.read_text())["metadata"]["component"]["version"],
    }
    assert set(found.values()) == {__version__}, found


def test_licence_and_notices_go_with_both_distributions(built: Built) -> None:
    """As the files of the tree have them (PEP 639)."""
    with zipfile.ZipFile(built.wheel) as archive:
        folder = f"{PACKAGE}-{__version__}.dist-info/licenses"
        for name in ("LICENSE", "NOTICE"):
            assert archive.read(f"{folder}/{name}") == (ROOT / name).read_bytes()
    assert {"LICENSE", "NOTICE"} <= artefacts.members_of(built.sdist)
    assert not [name for name in artefacts.members_of(built.sdist) if "benchmarks" in name]


def test_the_bill_is_the_same_for_the_same_lock(bill: Path, tmp_path: Path) -> None:
    """Made again of another environment, in another place."""
    python = sbom.runtime_environment(tmp_path / "another place" / "venv")
    again = tmp_path / bill.name
    sbom.write(again, __version__, python)
    assert again.read_bytes() == bill.read_bytes()
    assert str(ROOT) not in bill.read_text()


def test_the_bill_tells_the_licence_of_everything(bill: Path) -> None:
    """All but those that a person has looked at; a new one has to be looked at, too."""
    components = json.loads(bill.read_text())["components"]
    licences = {one["name"]: sbom.licences_of(one) for one in components}
    assert {"apache-airflow-core", "awscrt", "boto3", "fastcrc", "oss2"} <= licences.keys()
    assert sbom.unclear_licences(json.loads(bill.read_text())) == sbom.REVIEWED.keys()


def with_licence(document: dict[str, Any], package: str, licence: str) -> dict[str, Any]:
    """Return a bill in which a package has another licence."""
    changed = [
        {**one, "licenses": [{"license": {"id": licence}}]} if one["name"] == package else one
        for one in document["components"]
    ]
    return {**document, "components": changed}


def test_a_bill_that_is_not_the_wheels_is_seen(built: Built, bill: Path) -> None:
    """Of another version, with too little, a date, or a licence that nobody has looked at."""
    document = json.loads(bill.read_text())
    sbom.judge(document, __version__, built.wheel)
    main = document["metadata"]["component"]
    (root,) = (one for one in document["dependencies"] if one["ref"] == main["bom-ref"])
    fewer = [one for one in document["dependencies"] if one is not root]
    dated = {**document["metadata"], "timestamp": "2026-01-01T00:00:00Z"}
    for changed, reason in (
        ({**document, "dependencies": [*fewer, {**root, "dependsOn": []}]}, "asks for"),
        ({**document, "metadata": dated}, "changes each time"),
        (with_licence(document, "boto3", "AGPL-3.0-only"), r"licences of \['boto3'\]"),
    ):
        with pytest.raises(ReleaseError, match=reason):
            sbom.judge(changed, __version__, built.wheel)
    with pytest.raises(ReleaseError, match=f"{__version__}, not 9.9.9"):
        sbom.judge(document, "9.9.9", built.wheel)


def test_a_bill_that_is_not_of_the_schema_is_seen(bill: Path, tmp_path: Path) -> None:
    """Its head alone, right and wrong."""
    document = json.loads(bill.read_text())
    own = {"component": document["metadata"]["component"]}
    head = {**document, "metadata": own, "components": [], "dependencies": []}
    few = tmp_path / bill.name
    few.write_text(json.dumps(head))
    sbom.validate(few)
    few.write_text(json.dumps({**head, "specVersion": 16}))
    with pytest.raises(ReleaseError, match="not of the schema"):
        sbom.validate(few)


def test_files_that_are_not_as_they_were_are_seen(made: Made, tmp_path: Path) -> None:
    """A changed byte, and a file that nobody named."""
    folder = tmp_path / "dist"
    folder.mkdir()
    for path in made.dist.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    sums = folder / release.SUMS
    release.check_sums(sums)
    (folder / "more.txt").write_text("more")
    with pytest.raises(ReleaseError, match=r"more\.txt"):
        release.check_sums(sums)
    (folder / "more.txt").unlink()
    (notes,) = folder.glob("*.changes.md")
    notes.write_text(f"{notes.read_text()} ")
    with pytest.raises(ReleaseError, match=r"changes\.md"):
        release.check_sums(sums)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(member)
    assert opened is not None
    return opened.read()


def test_a_sdist_with_too_much_or_too_little_is_seen(built: Built, tmp_path: Path) -> None:
    """A file that git has not, and a licence that is not there."""
    artefacts.check_sdist(built.sdist, __version__)
    with tarfile.open(built.sdist) as archive:
        files = [one for one in archive if one.isfile()]
        members = [(one, _content(archive, one)) for one in files]
    changed = tmp_path / built.sdist.name
    for dropped, added, reason in (
        (None, "secrets.env", "git has not"),
        ("LICENSE", None, "lacks"),
    ):
        with tarfile.open(changed, "w:gz") as archive:
            for member, content in members:
                if member.name.partition("/")[2] != dropped:
                    archive.addfile(member, io.BytesIO(content))
            if added:
                archive.addfile(tarfile.TarInfo(f"{PACKAGE}-{__version__}/{added}"))
        with pytest.raises(ReleaseError, match=reason):
            artefacts.check_sdist(changed, __version__)


def test_a_tree_without_its_tag_is_not_published() -> None:
    """It is refused before anything is made."""
    with pytest.raises(ReleaseError, match=f"no tag v{re.escape(__version__)}9"):
        release.refuse_unless_final(f"{__version__}9")


def test_a_draft_of_the_changelog_has_every_fragment() -> None:
    """Under the heading of its type, in a date of its release."""
    drafted = changelog.render("9.9.9", "2026-12-01")
    assert drafted.strip().startswith("## 9.9.9 (2026-12-01)")
    names = {kind["directory"]: kind["name"] for kind in changelog.settings()["type"]}
    for fragment in changelog.fragments():
        heading = f"\n### {names[fragment.name.split('.')[1]]}\n"
        section = drafted.partition(heading)[2].partition("\n### ")[0]
        first, *_ = fragment.read_text().strip().splitlines()
        assert f"- {first}" in section, fragment.name
    assert f"# {PACKAGE} {__version__} (" in changelog.notes(__version__)


def tree_with(tmp_path: Path, **fragments: str) -> Path:
    """Return a tree that has the changelog, its settings, and fragments of the test's own."""
    folder = tmp_path / "changes"
    folder.mkdir()
    # Towncrier stages what it changes.
    run("git", "init", "--quiet", cwd=tmp_path)
    for name in ("pyproject.toml", "CHANGELOG.md", "changes/template.md"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for topic, text in fragments.items():
        (folder / f"{topic.replace('_', '.')}.md").write_text(text)
    return tmp_path


def test_fragments_are_moved_into_the_changelog(tmp_path: Path) -> None:
    """Above what was released before, which stays as it was; the files are gone."""
    tree = tree_with(tmp_path, one_added="New.\n", two_fixed="Mended.\n", one_added_2="More.\n")
    before = (tree / "CHANGELOG.md").read_text()
    changelog.write("9.9.9", "--date", "2026-12-01", tree=tree)
    head, mark, tail = before.partition(changelog.settings()["start_string"])
    added = "## 9.9.9 (2026-12-01)\n\n### Added\n\n- New.\n- More.\n\n### Fixed\n\n- Mended.\n"
    assert (tree / "CHANGELOG.md").read_text() == f"{head}{mark}\n{added}\n{tail.lstrip()}"
    assert changelog.fragments(tree / "changes") == []


def test_a_fragment_of_no_type_is_an_error(tmp_path: Path) -> None:
    """Towncrier would leave it out else, and nobody would miss it."""
    tree = tree_with(tmp_path, one_added="New.\n", two_improved="Better.\n")
    with pytest.raises(ReleaseError, match=r"two\.improved\.md"):
        changelog.render("9.9.9", "2026-12-01", tree)


def test_an_audit_that_reaches_nobody_says_so(tmp_path: Path) -> None:
    """It is no clean bill of health, and no failure either."""
    closed = "http://127.0.0.1:9"
    names = {name for name in os.environ if name.lower().endswith("_proxy")}
    proxies = {**dict.fromkeys(names, ""), "HTTPS_PROXY": closed, "https_proxy": closed}
    answer = audit.audit(tmp_path, {**child_environment(), **proxies})
    assert isinstance(answer, audit.NoData)
    assert audit.report(answer)[-1] == "audit: nothing is known of the packages, good or bad"
