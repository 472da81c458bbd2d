"""`clawback demo`: every story, from a signed POST to the app's backend, on a temporary directory."""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.common import json_option, load_settings, print_json

if TYPE_CHECKING:
    from worker.simulator.play import Played

PICTURE_COLUMNS = 100


@click.command("demo")
@click.option("--platform", help="Only this platform's stories.")
@click.option("--story", help="Only the stories of this name.")
@click.option("--details", is_flag=True, help="Show every station of every story, not only the summary.")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Save what is shown as an SVG.")
@json_option
def command(platform: str | None, story: str | None, picture: Path | None, *, details: bool, as_json: bool) -> int:
    """Start everything on a temporary directory, play every story, and stop.

    Exits 0 only if every story ended as it should: real broker, real database, real workers, real signatures.
    """
    from worker.simulator.stories import scripts

    chosen = [script for script in scripts(platform) if story in (None, script[1].name)]
    if not chosen:
        raise click.UsageError("there is no such story; `clawback simulate --list` shows them all")
    with tempfile.TemporaryDirectory(prefix="clawback-demo-") as directory:
        told = _play(Path(directory), chosen, details=details, quiet=as_json, picture=picture)
    if as_json:
        from worker.simulator.table import document

        print_json([document(played) for played in told])
    good = sum(not played.wrong for played in told)
    if not as_json:
        click.echo(f"{good} of {len(chosen)} stories ended as they should.")
    return 0 if good == len(chosen) else 1


def _play(data_dir: Path, chosen: list[Any], *, details: bool, quiet: bool, picture: Path | None) -> "list[Played]":
    """Run everything, tell the stories, stop everything."""
    from rich.console import Console

    from worker.demo.stage import run_with_show
    from worker.demo.trust import prepare
    from worker.simulator.table import panel, summary

    console = Console(quiet=quiet, record=picture is not None, width=PICTURE_COLUMNS if picture else None)
    config = prepare(data_dir, any_port=True)
    settings = load_settings(config, data_dir)

    def shown(played: "Played") -> None:
        if details or played.wrong:
            console.print(panel(played))
        else:
            console.print(f"  {'✗' if played.wrong else '✓'} {played.platform} {played.story.name}", highlight=False)

    told = run_with_show(settings, config, data_dir, lambda show: show.tell(chosen, shown))
    if not details:
        console.print(summary(told))
    if picture is not None:
        console.save_svg(str(picture), title="clawback run", code_format=_without_fonts(), clear=True)
    return told


def _without_fonts() -> str:
    """Take the web fonts out of a picture: it stands in a README, and fetches nothing."""
    from rich._export_format import CONSOLE_SVG_FORMAT

    return re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
