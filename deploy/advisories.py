"""Ask PyPI's advisories about everything that is locked, and count what could not be asked about as a failure.

`python advisories.py requirements.lock …`, where pip-audit is installed: `make audit` sees to both. By itself pip-audit
calls a package of which it was told nothing "skipped", and ends well: behind a gateway that answers 404 nothing is
vulnerable.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# The locks are complete and hashed, so nothing has to be resolved or built to know what they install.
ASK = ("pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json")


def main(locks: Sequence[str]) -> int:
    """Print a line for each advisory, and one that sums up."""
    options = [word for lock in locks for word in ("--requirement", lock)]
    done = subprocess.run([sys.executable, "-m", *ASK, *options], capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    try:
        lines, good = judge(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError):
        why = (done.stderr.strip().splitlines() or ["nothing was said"])[-1].partition(": ")[0]
        lines, good = [f"audit: nothing could be asked ({why}); pypi.org has to be in reach"], False
    sys.stdout.write("\n".join([*lines, ""]))
    return 0 if good else 1


def judge(dependencies: Sequence[Mapping[str, Any]]) -> tuple[list[str], bool]:
    """Say what is known of each, and whether all is well."""
    skipped = [one["name"] for one in dependencies if "skip_reason" in one]
    bad = [
        f"audit: {one['name']} {one['version']}: {found['id']}, mended in {_versions(found['fix_versions'])}"
        for one in dependencies
        for found in one.get("vulns", ())
    ]
    if skipped:
        bad.append(
            f"audit: {len(skipped)} of {len(dependencies)} packages could not be asked about, {skipped[0]} the first; "
            "pypi.org has to be in reach"
        )
    return bad or [f"audit: no advisory about any of {len(dependencies)} packages"], not bad


def _versions(versions: Sequence[str]) -> str:
    return ", ".join(versions) or "nothing yet"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
