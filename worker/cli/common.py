"""What verbs share: the options that name an installation, and how results are printed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from config.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

DATA_DIR = Path("clawback-data")

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="CLAWBACK_CONFIG",
    help="The configuration file (TOML). Also CLAWBACK_CONFIG.",
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="CLAWBACK_DATA_DIR",
    default=DATA_DIR,
    show_default=True,
    help="Where the embedded broker and an unnamed database keep their files. Also CLAWBACK_DATA_DIR.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
control_option = click.option("--control", type=int, hidden=True, help="The supervisor's line: worker/control.py.")


class Failure(click.ClickException):
    """Something did not work: one line that says what and what to do, exit code 1."""


def installation_options(verb: F) -> F:
    """Give a verb `--config` and `--data-dir`."""
    return config_option(data_dir_option(verb))


def load_settings(config: Path | None, data_dir: Path) -> "Settings":
    """Read the configuration and settle what is relative to the data directory.

    Raises:
        ConfigError: one line per mistake.
    """
    from config.load import load
    from worker.filters import refuse_empty_filters
    from worker.start import settle

    settings = load(config, os.environ)
    refuse_empty_filters(settings)
    return settle(settings, data_dir)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
