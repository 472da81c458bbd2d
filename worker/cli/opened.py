"""Open an installation for one verb that reads or changes what is stored, beside whatever is running."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.runtime import Runtime


@contextmanager
def opened(config: Path | None, data_dir: Path) -> Iterator["Runtime"]:
    """Give the parts of a process that works on this installation, be it a demo's, and close them.

    Raises:
        ConfigError: one line per mistake.
        NotReady: a migration is pending.
    """
    import logging

    from config.logs import configure_logs
    from worker import bootstrap
    from worker.cli.common import load_settings
    from worker.demo.place import or_the_demos
    from worker.start import refuse_pending_migration

    configure_logs(level=logging.WARNING)
    settings = load_settings(or_the_demos(config, data_dir), data_dir)
    refuse_pending_migration(settings)
    runtime = bootstrap.build(settings)
    try:
        yield runtime
    finally:
        bootstrap.close(runtime)
