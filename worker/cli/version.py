"""`clawback version`."""

import sys

import click

from worker.cli.common import json_option, print_json
from worker.version import installed_version


@click.command("version")
@json_option
def command(*, as_json: bool) -> None:
    """Say which version this is."""
    version = installed_version()
    if as_json:
        print_json({"version": version, "python": ".".join(map(str, sys.version_info[:3])), "platform": sys.platform})
    else:
        click.echo(f"clawback {version}")
