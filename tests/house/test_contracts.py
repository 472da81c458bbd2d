"""Imports go one way, and the check that says so can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, ROOT

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")

FORBIDDEN = [
    ("config/policy.py", "import worker.runtime"),
    ("schemas/entry.py", "import handlers.errors"),
    ("schemas/base.py", "import os"),
    ("handlers/errors.py", "import time"),
    ("handlers/jws.py", "import redis"),
]


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT_IMPORTS), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


@pytest.fixture(name="copy")
def _copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_rooms_open_one_way() -> None:
    """Worker may import handlers, schemas and config, never the other way, and the core does no I/O."""
    linted = _lint(ROOT)

    assert (0, "") == (linted.returncode, linted.stderr), linted.stdout


@pytest.mark.parametrize(("file", "line"), FORBIDDEN)
def test_a_forbidden_import_is_found(copy: Path, file: str, line: str) -> None:
    """One import against the rule, in one file, breaks the contract and is named."""
    source = copy / file
    source.write_text(f"{source.read_text('utf-8')}\n{line}\n", "utf-8")

    linted = _lint(copy)

    importer, imported = (
        file.removesuffix(".py").replace("/", "."),
        line.removeprefix("import ").split(".")[0],
    )
    assert 1 == linted.returncode, linted.stdout
    assert any(importer in told and imported in told for told in linted.stdout.splitlines()), linted.stdout
