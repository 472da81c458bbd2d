"""What is installed is exactly what was locked, from wherever the installer's own configuration says."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.house.tree import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-fuzz.lock", "requirements-audit.lock")
APART = {"requirements-fuzz.lock": "fuzz", "requirements-audit.lock": "audit"}
"""Locks of one group alone: one comes on top of the development lock, the other into an environment of its own."""
HASHES = r"(?: +--hash=sha256:[0-9a-f]{64})+"
NAME = r"(?P<name>[A-Za-z0-9._-]+)(?:\[(?P<extras>[a-z0-9,._-]+)\])?"
PIN = re.compile(rf"{NAME}==(?P<version>[^ ;]+)(?: ;[^\\]*?)?{HASHES}")


class Pin(NamedTuple):
    """One locked distribution."""

    name: str
    version: Version
    extras: frozenset[str] = frozenset()


def _logical_lines(lock: str) -> list[str]:
    """Join continued lines and drop comments, as pip does."""
    text = (ROOT / lock).read_text("utf-8")
    lines = re.sub(r" *\\\n *", " ", text).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _pins(lock: str) -> set[Pin]:
    matches = (PIN.fullmatch(line) for line in _logical_lines(lock))
    return {
        Pin(
            canonicalize_name(match["name"]),
            Version(match["version"]),
            frozenset((match["extras"] or "").split(",")) - {""},
        )
        for match in matches
        if match
    }


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def _wanted(project: dict[str, Any], lock: str) -> list[Requirement]:
    groups = project["dependency-groups"]
    if lock in APART:
        return [Requirement(text) for text in groups[APART[lock]]]
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *extras["fast"], *extras["postgresql"]]
    wanted += groups["build"] if lock == "requirements.lock" else [*groups["build"], *groups["dev"], *extras["otel"]]
    return [Requirement(text) for text in wanted if isinstance(text, str)]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_carries_its_hashes(lock: str) -> None:
    """A lock holds exact versions with SHA-256 hashes, and no option of the installer."""
    assert [] == [line for line in _logical_lines(lock) if not PIN.fullmatch(line)]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place(lock: str) -> None:
    """Where packages come from is the machine's business: no address, no file, no index."""
    text = (ROOT / lock).read_text("utf-8")

    assert [] == [word for word in ("://", "file:", " @ ") if word in text]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_locked(lock: str) -> None:
    """Each dependency that the project declares stands in the lock, at a version that it allows."""
    pins = _pins(lock)
    allowed = {
        requirement: any(
            pin.name == canonicalize_name(requirement.name) and pin.version in requirement.specifier for pin in pins
        )
        for requirement in _wanted(_project(), lock)
    }

    assert [] == [str(requirement) for requirement, locked in allowed.items() if not locked]


def _asked_of_others(pins: set[Pin]) -> Iterator[Requirement]:
    """Yield what locked distributions that are installed here ask of others, with the extras they are locked with."""
    for pin in pins:
        try:
            texts = requires(pin.name) or []
        except PackageNotFoundError:  # for another system, or of a lock that is installed elsewhere
            continue
        for asked in map(Requirement, texts):
            if asked.marker is None or any(asked.marker.evaluate({"extra": extra}) for extra in ("", *pin.extras)):
                yield asked


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_asked_for_with_an_extra_is_locked_with_it(lock: str) -> None:
    """A pin holds for what is asked for with an extra only if it has that extra itself."""
    # Every installation broke on the day on which coverage 7.17.4 came out: pytest-cov asks for coverage[toml], the
    # lock said coverage==7.17.3, and pip turned to the newest release, for which there was no hash.
    pins = _pins(lock)
    extras = {pin.name: pin.extras for pin in pins}
    asked = [*_wanted(_project(), lock), *_asked_of_others(pins)]

    assert [] == [
        str(each) for each in asked if not each.extras <= extras.get(canonicalize_name(each.name), each.extras)
    ]


def test_tests_run_on_what_is_shipped() -> None:
    """The development lock holds every pin of the runtime lock: what is tested is what runs."""
    assert set() == _pins("requirements.lock") - _pins("requirements-dev.lock")


def test_the_build_backend_is_locked() -> None:
    """What builds the project is pinned like what runs it."""
    backend = {canonicalize_name(Requirement(text).name) for text in _project()["build-system"]["requires"]}

    assert set() == backend - {pin.name for pin in _pins("requirements.lock")}


@pytest.mark.parametrize("line", ["aiohttp", "aiohttp==3.14.5", "aiohttp>=3 --hash=sha256:" + "0" * 64, "--no-index"])
def test_a_loose_requirement_is_seen(line: str) -> None:
    """Without an exact version and a hash it is no pin."""
    assert None is PIN.fullmatch(line)


def test_every_installation_asks_for_hashes() -> None:
    """Nothing is installed from a lock without checking its hashes."""
    text = "".join((ROOT / name).read_text("utf-8") for name in ("Makefile", "Dockerfile"))
    installations = [line for line in text.splitlines() if re.search(r"-r \S*requirements\S*\.lock", line)]

    assert installations
    assert [] == [line for line in installations if "--require-hashes" not in line]
