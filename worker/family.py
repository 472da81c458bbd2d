"""Name the processes of an installation that are verbs, and have the endpoint import while it is prepared.

Nothing is imported here that takes long: what is imported before they start is waited for by all of them.
"""

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from worker.launch import Verb
from worker.room import written

METRICS = "PROMETHEUS_MULTIPROC_DIR"
METRICS_NAME = "PROMETHEUS_MULTIPROC_NAME"
"""As in `worker/metrics.py`, which a supervisor has no use for."""


class Family:
    """The endpoint and the workers of a whole installation.

    Args:
        config: the configuration file, if there is one.
        data_dir: where the broker, the database and the shared counts are.
        log: where the processes log; None: where this one does.
    """

    def __init__(self, config: Path | None, data_dir: Path, *, log: Path | None = None) -> None:
        self._same = same_installation(config, data_dir)
        # The endpoint tells what all of them counted: its siblings need no port for that.
        self._environment = {**shared_metrics(data_dir / "metrics"), "CLAWBACK_WORK__METRICS_PORT": "0"}
        self.log = log
        self.serve = named("serve", ("serve", *self._same), 2, self._environment, log)

    def workers(self, count: int) -> list[Verb]:
        """Give so many workers."""
        return [self._worker(number) for number in range(1, count + 1)]

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Have the endpoint import while whoever is in here finds out whether it may work; kill it if it may not.

        An import takes a processor longer than all preparations together, and two of them on two processors would
        make the preparations wait. Platforms wait for the endpoint alone: what it takes in is safe without a worker.
        """
        try:
            self.serve.start_ahead()
            yield
        finally:
            self.serve.give_up()

    def _worker(self, number: int) -> Verb:
        arguments = ("work", *self._same, "--processes", "1")
        return named(f"work-{number}", arguments, 1, self._environment, self.log)


def named(
    name: str, arguments: tuple[str, ...], stage: int, environment: Mapping[str, str], log: Path | None = None
) -> Verb:
    """Make a child that counts under its own name, as whoever follows it does."""
    name_there = f"{socket.gethostname()}-{os.getpid()}-{name}"
    return Verb(name, arguments, stage=stage, environment={**environment, METRICS_NAME: name_there}, log=log)


def same_installation(config: Path | None, data_dir: Path) -> tuple[str, ...]:
    """Write the options that make a child verb work on the same installation."""
    return (*(("--config", str(config.absolute())) if config else ()), "--data-dir", str(data_dir.absolute()))


def shared_metrics(directory: Path) -> Mapping[str, str]:
    """Make the directory in which processes add up their counts, and the environment that tells them.

    An operator's own choice stands, and is not emptied. See https://prometheus.github.io/client_python/multiprocess/.

    Raises:
        NotWritten: the disk is full, or may only be read.
    """
    if os.environ.get(METRICS):
        return {}
    # Counts of an earlier life would be added to this one's.
    shutil.rmtree(directory, ignore_errors=True)
    with written(directory):
        directory.mkdir(mode=0o700, parents=True)
    return {METRICS: str(directory.absolute())}
