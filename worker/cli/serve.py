"""`clawback serve`."""

import importlib
from pathlib import Path

import click

from config.logs import configure_logs
from worker import lean
from worker.cli.common import control_option, installation_options, load_settings
from worker.collector import refuse_missing_extra
from worker.control import Control
from worker.family import same_installation
from worker.start import refuse_pending_migration, supervise_verbs, warn_of_no_key


@click.command("serve")
@installation_options
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="How many share the port.")
@click.option("--share-port", is_flag=True, hidden=True, help="Let siblings listen on the same port.")
@control_option
@click.option("--wait", is_flag=True, hidden=True, help="Import, and wait for the supervisor's word.")
def command(
    config: Path | None, data_dir: Path, processes: int, control: int | None, *, share_port: bool, wait: bool
) -> int:
    """Start the endpoint and the API alone.

    Any number of them, on any number of hosts, against one database and one broker. SIGTERM lets requests finish.
    """
    configure_logs()
    line = Control(control)
    if wait and not _waited(line):
        return 1
    settings = load_settings(config, data_dir)
    refuse_pending_migration(settings)
    refuse_missing_extra(settings)
    if control is None:  # nobody above has said so
        warn_of_no_key(settings)
    if processes == 1:
        lean.import_alone("redis", "aiohttp")
        from worker.serve import serve

        serve(settings, line, share_port=share_port)
        return 0
    if not settings.server.port:
        raise click.UsageError("several processes cannot share port 0: set [server] port")
    arguments = ("serve", *same_installation(config, data_dir), "--share-port")
    return supervise_verbs("serve", arguments, processes, data_dir=data_dir, control=control)


def _waited(line: Control) -> bool:
    """Import what there is to import, and wait until the supervisor has prepared the work; False: it never will."""
    lean.import_alone("redis", "aiohttp")
    for name in ("config.load", "worker.filters", "worker.serve"):
        importlib.import_module(name)
    return line.waited()
