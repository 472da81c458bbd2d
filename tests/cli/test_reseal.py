"""`clawback reseal` says what it sealed, what it could not open, or which setting is missing."""

import json

from tests.cli.processes import clawback

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
CONFIG = "[apps.acme.stripe]\nwebhook_secrets = ['whsec_annual']\n"


def test_it_says_what_it_did(tmp_path):
    """Without a key it fails with one line that names the setting; with one it tells how much that was."""
    file = tmp_path / "clawback.toml"
    file.write_text(CONFIG)
    options = ("--config", str(file), "--data-dir", str(tmp_path / "data"))
    pending = clawback("reseal", *options)
    assert 0 == clawback("migrate", *options).returncode
    bare = clawback("reseal", *options)
    file.write_text(f"{CONFIG}[store]\nencryption_keys = ['{KEY}']\n")
    done, told = clawback("reseal", *options), clawback("reseal", "--dry-run", "--json", *options)

    assert (1, True) == (pending.returncode, "clawback migrate" in pending.stderr)
    assert (1, True, 1) == (bare.returncode, "encryption_keys" in bare.stderr, len(bare.stderr.splitlines()))
    assert (0, "0 of 0 notifications were sealed with the first key.\n") == (done.returncode, done.stdout)
    assert {"looked": 0, "sealed": 0, "closed": 0, "dry_run": True} == json.loads(told.stdout)
