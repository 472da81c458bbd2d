"""`clawback reseal`."""

from dataclasses import asdict
from pathlib import Path

import click

from worker.cli.common import Failure, installation_options, json_option, print_json
from worker.cli.opened import opened


@click.command("reseal")
@installation_options
@click.option("--dry-run", is_flag=True, help="Only say how much that would be.")
@json_option
def command(config: Path | None, data_dir: Path, *, dry_run: bool, as_json: bool) -> int:
    """Seal with the first encryption key what another one sealed, or what lies open.

    Bodies of notifications, a stretch of the inbox at a time, beside running workers; it can be interrupted and begun
    again. After it, `clawback doctor` names the keys that open nothing any more. Exit code 1 if no key opens something.
    """
    from rich.console import Console
    from rich.progress import Progress

    from worker.deeds import of_the_command_line
    from worker.reseal import Resealed, reseal
    from worker.sealing import NoEncryptionKey
    from worker.store.seals import count_notifications

    done = Resealed()
    with opened(config, data_dir) as runtime:
        with runtime.store.read() as connection:
            total = count_notifications(connection)
        if not dry_run:
            runtime.store.change(of_the_command_line("store.reseal", runtime.clock).note)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=as_json or not console.is_terminal) as progress:
            task = progress.add_task("Sealing", total=total)
            try:
                for done in reseal(runtime, dry_run=dry_run):
                    progress.update(task, completed=done.looked)
            except NoEncryptionKey as error:
                raise Failure(str(error)) from None
    if as_json:
        print_json({**asdict(done), "dry_run": dry_run})
    else:
        verb = "would be sealed" if dry_run else "were sealed"
        click.echo(f"{done.sealed} of {done.looked} notifications {verb} with the first key.")
        if done.closed:
            click.echo(f"No key opens {done.closed} of them: put the key that sealed them back, and do it again.")
    return 1 if done.closed else 0
