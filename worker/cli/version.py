"""`clawback version`."""

import sys
from pathlib import Path

import click

from worker.cli.common import json_option, print_json

DISTRIBUTION = "clawback"


@click.command("version")
@json_option
def command(*, as_json: bool) -> None:
    """Say which version this is."""
    version = installed_version()
    if as_json:
        print_json({"version": version, "python": ".".join(map(str, sys.version_info[:3])), "platform": sys.platform})
    else:
        click.echo(f"clawback {version}")


def installed_version() -> str:
    """Read the version off our metadata's folder; a source tree that nobody installed has none.

    `importlib.metadata` says the same and takes longer to import than all else here:
    https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-dist-info-directory
    """
    for place in sys.path:
        for found in Path(place).glob(f"{DISTRIBUTION}-*.dist-info"):
            return found.name.removeprefix(f"{DISTRIBUTION}-").removesuffix(".dist-info")
    return "0+source"
