"""The command line: `clawback VERB`. A verb's code is imported when it is asked for, so that help is instant.

Exit codes: 0 done, 1 it failed, 2 it was asked or configured wrongly. A mistake of the operator costs one line (a
configuration one line per mistake), never a traceback; a traceback is a mistake of ours.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence

import click

from worker import garbage, lean, room

VERBS: Mapping[str, tuple[str, str]] = {
    "run": ("worker.cli.run", "Start everything here: broker, endpoint, workers."),
    "serve": ("worker.cli.serve", "Start the endpoint and the API alone."),
    "work": ("worker.cli.work", "Start the workers alone."),
    "migrate": ("worker.cli.migrate", "Bring the database up to date."),
    "demo": ("worker.cli.demo", "Play every story on a temporary directory, and tell whether each ended as it should."),
    "simulate": ("worker.cli.simulate", "Send genuinely signed notifications."),
    "listen": ("worker.cli.listen", "Show events as they come, and forward them to a receiver on this machine."),
    "trigger": ("worker.cli.trigger", "Send a signed sample of an event to a receiver."),
    "dead": ("worker.cli.dead", "Look at what failed too often, and retry or discard it."),
    "replay": ("worker.cli.replay", "Process stored notifications again."),
    "export": ("worker.cli.export", "Export refunds or events as CSV, JSON Lines or Parquet."),
    "prune": ("worker.cli.prune", "Forget now what is older than it is to be kept."),
    "rebuild": ("worker.cli.rebuild", "Fold the ledger again after products or policy changed."),
    "token": ("worker.cli.token", "Make, list, replace and revoke tokens while everything runs."),
    "audit": ("worker.cli.audit", "Show what operators did."),
    "reseal": ("worker.cli.reseal", "Seal the inbox anew after the encryption key was changed."),
    "erase": ("worker.cli.erase", "Remove a person, and keep the sums."),
    "doctor": ("worker.cli.doctor", "Check everything that can be checked, and say what to do."),
    "version": ("worker.cli.version", "Say which version this is."),
}
"""Verb → the module whose `command` it is, and its line in the list. A verb whose module is not there is not either."""

STAY_UP = frozenset({"serve", "work"})
"""Verbs whose processes are many and stay: what they hold in memory counts."""

EXIT_CODES: Mapping[str, int] = {
    "config.problems.ConfigError": 2,
    "worker.trust.TrustError": 2,
    "worker.lockfile.DirectoryInUse": 1,
    "worker.metrics.NoRoom": 1,
    "worker.room.NotWritten": 1,
    "worker.runtime.QueueUnavailable": 1,
    "worker.start.NotReady": 1,
    "worker.store.engine.Contended": 1,
    "worker.store.engine.StoreUnavailable": 1,
    "worker.store.postgresql.DriverMissing": 1,
    "worker.collector.ExtraMissing": 1,
    "worker.valkey.ValkeyUnavailable": 1,
}
"""Exceptions whose text is for the operator, by name: to import them here would cost each verb all of them."""

PREFIXES: Mapping[str, str] = {
    "worker.runtime.QueueUnavailable": "the broker is away: ",
    "worker.store.engine.Contended": "the database is busy: ",
    "worker.store.engine.StoreUnavailable": "the database is away: ",
}


class Verbs(click.Group):
    """The verbs, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """List the verbs that are there, in the order of `VERBS`."""
        return [verb for verb, (module, _) in VERBS.items() if importlib.util.find_spec(module) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        if cmd_name in STAY_UP:
            lean.import_alone("structlog")
        command: click.Command = importlib.import_module(VERBS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without importing anything."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, VERBS[verb][1]) for verb in self.list_commands(ctx)])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def clawback() -> None:
    """Turn refund notifications into revoked entitlements.

    Every verb that needs the configuration takes it from --config FILE or CLAWBACK_CONFIG; every key can be set in
    the environment too, as CLAWBACK_SECTION__KEY.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit with its code. Whatever it writes is for this user alone: receipts, secrets, keys."""
    os.umask(0o077)
    garbage.look_seldom()
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and give its exit code."""
    try:
        code = clawback.main(arguments, prog_name="clawback", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help())
        return 2
    except click.ClickException as error:
        _complain(error.format_message(), _usage(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except Exception as error:
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        if isinstance(error, OSError) and (line := room.refused(error)):
            _complain(line)
            return 1
        if name not in EXIT_CODES:
            raise
        _complain(PREFIXES.get(name, "") + str(error))
        return EXIT_CODES[name]
    return code if isinstance(code, int) else 0


def _complain(text: str, advice: str = "") -> None:
    for line in text.splitlines():
        click.echo(f"clawback: {line}{advice}", err=True)


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f" (see {context.command_path} --help)" if context is not None else ""
