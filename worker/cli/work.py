"""`clawback work`."""

from pathlib import Path

import click

from config.logs import configure_logs
from worker.cli.common import control_option, installation_options, load_settings
from worker.control import Control
from worker.start import refuse_pending_migration, same_installation, supervise_verbs


@click.command("work")
@installation_options
@click.option("--processes", type=click.IntRange(1, 64), help="How many.  [default: what [work] processes says]")
@control_option
def command(config: Path | None, data_dir: Path, processes: int | None, control: int | None) -> int:
    """Start the workers alone: they process notifications, tell subscribers, and sweep.

    Any number of them, on any number of hosts, against one database and one broker. SIGTERM lets them finish.
    """
    configure_logs()
    settings = load_settings(config, data_dir)
    refuse_pending_migration(settings)
    count = processes or settings.work.processes
    if count == 1:
        from worker.work import work

        work(settings, Control(control))
        return 0
    arguments = ("work", *same_installation(config, data_dir), "--processes", "1")
    return supervise_verbs("work", arguments, count, data_dir=data_dir, control=control)
