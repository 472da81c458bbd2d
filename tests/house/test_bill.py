"""`make sbom` lists what is shipped, and `make audit` asks about all that is locked.

Real: the targets, and the tool of the bill where its own environment is there: `make sbom` makes it, from the network.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.house.tree import ROOT

TOOLS = Path(sys.prefix) / "audit"
INSTALLED = TOOLS / ".installed"
PACKAGE = re.compile(r"(?P<name>[a-z0-9._-]+)(?:\[[a-z0-9,-]+\])?==(?P<version>[^ ;]+)")


def make(*arguments: str) -> str:
    """Run a target with the tools as they are, and give what it said."""
    command = ["make", "--no-print-directory", f"VENV={sys.prefix}", f"--old-file={INSTALLED}", *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == ran.returncode, ran.stderr
    return ran.stdout


def locked() -> dict[tuple[str, str], set[str]]:
    """Read the runtime lock: package and version → the hashes of its files."""
    lines = re.sub(r" *\\\n *", " ", (ROOT / "requirements.lock").read_text("utf-8")).splitlines()
    found = ((PACKAGE.match(line), re.findall("sha256:([0-9a-f]{64})", line)) for line in lines)
    return {(each["name"], each["version"]): set(sums) for each, sums in found if each}


@pytest.fixture(name="bill", scope="module")
def _bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not INSTALLED.exists():
        pytest.skip("the tool of `make sbom` is not here: run that once, it installs it")
    file = tmp_path_factory.mktemp("bill") / "clawback.cdx.json"
    said = make("sbom", f"SBOM={file}")
    assert f"{file} lists {len(locked())} packages.\n" == said
    return dict(json.loads(file.read_text("utf-8")))


def test_the_bill_lists_what_is_shipped(bill: dict[str, Any]) -> None:
    """Each package of the runtime lock is in it once, with its version and the hashes of its files; nothing else is."""
    listed = {
        (each["name"], each["version"]): {
            sum_["content"] for reference in each["externalReferences"] for sum_ in reference["hashes"]
        }
        for each in bill["components"]
    }

    assert locked() == listed
    assert len(bill["components"]) == len(listed)
    assert {f"pkg:pypi/{name}@{version}" for name, version in listed} == {each["purl"] for each in bill["components"]}


def test_the_bill_is_of_clawback_and_the_same_each_time(bill: dict[str, Any]) -> None:
    """It is a CycloneDX bill of this application, without a clock, a random number or a path of who made it."""
    about = bill["metadata"]["component"]

    assert ("CycloneDX", "application", "clawback") == (bill["bomFormat"], about["type"], about["name"])
    assert {"serialNumber", "timestamp"}.isdisjoint(bill.keys() | bill["metadata"].keys())
    assert str(ROOT) not in json.dumps(bill)


def test_every_package_of_the_lock_is_read() -> None:
    """What the bill is held against misses none: as many as the lock begins lines with, each with a hash."""
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()

    assert len([line for line in lines if line and not line.startswith((" ", "#"))]) == len(locked())
    assert all(locked().values())


def test_the_targets_name_what_they_are_about() -> None:
    """Without the tools the recipes can be read: the bill is of the runtime lock, the audit of every lock."""
    bill, audit = make("--dry-run", "sbom", "SBOM=bill.json"), make("--dry-run", "audit")

    assert "cyclonedx-py requirements requirements.lock --pyproject pyproject.toml" in bill
    assert "--output-file bill.json" in bill
    assert sorted(each.name for each in ROOT.glob("requirements*.lock")) == sorted(
        re.findall(r"requ[a-z-]+\.lock", audit)
    )
