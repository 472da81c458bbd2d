"""`clawback doctor`."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.common import installation_options, json_option, load_settings, print_json
from worker.demo.place import or_the_demos
from worker.doctor import Finding, examine, healthy

COLORS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


@click.command("doctor")
@installation_options
@json_option
def command(config: Path | None, data_dir: Path, *, as_json: bool) -> int:
    """Check everything that can be checked, and say what to do.

    Configuration, keys, clocks, database, migrations, broker, who owns our packages, whether what is stored equals what
    its entries say, and whether what came in adds up with what became of it and was told. Changes nothing. Exit code 1
    if anything failed.
    """
    console = Console(stderr=True)
    with console.status("") if console.is_terminal else nullcontext() as shown:
        saying = (lambda name: shown.update(f"Looking at {name}")) if shown else str
        file = or_the_demos(config, data_dir)
        findings = examine(load_settings(file, data_dir), data_dir, saying=saying)
    if file != config:
        findings.insert(0, Finding("configuration", "ok", f"this is the demo's, {file}: no --config names another"))
    if as_json:
        print_json({"healthy": healthy(findings), "findings": [asdict(finding) for finding in findings]})
    else:
        _print_table(findings)
    return 0 if healthy(findings) else 1


def _print_table(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("check", "verdict", "what", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        verdict = Text(finding.verdict, style=COLORS[finding.verdict])
        table.add_row(finding.check, verdict, Text(finding.detail), Text(finding.advice))
    Console().print(table)
