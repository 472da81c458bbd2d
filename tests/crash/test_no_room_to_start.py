"""The disk is full, or may only be read, before anything starts: one line says which and what to do, and nothing stays.

Real: every process, a small file system that is full. Doubles: none. What may be asserted: exit codes, what is said,
which processes are left.
"""

import subprocess
from pathlib import Path

import pytest

from tests.cli.processes import belonging_to, clawback
from tests.crash.test_database import fill, small_disk
from tests.services import require_valkey

pytestmark = [pytest.mark.crash, pytest.mark.e2e]

CONFIG = '[server]\nport = 0\n[apps.acme.stripe]\nwebhook_secrets = ["whsec_annual"]\n'
FULL = "the disk is full: make room there"
CLOSED = ("cannot be written (Read-only file system)", "cannot be opened to write")
SPARE_BYTES = 160 * 1024
"""Enough for the lock, the key and an empty database, and for no tables."""


def said_once(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    """Hold that a verb failed with one line that has one of these words."""
    assert (1, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
    assert any(word in done.stderr for word in words), done.stderr


@pytest.fixture(name="config")
def _config(tmp_path: Path) -> Path:
    require_valkey()
    (tmp_path / "clawback.toml").write_text(CONFIG)
    return tmp_path / "clawback.toml"


@pytest.mark.parametrize("before", ["new", "old"])
def test_a_full_disk_is_one_line(config: Path, before: str):
    """Whatever starts on a full disk says so in one line with what to do, exits with 1 and leaves nothing running."""
    with small_disk() as disk:
        options = ("--config", str(config), "--data-dir", str(disk / "data"))
        if before == "old":
            assert 0 == clawback("migrate", *options).returncode
        fill(disk / "ballast")

        said_once(clawback("run", *options), FULL)
        said_once(clawback("run", "--data-dir", str(disk / "data")), FULL)
        said_once(clawback("serve", *options), FULL)
        said_once(clawback("work", *options), FULL)
        said_once(clawback("migrate", *options), FULL)
        said_once(clawback("export", "refunds", "--output", str(disk / "refunds.csv"), *options), FULL)
        assert not list(disk.glob("*refunds.csv*"))
        assert FULL in " ".join(clawback("doctor", *options).stdout.split())
        assert {} == belonging_to(disk)


def test_room_for_less_than_a_migration_is_one_line(config: Path):
    """A migration that runs out of room says so in one line, and once there is some it begins anew."""
    with small_disk() as disk:
        options = ("--config", str(config), "--data-dir", str(disk / "data"))
        (disk / "spare").write_bytes(bytes(SPARE_BYTES))
        fill(disk / "ballast")
        (disk / "spare").unlink()

        said_once(clawback("run", *options), FULL)
        (disk / "ballast").unlink()
        assert 0 == clawback("migrate", *options).returncode


def test_a_disk_that_may_only_be_read_is_one_line(config: Path):
    """Whatever starts on a disk that may only be read says so in one line, exits with 1 and leaves nothing running."""
    with small_disk() as disk:
        options = ("--config", str(config), "--data-dir", str(disk / "data"))
        assert 0 == clawback("migrate", *options).returncode
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

        for verb in ("run", "serve", "work"):
            said_once(clawback(verb, *options), *CLOSED)
        assert {} == belonging_to(disk)
