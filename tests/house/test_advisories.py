"""`make audit` calls well only what was asked about, so that a closed network looks like no clean bill of health."""

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

from tests.house.tree import ROOT

SCRIPT = ROOT / "deploy" / "advisories.py"


@pytest.fixture(name="advisories", scope="module")
def _advisories() -> ModuleType:
    spec = importlib.util.spec_from_file_location("advisories", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_packages_without_an_advisory_are_well(advisories: ModuleType) -> None:
    """One line says how many were asked about."""
    said = [{"name": "aiohttp", "version": "3.14.5", "vulns": []}, {"name": "click", "version": "8.3.1", "vulns": []}]

    assert (["audit: no advisory about any of 2 packages"], True) == advisories.judge(said)


def test_an_advisory_is_named_with_its_remedy(advisories: ModuleType) -> None:
    """Each line says which package, which advisory, and which version mends it."""
    found = [{"id": "PYSEC-1", "fix_versions": ["3.14.6"]}, {"id": "PYSEC-2", "fix_versions": []}]
    lines, good = advisories.judge([{"name": "aiohttp", "version": "3.14.5", "vulns": found}])

    assert not good
    assert [
        "audit: aiohttp 3.14.5: PYSEC-1, mended in 3.14.6",
        "audit: aiohttp 3.14.5: PYSEC-2, mended in nothing yet",
    ] == lines


def test_what_could_not_be_asked_about_is_not_well(advisories: ModuleType) -> None:
    """A gateway that knows of no package must not look like packages without advisories."""
    lines, good = advisories.judge([{"name": "aiohttp", "skip_reason": "not found"}])

    assert not good
    assert lines == ["audit: 1 of 1 packages could not be asked about, aiohttp the first; pypi.org has to be in reach"]


def test_without_the_tool_one_line_says_so() -> None:
    """Whatever keeps the advisories from being asked, it is one line and exit code 1."""
    ran = subprocess.run([sys.executable, SCRIPT, "requirements.lock"], capture_output=True, text=True, check=False)

    assert (1, "") == (ran.returncode, ran.stderr)
    assert 1 == len(ran.stdout.splitlines())
    assert ran.stdout.startswith("audit: nothing could be asked")
