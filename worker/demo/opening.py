"""What `clawback run` shows without a configuration: one story per platform, then where to go on."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from config.settings import Settings
from worker.demo.show import Show
from worker.demo.trust import APP, HOST, demo_directory
from worker.simulator.play import PlayError
from worker.simulator.stories import ALL, STORIES
from worker.simulator.table import panel

OPENING = STORIES["purchase-then-refund"]


def play(settings: Settings, facts: Mapping[str, Any], data_dir: Path, console: Console) -> None:
    """Tell one story per platform to the running service; the app's backend goes on listening.

    Args:
        settings: the demo's.
        facts: what `serve` said of its addresses.
        data_dir: where the demo's keys are.
        console: to show it on.
    """
    show = Show(settings, demo_directory(data_dir), url=facts["url"], api_url=facts["admin_url"])
    console.print(f"[bold]Demo mode[/]: the app [bold]{APP}[/] trusts keys made for this directory, on {HOST} only.\n")
    try:
        show.start()
        show.tell([(platform, OPENING) for platform in ALL], lambda played: console.print(panel(played)))
    except (PlayError, OSError) as error:
        console.print(f"[red]The demo could not be shown:[/] {error}", highlight=False)


def hints(settings: Settings, facts: Mapping[str, Any], data_dir: Path) -> list[str]:
    """List commands worth typing next, ready to be pasted."""
    where = "" if data_dir == Path("clawback-data") else f" --data-dir {data_dir}"
    return [
        f"curl -H 'Authorization: Bearer {settings.admin.tokens[0]}' {facts['admin_url']}/v1/refunds",
        f"{_this_program()} simulate apple refund-reversed{where}",
        f"{_this_program()} simulate --list",
    ]


def _this_program() -> str:
    """Write how to call us again from here: by name where a shell finds us, else by path."""
    program = Path(sys.argv[0])
    found = shutil.which(program.name)
    if found and Path(found).samefile(program):
        return program.name
    return os.path.relpath(program) if program.exists() else "clawback"
