"""What `clawback run` does while its endpoint imports: prepare the work, have all begin, and watch over them."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from config.logs import configure_logs
from config.settings import Settings
from worker.cli.common import Failure, load_settings, print_json
from worker.collector import refuse_missing_extra
from worker.demo.place import HOST
from worker.family import Family
from worker.keyfile import make_key_file
from worker.start import everything, migrate, warn_of_no_key
from worker.supervise import Supervisor


def run_everything(family: Family, config: Path | None, data_dir: Path, *, demo: bool, as_json: bool) -> int:
    """Bring everything up to date, start it, and keep it running; give an exit code.

    Args:
        family: the verbs to start.
        config: the configuration file; a demo's is made where it is not there yet.
        data_dir: the data directory, which is ours.
        demo: play a story of each platform once everything is there.
        as_json: announce places as JSON.
    """
    configure_logs()
    if demo:
        from worker.demo.trust import prepare

        prepare(data_dir)
    settings = load_settings(config, data_dir)
    if demo:
        refuse_strangers(settings)
    refuse_missing_extra(settings)
    warn_of_no_key(make_key_file(settings, data_dir))  # the processes that need it read it themselves
    migrate(settings)

    def on_ready(facts: Mapping[str, Mapping[str, Any]]) -> None:
        if demo:
            _play_demo(settings, facts["serve"], data_dir, quiet=as_json)
        # Whoever reads along may stop reading (`clawback run | head`); the service goes on.
        with suppress(BrokenPipeError):
            _announce(settings, data_dir, facts["serve"], log=family.log, as_json=as_json)

    return Supervisor(everything(settings, family, data_dir), on_ready).run()


def refuse_strangers(settings: Settings) -> None:
    """Refuse a demo that other machines could reach, whatever spelling of a variable opened it to them.

    Raises:
        Failure: the host is not loopback.
    """
    if settings.server.host != HOST:
        raise Failure(f"the demo's keys lie open, so it listens on {HOST} only: unset every CLAWBACK_SERVER variable")


def _play_demo(settings: Settings, serve: Mapping[str, Any], data_dir: Path, *, quiet: bool) -> None:
    from rich.console import Console

    from worker.demo.opening import play

    play(settings, serve, data_dir, Console(quiet=quiet))


def _announce(settings: Settings, data_dir: Path, serve: Mapping[str, Any], *, log: Path | None, as_json: bool) -> None:
    """Say where everything is; only a demo has a log of its own."""
    places = {
        "webhooks": f"{serve['url']}/webhooks/{{platform}}/{{app}}",
        "api": f"{serve['admin_url']}/v1",
        "openapi": f"{serve['admin_url']}/openapi.json",
        "metrics": f"{serve['admin_url']}/metrics",
        "health": f"{serve['url']}/healthz",
        "store": _without_password(settings.store.url),
        "broker": _without_password(settings.broker.url),
        "data": str(data_dir.absolute()),
    }
    if log is not None:
        # Made for this directory and reachable from this machine alone; an operator's own token is never printed.
        places["token"] = next(iter(settings.admin.tokens), "")
        places["log"] = str(log.absolute())
    if as_json:
        print_json(places)
        return
    click.echo("Clawback is running. Ctrl-C stops it.")
    for name, place in places.items():
        click.echo(f"  {name:<9} {place}")
    if log is not None:
        from worker.demo.opening import hints

        click.echo("Try next, in another terminal:")
        for hint in hints(settings, serve, data_dir):
            click.echo(f"  {hint}")


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    return f"{scheme}://{credentials.partition(':')[0]}{at}{place}"
