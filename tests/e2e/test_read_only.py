"""The service as its image runs it: as nobody, without a privilege, with nothing to write to but its data directory.

Real: every process and a file system that is read-only. Double: the image, for which a mount namespace stands; that
this machine's interpreter may be where nobody but root may read takes one capability more than the image has.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.processes import ROOT, announced, belonging_to
from tests.services import require_valkey

USER = 10001
CONFIG = "[server]\nport = 0\n[apps.acme.stripe]\nwebhook_secrets = ['whsec_annual']\n"
READS = "-all,+dac_read_search"
AS_IN_THE_IMAGE = f"""
set -eu
mount --make-rprivate /
awk '{{print $5}}' /proc/self/mountinfo | while read -r at; do mount -o remount,bind,ro "$at" 2>/dev/null || true; done
mount -t tmpfs -o uid={USER},gid={USER},mode=0700 tmpfs "$1"
cd "$1"
shift
exec setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs \\
    --bounding-set={READS} --inh-caps={READS} --ambient-caps={READS} "$@"
"""
TRY = "import pathlib, sys; [pathlib.Path(at, 'x').touch() for at in sys.argv[1:]]"


@pytest.fixture(name="here")
def _here() -> Iterator[Path]:
    """Make a directory that everybody may pass through; skip where there are no namespaces to be had."""
    require_valkey()
    programs = all(shutil.which(name) for name in ("unshare", "setpriv", "mount", "awk"))
    if os.geteuid() != 0 or not programs or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("needs root, unshare, setpriv and mount: it makes a namespace whose files are read-only")
    directory = Path(tempfile.mkdtemp(prefix="clawback-read-only-"))
    directory.chmod(0o755)
    (directory / "data").mkdir()
    (directory / "clawback.toml").write_text(CONFIG, "utf-8")
    yield directory / "data"
    shutil.rmtree(directory)


def _as_in_the_image(here: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/var/lib/clawback",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CLAWBACK_DATA_DIR": str(here),
    }
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", AS_IN_THE_IMAGE, "sh", str(here), sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.e2e
def test_everything_runs_as_nobody_on_a_read_only_file_system(here: Path) -> None:
    """Broker, endpoint and workers come up, answer and stop in order, and all they write is in the data directory."""
    config = here.parent / "clawback.toml"
    process = _as_in_the_image(here, "-m", "worker.cli", "run", "--json", "--config", str(config))
    try:
        with urlopen(f"{announced(process)['api'].removesuffix('/v1')}/readyz") as answer:  # noqa: S310 - on this machine
            ready = json.load(answer)["status"]
        running = belonging_to(here.parent)
        users = {
            line.split()[1]
            for pid in running
            for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
            if line.startswith("Uid:")
        }
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)

    assert "ready" == ready
    assert {str(USER)} == users
    assert {"run", "serve", "work"} <= {word for command in running.values() for word in command.split()}
    assert (0, []) == (process.returncode, [line for line in said.splitlines() if '"level": "error"' in line])


@pytest.mark.e2e
@pytest.mark.parametrize("elsewhere", [str(ROOT), "/tmp", "/"])  # noqa: S108 - tried, not used
def test_nothing_else_could_be_written_to(here: Path, elsewhere: str) -> None:
    """What the test above runs in is as it says: only the data directory takes a file."""
    fine = _as_in_the_image(here, "-c", TRY, str(here))
    refused = _as_in_the_image(here, "-c", TRY, elsewhere)

    assert (0, "") == (fine.wait(60), fine.communicate()[1])
    assert "Read-only file system" in refused.communicate(timeout=60)[1]
