"""What must be true before a process starts, and how several of one kind are started.

A supervisor starts nothing before this is imported, so nothing is imported here that only its children need.
"""

import os
import socket
from pathlib import Path

import structlog

from config.section import Section
from config.settings import Settings
from worker.control import Control
from worker.family import Family, named, shared_metrics
from worker.keyfile import with_key_file
from worker.store.engine import Store
from worker.store.migrate import Standing, standing, upgrade
from worker.supervise import Child, Supervisor
from worker.valkey import EmbeddedValkey, socket_url

log = structlog.get_logger()

EMBEDDED = "embedded"


class NotReady(Exception):
    """Something has to be done first; the text says what."""


def migrate(settings: Settings) -> tuple[str | None, str | None]:
    """Bring the database up to date; give the revision before and after.

    Raises:
        NotReady: it belongs to a newer version.
    """
    store = Store(settings.store.url, settings.store)
    try:
        done = upgrade(store)
        _refuse_too_new(standing(store))
        return done
    finally:
        store.close()


def refuse_pending_migration(settings: Settings) -> None:
    """Refuse to start on a database that this code does not fit.

    A database that is ahead of it, and still fits, is none: a process that dies during an update has to come back.

    Raises:
        NotReady: a migration is pending, or one was run that this code knows nothing of.
    """
    store = Store(settings.store.url, settings.store)
    try:
        found = standing(store)
        if found == "behind":
            raise NotReady("the database needs a migration: run `clawback migrate` first")
        _refuse_too_new(found)
    finally:
        store.close()


def warn_of_no_key(settings: Settings) -> None:
    """Say once, for all processes of a verb, that what comes in lies open in the database: nothing else shows it."""
    if not settings.store.encryption_keys:
        log.warning("start.unsealed", missing="store.encryption_keys")


def _refuse_too_new(found: Standing) -> None:
    if found == "too_new":
        raise NotReady("the database belongs to a newer version: update Clawback on this host")


def settle(settings: Settings, data_dir: Path) -> Settings:
    """Replace what means "in the data directory" by where that is: the embedded broker, a store nobody named, a key."""
    changes: dict[str, Section] = {}
    if settings.broker.url == EMBEDDED:
        changes["broker"] = settings.broker.model_copy(update={"url": socket_url(data_dir)})
    if "url" not in settings.store.model_fields_set:
        url = f"sqlite:///{data_dir.absolute() / 'clawback.db'}"
        changes["store"] = settings.store.model_copy(update={"url": url})
    return with_key_file(settings.model_copy(update=changes), data_dir)


def everything(settings: Settings, family: Family, data_dir: Path) -> list[Child]:
    """Name every process of a whole installation, for a `Supervisor`.

    Args:
        settings: settled ones.
        family: the verbs among them; some may wait already.
        data_dir: where the broker is, if it is ours.
    """
    children: list[Child] = [family.serve, *family.workers(settings.work.processes)]
    if settings.broker.url == socket_url(data_dir):
        children.append(EmbeddedValkey(data_dir))
    return children


def refuse_taken_port(host: str, port: int, keys: str) -> None:
    """Refuse a port that others listen on, before several processes share it.

    Who shares a port may share it with strangers of the same user: a second `work` on it would answer half of the
    scrapes, with other counts.

    Raises:
        NotReady: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise cannot_listen(error, host, port, keys) from None


def cannot_listen(error: OSError, host: str, port: int, keys: str) -> NotReady:
    """Say why an address cannot be had, in the system's few words, and what an operator may set to have another."""
    # Whoever binds puts the address into the text once more, and asyncio a sentence around it; resolvers number
    # their errors by themselves.
    if error.errno is None or isinstance(error, socket.gaierror):
        reason = error.strerror or str(error)
    else:
        reason = os.strerror(error.errno)
    return NotReady(f"cannot listen on {host} port {port}: {reason}; set {keys}")


def supervise_verbs(verb: str, arguments: tuple[str, ...], count: int, *, data_dir: Path, control: int | None) -> int:
    """Keep `count` processes of one verb running.

    Returns:
        The exit code.
    """
    line = Control(control)
    environment = shared_metrics(data_dir / f"metrics-{verb}")
    children = [named(f"{verb}-{number}", arguments, 1, environment) for number in range(1, count + 1)]
    line.stop_with_parent()
    return Supervisor(children, on_ready=lambda facts: line.ready(**next(iter(facts.values())))).run()
