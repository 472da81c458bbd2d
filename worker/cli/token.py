"""`clawback token`: make, list, replace and revoke tokens while everything runs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from schemas.tokens import Scope
from worker.cli.common import Failure, installation_options, json_option, print_json
from worker.cli.opened import opened

if TYPE_CHECKING:
    from schemas.tokens import Token, TokenWithSecret
    from worker.runtime import Runtime

T = TypeVar("T")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/-]{0,63}")


class Span(click.ParamType[int]):
    """A stretch of time: 90d, 12h, 30m, 45s."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it as seconds."""
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"[0-9]{1,9}[smhd]", value):
            self.fail(f"{value!r} is no stretch of time: write 90d, 12h, 30m or 45s", param, ctx)
        return int(value[:-1]) * _SECONDS[value[-1]]


class ScopeList(click.ParamType[tuple[Scope, ...]]):
    """Scopes, joined by commas."""

    name = "scopes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Scope, ...]:
        """Read them, each once and in their order."""
        if isinstance(value, tuple):
            return value
        said = {part.strip() for part in value.split(",")}
        known = get_args(Scope)
        if unknown := sorted(said - set(known)):
            self.fail(f"{unknown[0]!r} is no scope: there are {', '.join(known)}", param, ctx)
        return tuple(scope for scope in known if scope in said)


expires_option = click.option(
    "--expires-in", type=Span(), help="How long it opens: 90d. Left out: until it is revoked."
)


@click.group("token")
def command() -> None:
    """Make, list, replace and revoke tokens while everything runs.

    A token is shown once, when it is made; the database has its hash. A change is seen by every process within seconds.
    """


@command.command("new")
@click.argument("name")
@installation_options
@click.option("--scopes", type=ScopeList(), required=True, help="read, write, operate; several with commas.")
@expires_option
@json_option
def new(
    config: Path | None,
    data_dir: Path,
    name: str,
    scopes: tuple[Scope, ...],
    expires_in: int | None,
    *,
    as_json: bool,
) -> None:
    """Make a token for NAME, and show it this once.

    read: ask. write: tell of purchases, and make, change and delete subscribers. operate: replay, retry, make tokens,
    and read the audit log.
    """
    from worker.tokens import create

    if not NAME.fullmatch(name):
        raise click.UsageError(f"{name!r} is no name: letters, digits, and . _ @ / - after the first, at most 64")
    with opened(config, data_dir) as runtime:
        made = create(runtime, _deed(runtime, "token.create"), name, scopes, expires_in_seconds=expires_in)
    _show(made, as_json=as_json)


@command.command("list")
@installation_options
@json_option
def list_(config: Path | None, data_dir: Path, *, as_json: bool) -> None:
    """List tokens, newest first.

    Those that ended are among them. A token itself is not stored: only its hash is.
    """
    from worker.store.tokens import list_tokens

    with opened(config, data_dir) as runtime, runtime.store.read() as connection:
        found = list_tokens(connection, now=runtime.clock(), after=None, limit=100_000)
    if as_json:
        print_json({"object": "list", "data": [token.model_dump() for token in found]})
    else:
        _print_table(found)


@command.command("rotate")
@click.argument("id_", metavar="ID")
@installation_options
@click.option("--keep", type=Span(), default="24h", show_default=True, help="How long the old one goes on: 24h, 0s.")
@expires_option
@json_option
def rotate(config: Path | None, data_dir: Path, id_: str, keep: int, expires_in: int | None, *, as_json: bool) -> None:
    """Replace a token.

    The new one has the name and the scopes of ID, which goes on for a while.
    """
    from worker import tokens

    with opened(config, data_dir) as runtime:
        deed = _deed(runtime, "token.rotate")
        made = _told(lambda: tokens.rotate(runtime, deed, id_, keep_seconds=keep, expires_in_seconds=expires_in))
    _show(made, as_json=as_json)


@command.command("revoke")
@click.argument("id_", metavar="ID")
@installation_options
@json_option
def revoke(config: Path | None, data_dir: Path, id_: str, *, as_json: bool) -> None:
    """Revoke a token: within seconds it opens nothing."""
    from worker import tokens

    with opened(config, data_dir) as runtime:
        ended = _told(lambda: tokens.revoke(runtime, _deed(runtime, "token.revoke"), id_))
    if as_json:
        print_json(ended.model_dump())
    else:
        click.echo(f"{ended.id} ({ended.name}) is revoked.")


def _deed(runtime: "Runtime", action: str) -> Any:
    from worker.deeds import of_the_command_line

    return of_the_command_line(action, runtime.clock)


def _told(work: Callable[[], T]) -> T:
    """Do something with a token; that there is none, or that it has ended, is one line."""
    from worker.tokens import TokenEnded, TokenNotFound

    try:
        return work()
    except (TokenEnded, TokenNotFound) as error:
        raise Failure(str(error)) from None


def _show(made: "TokenWithSecret", *, as_json: bool) -> None:
    """Show a token: alone on standard output, so that a script can take it; what it is for, beside it."""
    if as_json:
        print_json(made.model_dump())
        return
    until = "until it is revoked" if made.expires_at is None else f"until {_day(made.expires_at)}"
    click.echo(f"{made.id}, for {made.name}: {', '.join(made.scopes)}, {until}. It is shown this once:", err=True)
    click.echo(made.token)


def _print_table(found: "list[Token]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "name", "scopes", "state", "made", "until"):
        table.add_column(heading, overflow="fold")
    for one in found:
        until = one.revoked_at or one.expires_at
        cells = (one.id, one.name, ",".join(one.scopes), one.state, _day(one.created_at), _day(until) if until else "")
        table.add_row(*map(Text, cells))
    Console().print(table)


def _day(at: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
