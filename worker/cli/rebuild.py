"""`clawback rebuild`."""

from pathlib import Path

import click

from worker.cli.common import installation_options, json_option, print_json
from worker.cli.opened import opened


@click.command("rebuild")
@installation_options
@click.option("--dry-run", is_flag=True, help="Only say what differs.")
@json_option
def command(config: Path | None, data_dir: Path, *, dry_run: bool, as_json: bool) -> None:
    """Fold the ledger again after products or policy changed.

    Entries never change; what they amount to does when the rules do. Only what differs is written, one lineage at a
    time, beside running workers; access that is given or taken by it is told to subscribers like any other change.
    """
    from rich.console import Console
    from rich.progress import track

    from worker.audit import check_fold, rebuild
    from worker.deeds import of_the_command_line

    with opened(config, data_dir) as runtime:
        audit = check_fold(runtime)
        console = Console(stderr=True, quiet=as_json)
        todo = () if dry_run else track(audit.differing, "Folding", console=console, transient=True)
        if not dry_run and audit.differing:
            deed = of_the_command_line("ledger.rebuild", runtime.clock)
            runtime.store.change(lambda connection: deed.note(connection, lineages=len(audit.differing)))
        events = sum(rebuild(runtime, key) for key in todo)
    if as_json:
        print_json({"lineages": audit.lineages, "differing": audit.differing, "events": events, "dry_run": dry_run})
    else:
        done = "differ" if dry_run else "differed and were folded again"
        click.echo(f"{len(audit.differing)} of {audit.lineages} lineages {done}; {events} events follow from it.")
