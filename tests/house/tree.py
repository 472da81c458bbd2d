"""What the tests of the house read: the files of the working tree, parsed once."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("config", "schemas", "handlers", "worker")
CORE = ("handlers", "schemas")


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file.

    Attributes:
        path: relative to the root of the tree, with forward slashes.
    """

    path: str
    text: str

    @property
    def room(self) -> str:
        """Name the top-level folder it stands in."""
        return self.path.split("/", 1)[0]

    @property
    def tree(self) -> ast.Module:
        """Parse it."""
        return _parsed(self.text)


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def sources(*rooms: str) -> tuple[Source, ...]:
    """Read every Python file of some top-level folders, in a stable order.

    Migrations are left out: they are written once, by a generator, and never changed.
    """
    paths = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py") if "migrations" not in path.parts)
    return tuple(Source(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in paths)


def shipped_files() -> set[str]:
    """List every file of the four packages: what a wheel must carry, no more and no less."""
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def importable_modules() -> tuple[str, ...]:
    """Name every module of the four packages. A `__main__` is run, not imported."""
    return tuple(
        source.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for source in sources(*PACKAGES)
        if not source.path.endswith("/__main__.py")
    )
