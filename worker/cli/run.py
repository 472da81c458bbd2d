"""`clawback run`: everything in one process tree, in the foreground."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from config.logs import configure_logs
from config.settings import Settings
from worker.cli.common import Failure, installation_options, json_option, load_settings, print_json
from worker.collector import refuse_missing_extra
from worker.demo.place import is_configured, serious_variables
from worker.keyfile import make_key_file
from worker.lockfile import own
from worker.start import everything, migrate, warn_of_no_key
from worker.supervise import Supervisor

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
    configure_logs()
    with own(data_dir):
        demo = config is None and not is_configured(os.environ)
        config = _prepare_demo(data_dir) if demo else config
        settings = load_settings(config, data_dir)
        if demo:
            refuse_strangers(settings)
        refuse_missing_extra(settings)
        warn_of_no_key(make_key_file(settings, data_dir))  # the processes that need it read it themselves
        migrate(settings)
        log = data_dir / LOG if demo else None

        def on_ready(facts: Mapping[str, Mapping[str, Any]]) -> None:
            if demo:
                _play_demo(settings, facts["serve"], data_dir, quiet=as_json)
            # Whoever reads along may stop reading (`clawback run | head`); the service goes on.
            with suppress(BrokenPipeError):
                _announce(settings, data_dir, facts["serve"], demo=demo, as_json=as_json)

        return Supervisor(everything(settings, config, data_dir, log=log), on_ready).run()


def _prepare_demo(data_dir: Path) -> Path:
    """Make the demo's trust. Its keys lie open beside it, so nothing may move it off this machine."""
    from worker.demo.trust import HOST, prepare

    if serious := serious_variables(os.environ):
        raise click.UsageError(f"{serious[0]} is set and no app is: name a --config, or unset it to see the demo")
    os.environ["CLAWBACK_SERVER__HOST"] = HOST
    return prepare(data_dir)


def refuse_strangers(settings: Settings) -> None:
    """Refuse a demo that other machines could reach, whatever spelling of a variable opened it to them.

    Raises:
        Failure: the host is not loopback.
    """
    from worker.demo.trust import HOST

    if settings.server.host != HOST:
        raise Failure(f"the demo's keys lie open, so it listens on {HOST} only: unset every CLAWBACK_SERVER variable")


def _play_demo(settings: Settings, serve: Mapping[str, Any], data_dir: Path, *, quiet: bool) -> None:
    from rich.console import Console

    from worker.demo.opening import play

    play(settings, serve, data_dir, Console(quiet=quiet))


def _announce(settings: Settings, data_dir: Path, serve: Mapping[str, Any], *, demo: bool, as_json: bool) -> None:
    """Say where everything is."""
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
    if demo:
        # Made for this directory and reachable from this machine alone; an operator's own token is never printed.
        places["token"] = next(iter(settings.admin.tokens), "")
        places["log"] = str((data_dir / LOG).absolute())
    if as_json:
        print_json(places)
        return
    click.echo("Clawback is running. Ctrl-C stops it.")
    for name, place in places.items():
        click.echo(f"  {name:<9} {place}")
    if demo:
        from worker.demo.opening import hints

        click.echo("Try next, in another terminal:")
        for hint in hints(settings, serve, data_dir):
            click.echo(f"  {hint}")


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    return f"{scheme}://{credentials.partition(':')[0]}{at}{place}"
