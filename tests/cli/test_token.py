"""`clawback token` and `clawback audit`: who may ask, and what was done, from a shell."""

import json
import re

import pytest

from tests.cli.processes import clawback

CONFIG = "[apps.acme.stripe]\nwebhook_secrets = ['whsec_annual']\n"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Make an installation, and give the options that name it."""
    directory = tmp_path_factory.mktemp("tokens")
    file = directory / "clawback.toml"
    file.write_text(CONFIG)
    options = ("--config", str(file), "--data-dir", str(directory))
    assert 0 == clawback("migrate", *options).returncode
    return options


def test_a_token_is_made_replaced_and_revoked_from_a_shell(here):
    """It is alone on standard output, once; the list has what it opens, not what it is; each step is in the log."""
    made = clawback("token", "new", "backend", "--scopes", "write, read", "--expires-in", "90d", *here)
    (first,) = json.loads(clawback("token", "list", "--json", *here).stdout)["data"]
    rotated = clawback("token", "rotate", first["id"], "--keep", "0s", "--json", *here)
    second = json.loads(rotated.stdout)
    revoked = clawback("token", "revoke", second["id"], *here)
    listed = clawback("token", "list", *here)
    log = clawback("audit", "--json", *here)
    done = [(one["action"], one["target"]) for one in json.loads(log.stdout)["data"]]

    assert re.fullmatch(r"cb_[0-9a-f]{64}\n", made.stdout)
    assert "read, write" in made.stderr
    assert (["read", "write"], 90 * 86_400) == (first["scopes"], first["expires_at"] - first["created_at"])
    assert f"{second['id']} (backend) is revoked.\n" == revoked.stdout
    assert {"expired", "revoked"} <= set(re.findall(r"\w+", listed.stdout))
    assert [
        ("database.migrate", None),
        ("token.create", first["id"]),
        ("token.revoke", second["id"]),
        ("token.rotate", first["id"]),
    ] == sorted(done)
    for token in (made.stdout.strip(), second["token"]):
        assert token not in listed.stdout + log.stdout + log.stderr
    assert re.match(r"cli:[^@]+@.+", json.loads(log.stdout)["data"][0]["operator"])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("new", "two words", "--scopes", "read"), 2, "is no name"),
        (("new", "ops"), 2, "Missing option '--scopes'"),
        (("new", "ops", "--scopes", "read,root"), 2, "'root' is no scope: there are read, write, operate"),
        (("new", "ops", "--scopes", "read", "--expires-in", "soon"), 2, "write 90d, 12h, 30m or 45s"),
        (("rotate", "tok_none"), 1, "`clawback token list` shows those that there are"),
        (("revoke", "tok_none"), 1, "`clawback token list` shows those that there are"),
    ],
)
def test_a_mistake_costs_one_line(here, arguments, code, says):
    """Whatever was typed wrongly is said in one line, with what to do."""
    done = clawback("token", *arguments, *here)

    assert (code, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert says in done.stderr


def test_the_log_is_a_table_for_people(here):
    """Without --json a row is a line, with the words of the log."""
    done = clawback("audit", "--action", "database.migrate", "--limit", "1", *here)

    assert (0, "") == (done.returncode, done.stderr)
    assert "when (UTC)" in done.stdout
