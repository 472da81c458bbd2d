"""Where the demo lies, and whether an installation is one: asked by verbs that import nothing of it."""

import os
from collections.abc import Mapping
from pathlib import Path

CONFIG_FILE = "demo.toml"
HOST = "127.0.0.1"
"""Its keys lie open beside it, so nothing may move it off this machine."""
SERIOUS = ("CLAWBACK_STORE", "CLAWBACK_BROKER", "CLAWBACK_SUBSCRIBERS")
"""Variables of somebody who wants no demo, least of all on that database."""


def demo_directory(data_dir: Path) -> Path:
    """Name the place of the demo's keys and configuration."""
    return data_dir / "demo"


def or_the_demos(config: Path | None, data_dir: Path) -> Path | None:
    """Give the demo's configuration where none is named and the data directory is a demo's.

    What is stored there was decided by it: without it a verb would see an installation that has no apps.
    """
    file = demo_directory(data_dir) / CONFIG_FILE
    if config is not None or is_configured(os.environ) or serious_variables(os.environ) or not file.exists():
        return config
    return file


def is_configured(environ: Mapping[str, str]) -> bool:
    """Tell whether apps are configured without a file."""
    return any(name.upper().startswith("CLAWBACK_APPS") and value for name, value in environ.items())


def serious_variables(environ: Mapping[str, str]) -> list[str]:
    """Name the variables that a demo must not meet with."""
    return sorted(name for name, value in environ.items() if value and name.upper().startswith(SERIOUS))
