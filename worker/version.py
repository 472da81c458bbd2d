"""Which version of Clawback this is."""

import sys
from pathlib import Path

DISTRIBUTION = "clawback"


def installed_version() -> str:
    """Read the version off our metadata's folder; a source tree that nobody installed has none.

    `importlib.metadata` says the same and takes longer to import than all else that `clawback version` does:
    https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-dist-info-directory
    """
    for place in sys.path:
        for found in Path(place).glob(f"{DISTRIBUTION}-*.dist-info"):
            return found.name.removeprefix(f"{DISTRIBUTION}-").removesuffix(".dist-info")
    return "0+source"
