"""`clawback audit`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.common import installation_options, json_option, print_json
from worker.cli.opened import opened

if TYPE_CHECKING:
    from schemas.audit import AuditRecord


@click.command("audit")
@installation_options
@click.option("--operator", help="Only what was done with tokens of this name, or by cli:user@host.")
@click.option("--action", help="Only this: token.create, notification.replay, …")
@click.option("--target", help="Only what was done to this id.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="The newest so many.")
@json_option
def command(
    config: Path | None,
    data_dir: Path,
    operator: str | None,
    action: str | None,
    target: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Show what operators did, newest first.

    Every action by the API or the command line has its row, which nobody can change or delete. It holds no secret.
    """
    from worker.store.audit import list_records

    filters = {"operator": operator, "action": action, "target": target}
    with opened(config, data_dir) as runtime, runtime.store.read() as connection:
        found = [record for _, record in list_records(connection, filters, after=None, limit=limit)]
    if as_json:
        print_json({"object": "list", "data": [record.model_dump() for record in found]})
    else:
        _print_table(found)


def _print_table(found: "list[AuditRecord]") -> None:
    import json
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("when (UTC)", "who", "from", "what", "to", "outcome", "detail"):
        table.add_column(heading, overflow="fold")
    for one in found:
        detail = json.dumps(one.detail, ensure_ascii=False) if one.detail else ""
        outcome = f"{one.outcome}: {one.reason}" if one.reason else one.outcome
        when = f"{datetime.fromtimestamp(one.at, UTC):%Y-%m-%d %H:%M:%S}"
        cells = (when, one.operator, one.address or "", one.action, one.target or "", outcome, detail)
        table.add_row(*map(Text, cells))
    Console().print(table)
