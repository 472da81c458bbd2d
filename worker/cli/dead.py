"""`clawback dead`: what failed too often, or was not understood, and what is to become of it."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.choosing import refuse_empty_span, selection_options, time_options
from worker.cli.common import Failure, installation_options, json_option, print_json
from worker.cli.opened import opened
from worker.cli.replay import count, how_many, named, replay_all, until_now

if TYPE_CHECKING:
    from schemas.resources import Notification
    from worker.runtime import Runtime
    from worker.store.selection import Chosen, Selection

KINDS = ("dead", "quarantined")
"""What waits for somebody to look at it."""
NOTE_CHARACTERS_MAX = 500
FOLDED_AFTER = 200
"""Characters, where the table goes to no terminal."""


@click.group("dead")
def command() -> None:
    """Look at what failed too often, and retry or discard it.

    With --status quarantined the same goes for what was authentic and not understood.
    """


def _filters(verb: Any) -> Any:
    """Give a verb the options that choose among what is dead."""
    kind = click.option(
        "--status", type=click.Choice(KINDS), default=KINDS[0], show_default=True, help="What to look at."
    )
    type_ = click.option("--type", metavar="TYPE", help="Of this type, in the platform's word.")
    return selection_options(kind(type_(time_options("What came")(verb))))


@command.command("list")
@_filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many at most.")
@installation_options
@json_option
def list_(config: Path | None, data_dir: Path, *, limit: int, as_json: bool, **options: Any) -> None:
    """List them, the oldest first."""
    from worker.store import selection

    wanted = _wanted(options)
    with opened(config, data_dir) as runtime:
        with runtime.store.read() as connection:
            found = selection.walk(connection, wanted, after=selection.FIRST, limit=limit + 1)
        shown = _find(runtime, [each.id for each in found[:limit]])
    if as_json:
        data = [each.model_dump(mode="json") for each in shown]
        print_json({"object": "list", "data": data, "has_more": len(found) > limit})
    else:
        _print_table(shown)
        if len(found) > limit:
            click.echo(f"There are more than these {limit}: --limit shows them.", err=True)


@command.command("show")
@click.argument("id_", metavar="ID")
@installation_options
@json_option
def show(id_: str, config: Path | None, data_dir: Path, *, as_json: bool) -> None:
    """Show one of them.

    What it is, why it is there, how far it came, and what it asks for.
    """
    with opened(config, data_dir) as runtime:
        named(runtime, [id_])
        [shown] = _find(runtime, [id_])
    document = shown.model_dump(mode="json")
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        at = f"  {_moment(value)}" if name.endswith("_at") else ""
        if value not in (None, "", [], {}) and name != "object":
            click.echo(f"{name:16} {value}{at}")


@command.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All of them, or all that the options choose.")
@_filters
@click.option("--yes", is_flag=True, help="Do not ask.")
@installation_options
@json_option
def retry(ids: tuple[str, ...], config: Path | None, data_dir: Path, *, as_json: bool, **options: Any) -> None:
    """Process them again.

    These, or --all, once what made them fail is mended. As `clawback replay` does it: what fails again is dead again.
    """
    if bool(ids) == options["everything"]:
        raise click.UsageError("name notifications by their ids, or say --all")
    wanted = _wanted(options)
    with opened(config, data_dir) as runtime:
        if ids:
            chosen = named(runtime, ids)
            _refuse_others({each.id: each.status for each in chosen})
            done = _retry(runtime, chosen, len(chosen))
        else:
            done = _retry_all(runtime, until_now(runtime, wanted), yes=options["yes"])
    if as_json:
        print_json({"retried": done})
    else:
        click.echo(f"{done} accepted again, for the workers to take up." if done else "Nothing is there to retry.")


@command.command("discard")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--note", default="", help="Why, in a few words: it stays on record.")
@installation_options
@json_option
def discard(ids: tuple[str, ...], config: Path | None, data_dir: Path, *, note: str, as_json: bool) -> None:
    """Give these up.

    They are ignored from now on, as `discarded`, and what they were stays on record. Nothing is deleted: `clawback
    replay ID` takes it back.
    """
    if len(note) > NOTE_CHARACTERS_MAX or not note.isprintable():
        raise click.UsageError(f"--note is one line of at most {NOTE_CHARACTERS_MAX} characters")
    from sqlalchemy import Connection

    from worker.deeds import of_the_command_line
    from worker.store import selection

    def change(connection: Connection) -> None:
        _refuse_others(selection.statuses(connection, ids, locked=True))
        selection.discard(connection, ids, note=note, now_ms=int(runtime.clock() * 1000))
        for id_ in dict.fromkeys(ids):
            deed.note(connection, id_)

    with opened(config, data_dir) as runtime:
        deed = of_the_command_line("notification.discard", runtime.clock)
        named(runtime, ids)
        runtime.store.change(change)
    discarded = list(dict.fromkeys(ids))
    if as_json:
        print_json({"discarded": discarded})
    else:
        click.echo(f"{len(discarded)} discarded; `clawback replay ID` takes it back.")


def _wanted(options: dict[str, Any]) -> "Selection":
    from worker.store.selection import Selection

    refuse_empty_span(options["since_ms"], options["until_ms"])
    names = ("app", "platform", "environment", "type", "since_ms", "until_ms")
    return Selection(statuses=(options["status"],), **{name: options[name] for name in names})


def _retry_all(runtime: "Runtime", wanted: "Selection", *, yes: bool) -> int:
    counted = count(runtime, wanted)
    total = sum(counted.values())
    if total and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"{how_many(counted)} would be retried: say --yes, as nobody is here to be asked")
        click.confirm(f"Retry {how_many(counted)}?", abort=True, err=True)
    return _retry(runtime, wanted, total)


def _retry(runtime: "Runtime", wanted: "Selection | Sequence[Chosen]", total: int) -> int:
    from worker.deeds import of_the_command_line

    return replay_all(runtime, wanted, total, of_the_command_line("notification.retry", runtime.clock))


def _refuse_others(statuses: dict[str, str]) -> None:
    """Refuse what waits for nobody, before anything is done to the others."""
    for id_, status in statuses.items():
        if status not in KINDS:
            advice = "it is on its way" if status == "accepted" else "`clawback replay` repeats it"
            raise Failure(f"{id_} is {status}, neither {' nor '.join(KINDS)}: {advice}; nothing was done")


def _find(runtime: "Runtime", ids: Sequence[str]) -> "list[Notification]":
    from worker.store.notices import find_notifications
    from worker.web.notifications import action_of

    with runtime.store.read() as connection:
        return find_notifications(connection, ids, action_of=partial(action_of, runtime))


def _print_table(shown: "Sequence[Notification]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("notification", "received", "app", "platform", "type", "reason", "attempts"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "notification")
    for each in shown:
        type_ = f"{each.type} {each.subtype}".strip()
        where = (each.id, _moment(each.received_at), each.app, each.platform)
        table.add_row(*map(Text, (*where, type_, each.reason or "", str(each.attempts))))
    if shown:
        Console(width=None if sys.stdout.isatty() else FOLDED_AFTER).print(table)
    else:
        click.echo("Nothing is there.")


def _moment(seconds: Any) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z" if isinstance(seconds, int) else ""
