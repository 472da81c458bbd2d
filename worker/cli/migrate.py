"""`clawback migrate`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.common import installation_options, json_option, load_settings, print_json
from worker.start import migrate

if TYPE_CHECKING:
    from config.settings import Settings


@click.command("migrate")
@installation_options
@json_option
def command(config: Path | None, data_dir: Path, *, as_json: bool) -> None:
    """Bring the database up to date.

    Forward only, and safe to run again: a database that is up to date stays as it is.
    """
    settings = load_settings(config, data_dir)
    before, after = migrate(settings)
    if before != after:
        _note(settings, before, after)
    if as_json:
        print_json({"before": before, "after": after, "changed": before != after})
    elif before == after:
        click.echo(f"The database is up to date ({after}).")
    else:
        click.echo(f"The database went from {before or 'empty'} to {after}.")


def _note(settings: "Settings", before: str | None, after: str | None) -> None:
    """Write down that it was done: the log itself may have been made by it."""
    import time

    from worker.deeds import of_the_command_line
    from worker.store.engine import Store

    store = Store(settings.store.url, settings.store)
    deed = of_the_command_line("database.migrate", time.time)
    try:
        store.change(lambda connection: deed.note(connection, before=before, after=after))
    finally:
        store.close()
