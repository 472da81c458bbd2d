"""The documents speak of what is there."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from worker.cli import VERBS

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
README = ROOT / "README.md"
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
STATION = re.compile(r"`(?P<file>[\w/]+\.py): (?P<names>[\w, ]+)`")
SCREEN_LINES = 60


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _links(document: Path) -> Iterator[tuple[str, str]]:
    """Walk over the links to files and headings of this repository, code blocks left out."""
    prose = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for match in LINK.finditer(prose):
        if not re.match(r"[a-z]+:", match["target"]):
            path, _, heading = match["target"].partition("#")
            yield path, heading


def _anchors(document: Path) -> set[str]:
    """Name the headings of a document as GitHub does: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ +(.+)$", document.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every link within the repository names a file that exists and a heading that is in it."""
    broken = []
    for path, heading in _links(document):
        target = (document.parent / path) if path else document
        if not target.exists() or (heading and heading not in _anchors(target)):
            broken.append(f"{path}#{heading}".rstrip("#"))

    assert [] == broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_tables_show_all_that_is_written_in_them(document: Path) -> None:
    """No row has more cells, or fewer, than the head of its table: what is too much is shown nowhere."""
    prose = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    tables = re.findall(r"(?:^ *\|.*\n)+", prose, flags=re.MULTILINE)
    cells = [[(row, len(re.findall(r"(?<!\\)\|", row))) for row in table.splitlines()] for table in tables]

    assert [] == [row for table in cells for row, count in table if count != table[0][1]]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    """What a document tells to type can be typed."""
    named = set(re.findall(r"`make ([a-z][a-z-]*)", document.read_text("utf-8")))

    assert set() == named - _targets()


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_verb_that_is_named_exists(document: Path) -> None:
    """A document names no command that the command line does not have."""
    named = set(re.findall(r"\bclawback ([a-z]+)\b", document.read_text("utf-8")))

    assert set() == named - set(VERBS)


def test_the_readme_names_every_verb() -> None:
    """Whoever reads the front page has seen each command once."""
    assert [] == [verb for verb in VERBS if f"`clawback {verb}" not in README.read_text("utf-8")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_stations_are_where_the_documents_say(document: Path) -> None:
    """`file.py: name` names a function, class or constant at the top of that file."""
    lost = []
    for match in STATION.finditer(document.read_text("utf-8")):
        file = ROOT / match["file"]
        defined = _defined(file) if file.exists() else set()
        lost += [f"{match['file']}: {name}" for name in match["names"].split(", ") if name not in defined]

    assert [] == lost


def _defined(file: Path) -> set[str]:
    """Name what is defined at the top of a file, and the methods of its classes."""
    tree = ast.parse(file.read_text("utf-8"))
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    names = set()
    for node in (node for body in bodies for node in body):
        names |= {getattr(node, "name", "")} - {""}
        targets = [*getattr(node, "targets", []), getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_every_threat_has_its_test() -> None:
    """No row of the threat model is without a test that would fail."""
    threats = (ROOT / "docs" / "security.md").read_text("utf-8").partition("## Threats")[2]
    rows = [line for line in threats.splitlines() if line.startswith("| ")][1:]

    assert rows
    assert [] == [row for row in rows if not any(match["file"].startswith("tests/") for match in STATION.finditer(row))]


def test_every_promise_has_its_test() -> None:
    """Each row of docs/reliability.md that promises something names a test, or is a part of the one above it."""
    text = (ROOT / "docs" / "reliability.md").read_text("utf-8").partition("## Faults")[2]
    tables = re.findall(r"^\|[^\n]*\btest \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]

    assert len(tables) == 3
    assert [] == [row for row in rows if not re.search(r"tests/|the same \||\| the same; ", row)]
    assert [] == [path for path in re.findall(r"`(tests/[\w/]+(?:\.py)?)[`:]", text) if not (ROOT / path).exists()]


def test_the_readme_begins_with_the_two_commands() -> None:
    """Who comes through the front door reads `make run` and `make test` before anything longer."""
    first_screen = README.read_text("utf-8").splitlines()[:SCREEN_LINES]

    assert ["make run", "make test"] == [
        line.split("#")[0].strip() for line in first_screen if line.startswith("make ")
    ]


def test_ci_runs_what_the_readme_says() -> None:
    """The command that people are told to type is the one that gates every change."""
    assert re.search(r"\bmake test$", (ROOT / ".ci" / "run").read_text("utf-8"), flags=re.MULTILINE)


def test_the_changelog_knows_this_version() -> None:
    """The version of the project has a section in the changelog, and it is the newest one."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    released = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)

    assert version == next(name for name in released if name != "Unreleased")


@pytest.mark.parametrize("decision", DECISIONS, ids=_name)
def test_a_decision_fits_a_screen(decision: Path) -> None:
    """A decision has a number, says what, why and at what price, and is read without scrolling."""
    text = decision.read_text("utf-8")

    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", decision.name)
    assert ["Context", "Decision", "Consequences"] == re.findall(r"^## (.+)$", text, flags=re.MULTILINE)[:3]
    assert text.count("\n") <= SCREEN_LINES


def test_decisions_are_numbered_without_gaps() -> None:
    """Each number is given once, in order."""
    assert [f"{number:04}" for number in range(1, len(DECISIONS) + 1)] == [path.name[:4] for path in DECISIONS]


def test_the_glossary_is_in_order() -> None:
    """Terms are found by looking: within each section they stand in the order of the alphabet."""
    sections = re.split(r"^## .+$", (ROOT / "docs" / "glossary.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    for section in sections:
        terms = re.findall(r"^\*\*(.+?)\*\*", section, flags=re.MULTILINE)

        assert sorted(terms, key=str.lower) == terms
