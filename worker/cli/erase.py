"""`clawback erase`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from worker.cli.common import installation_options, json_option, print_json
from worker.cli.opened import opened

if TYPE_CHECKING:
    from worker.erase import Erased, Person
    from worker.runtime import Runtime


LEFT: Final[Mapping[str, str]] = {
    "waiting": "notifications of this person wait to be processed: erase again once they are.",
    "unread": "bodies could not be opened: put the key that sealed them back, and erase again.",
    "remains": "old versions of rows lie in the database until it is written anew: docs/operations.md, Erase a person.",
}
"""What may be left, and what to do about it."""


@click.command("erase")
@click.argument("user")
@click.option("--app", help="Only this app's; without it, every app's user of that id.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--rewrite", is_flag=True, help="PostgreSQL: write every table anew afterwards (VACUUM FULL).")
@installation_options
@json_option
def command(
    config: Path | None,
    data_dir: Path,
    *,
    user: str,
    app: str | None,
    dry_run: bool,
    yes: bool,
    rewrite: bool,
    as_json: bool,
) -> int:
    """Remove a person, and keep the sums: purchases and refunds stay, and belong to nobody that anybody knows.

    USER is the app's own id. It cannot be undone. Beside running workers; interrupted, it goes on when it is begun
    again. Exit code 1 if something of the person may be left: the output says what, and what to do.
    """
    with opened(config, data_dir) as runtime:
        if app is not None and app not in runtime.settings.apps:
            raise click.BadParameter(f"no app {app!r} is configured", param_hint="--app")
        person = _find(runtime, user, app, quiet=as_json)
        if dry_run:
            return _say_found(person, as_json=as_json)
        if not yes:
            click.confirm(f"Erase {len(person.lineages)} lineages' holder for good?", abort=True, err=True)
        return _say_done(_erase(runtime, person, rewrite=rewrite, quiet=as_json), as_json=as_json)


def _find(runtime: "Runtime", user: str, app: str | None, *, quiet: bool) -> "Person":
    from worker.erase import find

    with _bar(runtime, "Looking", quiet=quiet) as tell:
        return find(runtime, user, app, tell)


def _erase(runtime: "Runtime", person: "Person", *, rewrite: bool, quiet: bool) -> "Erased":
    from worker.deeds import of_the_command_line
    from worker.erase import compact, erase

    deed = of_the_command_line("person.erase", runtime.clock)  # never whom: the log outlives everybody
    runtime.store.change(lambda connection: deed.note(connection, lineages=len(person.lineages)))
    with _bar(runtime, "Erasing", quiet=quiet) as tell:
        return compact(runtime, erase(runtime, person, tell), rewrite=rewrite)


@contextmanager
def _bar(runtime: "Runtime", what: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many rows of all were looked at."""
    from rich.console import Console
    from rich.progress import Progress

    from worker.store.erasing import count_rows

    console = Console(stderr=True)
    with runtime.store.read() as connection:
        total = count_rows(connection)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda rows: progress.advance(task, rows)


def _say_found(person: "Person", *, as_json: bool) -> int:
    found = {
        "names": len(person.names),
        "lineages": len(person.lineages),
        "entries": sum(map(len, person.lineages.values())),
        "notifications": len(person.notifications),
    }
    if as_json:
        print_json({**found, "dry_run": True})
    else:
        click.echo(f"Would erase: {', '.join(f'{count} {what}' for what, count in found.items())}.")
    return 0


def _say_done(done: "Erased", *, as_json: bool) -> int:
    left = [advice for name, advice in LEFT.items() if getattr(done, name)]
    if as_json:
        print_json({**asdict(done), "dry_run": False})
    else:
        counts = ((name, count) for name, count in asdict(done).items() if name not in (*LEFT, "names"))
        click.echo(f"Erased: {', '.join(f'{count} {what}' for what, count in counts)}. Sums are unchanged.")
        for advice in left:
            click.echo(f"But {advice}")
    return 1 if left else 0
