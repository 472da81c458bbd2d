"""`clawback work`."""

from pathlib import Path

import click

from config.logs import configure_logs
from worker import lean
from worker.cli.common import control_option, installation_options, load_settings
from worker.collector import refuse_missing_extra
from worker.control import Control
from worker.family import same_installation
from worker.start import refuse_pending_migration, refuse_taken_port, supervise_verbs, warn_of_no_key


@click.command("work")
@installation_options
@click.option("--processes", type=click.IntRange(1, 64), help="How many.  [default: what [work] processes says]")
@click.option("--share-port", is_flag=True, hidden=True, help="Let siblings answer on the same port.")
@control_option
def command(
    config: Path | None, data_dir: Path, processes: int | None, control: int | None, *, share_port: bool
) -> int:
    """Start the workers alone: they process notifications, tell subscribers, and sweep.

    Any number of them, on any number of hosts, against one database and one broker. SIGTERM lets them finish.
    """
    configure_logs()
    line = Control(control)
    settings = load_settings(config, data_dir)
    refuse_pending_migration(settings)
    refuse_missing_extra(settings)
    if control is None:  # nobody above has said so
        warn_of_no_key(settings)
    count = processes or settings.work.processes
    if count == 1:
        lean.import_alone("redis", "aiohttp")
        from worker.work import work

        work(settings, line, share_port=share_port)
        return 0
    if settings.work.metrics_port:
        refuse_taken_port(settings.server.host, settings.work.metrics_port, "[work] metrics_port")
    arguments = ("work", *same_installation(config, data_dir), "--processes", "1", "--share-port")
    return supervise_verbs("work", arguments, count, data_dir=data_dir, control=control)
