"""`clawback migrate`."""

from pathlib import Path

import click

from worker.cli.common import installation_options, json_option, load_settings, print_json
from worker.start import migrate


@click.command("migrate")
@installation_options
@json_option
def command(config: Path | None, data_dir: Path, *, as_json: bool) -> None:
    """Bring the database up to date.

    Forward only, and safe to run again: a database that is up to date stays as it is.
    """
    before, after = migrate(load_settings(config, data_dir))
    if as_json:
        print_json({"before": before, "after": after, "changed": before != after})
    elif before == after:
        click.echo(f"The database is up to date ({after}).")
    else:
        click.echo(f"The database went from {before or 'empty'} to {after}.")
