"""`clawback run`: everything in one process tree, in the foreground.

Its endpoint begins to import before it imports anything itself, so nothing is imported here that takes long.
"""

import os
from pathlib import Path

import click

from worker.cli.common import installation_options, json_option
from worker.demo.place import CONFIG_FILE, HOST, demo_directory, is_configured, serious_variables
from worker.family import Family
from worker.lockfile import own

LOG = "clawback.log"
"""Where the demo's processes log, so that a person can read what it says."""


@click.command("run")
@installation_options
@json_option
def command(config: Path | None, data_dir: Path, *, as_json: bool) -> int:
    """Start everything here: the broker if it is embedded, the endpoint, the workers.

    The database is brought up to date first. Without a configuration this is demo mode: an app with keys of its own,
    on this machine alone, and one signed story from every platform. Ctrl-C stops every process in order; twice, at
    once.
    """
    with own(data_dir):
        demo = config is None and not is_configured(os.environ)
        if demo:
            config = _expect_demo(data_dir)
        family = Family(config, data_dir, log=data_dir / LOG if demo else None)
        with family.ahead():
            from worker.cli.running import run_everything

            return run_everything(family, config, data_dir, demo=demo, as_json=as_json)


def _expect_demo(data_dir: Path) -> Path:
    """Name the configuration that the demo will have. Its keys lie open, so nothing may move it off this machine."""
    if serious := serious_variables(os.environ):
        raise click.UsageError(f"{serious[0]} is set and no app is: name a --config, or unset it to see the demo")
    os.environ["CLAWBACK_SERVER__HOST"] = HOST
    return demo_directory(data_dir) / CONFIG_FILE
