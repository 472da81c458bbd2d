"""Every verb says what it did, or in one line what is wrong and what to do."""

import json
import subprocess
import sys

import click
import pytest

from tests.cli.processes import clawback
from tests.store.later import at_9999
from worker import garbage
from worker.cli import VERBS
from worker.cli import clawback as group
from worker.demo.trust import prepare
from worker.store.engine import Store

CONFIG = "[apps.acme.stripe]\nwebhook_secrets = ['whsec_annual']\n[server]\nport = 0\n"


@pytest.fixture
def config(tmp_path):
    """Write a small configuration and give the options that name it."""
    file = tmp_path / "clawback.toml"
    file.write_text(CONFIG)
    return ("--config", str(file), "--data-dir", str(tmp_path / "data"))


def test_help_lists_the_verbs():
    """Help is complete without importing a verb."""
    done = clawback("--help")

    assert 0 == done.returncode
    assert all(verb in done.stdout for verb in group.list_commands(click.Context(group)))
    assert {"run", "serve", "work", "migrate", "doctor", "version"} <= set(VERBS)


@pytest.mark.parametrize("verb", ["run", "serve", "work", "migrate", "doctor", "version"])
def test_every_verb_explains_itself(verb):
    """Each verb has a help of its own."""
    done = clawback(verb, "--help")

    assert 0 == done.returncode
    assert done.stdout.startswith(f"Usage: clawback {verb}")


def test_version_is_instant():
    """To ask for the version imports none of what takes long to import, so it costs hardly more than Python itself."""
    program = "import sys; from worker.cli import run; run(['version', '--json']); print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    document, _, modules = printed.rpartition("}")
    slow = {"aiohttp", "cryptography", "dramatiq", "pydantic", "redis", "rich", "sqlalchemy", "structlog"}

    assert {"version", "python", "platform"} == set(json.loads(document + "}"))
    assert set() == slow & set(modules.split())


def test_a_start_does_not_look_through_its_imports():
    """While a verb starts, Python looks for garbage seldom; a process that is ready leaves out what is there."""
    program = (
        "import gc\nfrom worker import garbage\nfrom worker.cli import main\n"
        "try: main(['version'])\nexcept SystemExit: print(gc.get_threshold()[0])\n"
        "garbage.leave_out_what_is_there()\ngarbage.look_as_usual()\n"
        "print(gc.get_threshold() == garbage.USUAL, gc.get_freeze_count() > 0)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert [str(garbage.SELDOM), "True True"] == printed.splitlines()[1:]


def test_run_begins_with_its_children():
    """Before the children of `clawback run` begin to import, it has imported none of what takes long."""
    program = "import sys, worker.cli.run; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    slow = {"aiohttp", "asyncio", "cryptography", "dramatiq", "pydantic", "redis", "rich", "sqlalchemy", "structlog"}
    assert set() == slow & set(printed.split())


@pytest.mark.parametrize("verb", ["running", "serve --processes 2", "work --processes 2"])
def test_supervisor_imports_only_what_it_runs(verb):
    """A supervisor has imported nothing that only its children, or a migration, need."""
    module = f"worker.cli.{verb.partition(' ')[0]}"
    program = f"import sys, {module}, worker.cli.common, worker.start, config.load; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    slow = {"aiohttp", "alembic", "cryptography", "dramatiq", "prometheus_client", "redis"}
    assert set() == slow & set(printed.split())


def test_what_stays_up_imports_nothing_for_what_it_does_not_do():
    """An endpoint holds neither rich, nor OpenTelemetry, nor C++, nor the other database; each can be had later."""
    program = (
        "import socket, sys; from worker.cli import run; ours, its = socket.socketpair(); ours.close()\n"
        "run(['serve', '--wait', '--control', str(its.detach())]); print(*sys.modules)\n"
        "import opentelemetry, rich, structlog; structlog.dev.ConsoleRenderer()"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    spared = {"rich", "pygments", "opentelemetry", "frozenlist._frozenlist", "difflib"}
    spared |= {"worker.store.sqlite", "sqlalchemy.dialects.sqlite"}
    assert set() == spared & set(printed.split())
    assert {"structlog", "redis", "worker.serve"} <= set(printed.split())


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("nonsense",), 2, "No such command 'nonsense'"),
        (("serve", "--nonsense"), 2, "No such option '--nonsense'"),
        (("serve", "--processes", "0"), 2, "Invalid value for '--processes'"),
        (("migrate", "--config", "/nowhere/clawback.toml"), 2, "there is no such file"),
    ],
)
def test_operators_mistake_is_one_line(arguments, code, line):
    """A mistake at the command line is one line on standard error, and exit code 2."""
    done = clawback(*arguments)

    assert code == done.returncode
    assert 1 == len(done.stderr.splitlines())
    assert line in done.stderr
    assert "" == done.stdout


def test_unknown_key_is_one_line(config, tmp_path):
    """A wrong configuration is one line per mistake, and exit code 2."""
    (tmp_path / "clawback.toml").write_text("[server]\nprot = 1\n[stroe]\n")

    done = clawback("doctor", *config)

    assert 2 == done.returncode
    assert 2 == len(done.stderr.splitlines())
    assert "server.prot is not a key; did you mean server.port?" in done.stderr


@pytest.mark.parametrize("verb", ["serve", "work"])
def test_pending_migration_refuses_to_start(verb, config):
    """Neither endpoint nor workers start on a database that they do not fit."""
    done = clawback(verb, *config)

    assert 1 == done.returncode
    assert "clawback: the database needs a migration: run `clawback migrate` first" == done.stderr.strip()


@pytest.mark.parametrize("verb", ["serve", "work", "migrate"])
def test_a_database_that_is_too_new_is_left_alone(verb, config, tmp_path):
    """Tables that a newer version made, and that this one would not understand, are not touched by any verb."""
    assert 0 == clawback("migrate", *config).returncode
    store = Store(f"sqlite:///{tmp_path / 'data' / 'clawback.db'}")
    at_9999(store, "9999")
    store.close()

    done = clawback(verb, *config)

    assert 1 == done.returncode
    assert "clawback: the database belongs to a newer version: update Clawback on this host" == done.stderr.strip()


def test_migrate_is_safe_to_repeat(config):
    """A second migration changes nothing and says so."""
    first, second = clawback("migrate", "--json", *config), clawback("migrate", "--json", *config)

    assert (True, False) == (json.loads(first.stdout)["changed"], json.loads(second.stdout)["changed"])


def test_doctor_exits_by_its_verdict(config):
    """A failure makes the exit code 1, and JSON carries every finding."""
    sick = clawback("doctor", "--json", *config)
    clawback("migrate", *config)
    well = clawback("doctor", "--json", *config)

    assert (1, False) == (sick.returncode, json.loads(sick.stdout)["healthy"])
    assert (0, True) == (well.returncode, json.loads(well.stdout)["healthy"])


def test_database_that_cannot_be_opened_is_one_line(config, tmp_path):
    """A database that is away is told in one line, without a traceback."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "clawback.db").mkdir()

    done = clawback("migrate", *config)

    assert 1 == done.returncode
    says = "cannot be opened to write: let this user write the file and its directory"
    file = tmp_path / "data" / "clawback.db"
    assert [f"clawback: the database is away: {file}: {says}"] == done.stderr.splitlines()


def test_a_demo_keeps_off_a_real_database(tmp_path):
    """With a database named and no app, nobody wants the demo: one line, and nothing is touched."""
    done = clawback("run", "--data-dir", str(tmp_path / "data"), environment={"CLAWBACK_STORE__URL": "sqlite:///x.db"})

    assert 2 == done.returncode
    assert "CLAWBACK_STORE__URL is set and no app is" in done.stderr
    assert not (tmp_path / "data" / "demo").exists()


@pytest.mark.parametrize("name", ["CLAWBACK_STORE__URL", "CLAWBACK_APPS__ACME__STRIPE__WEBHOOK_SECRETS"])
def test_no_demo_where_something_is_configured(tmp_path, name):
    """A demo that was here once is not what is looked at when the environment names another database, or an app."""
    prepare(tmp_path / "data", any_port=True)
    value = f"sqlite:///{tmp_path}/x.db" if "URL" in name else "whsec_annual"

    here, there = (
        json.loads(clawback("doctor", "--json", "--data-dir", str(tmp_path / "data"), environment=chosen).stdout)
        for chosen in (None, {name: value})
    )

    assert [True, False] == ["the demo's" in said["findings"][0]["detail"] for said in (here, there)]


def test_a_database_is_private(config, tmp_path):
    """Whatever the umask, what a verb writes is for this user alone."""
    assert 0 == clawback("migrate", *config).returncode
    [database] = tmp_path.rglob("*.db")

    assert 0o600 == database.stat().st_mode & 0o777


def test_an_empty_ledger_needs_no_rebuild(config):
    """A rebuild of nothing says so and changes nothing."""
    assert 0 == clawback("migrate", *config).returncode
    done = clawback("rebuild", *config, "--json")

    assert {"lineages": 0, "differing": [], "events": 0, "dry_run": False} == json.loads(done.stdout)
