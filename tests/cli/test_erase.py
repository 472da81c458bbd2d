"""`clawback erase` asks first, says what it did, and says what may be left."""

import json
from pathlib import Path

import pytest

from tests.cli.processes import clawback

CONFIG = "[apps.acme.stripe]\nwebhook_secrets = ['whsec_annual']\n"


@pytest.fixture(name="options")
def _options(tmp_path: Path) -> tuple[str, ...]:
    file = tmp_path / "clawback.toml"
    file.write_text(CONFIG)
    options = ("--config", str(file), "--data-dir", str(tmp_path / "data"))
    assert 0 == clawback("migrate", *options).returncode
    return options


def test_it_says_what_it_did(options: tuple[str, ...]):
    """A user of whom nothing is known is erased like any other; a dry run counts; without a yes nothing is done."""
    counted, done = (
        clawback("erase", "ann", *options, "--dry-run"),
        clawback("erase", "ann", *options, "--yes", "--json"),
    )
    unasked = clawback("erase", "ann", *options)

    assert (0, True) == (counted.returncode, counted.stdout.startswith("Would erase: 1 names, 0 lineages"))
    assert (0, 0, False) == (done.returncode, json.loads(done.stdout)["entries"], json.loads(done.stdout)["remains"])
    assert 130 == unasked.returncode


def test_an_app_that_is_not_there_is_told(options: tuple[str, ...]):
    """A slip of the operator's costs one line and exit code 2."""
    done = clawback("erase", "ann", "--app", "acne", *options, "--yes")

    assert (2, True) == (done.returncode, "no app 'acne' is configured" in done.stderr)
