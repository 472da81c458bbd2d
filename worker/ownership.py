"""Find out whether our four packages are ours: their names are generic, and installers overwrite without a word.

With another distribution's `config` in the same environment, whichever was installed last wins, and removing either one
breaks the other; `pip check` finds nothing. So we look ourselves.
"""

from collections.abc import Iterable, Sequence
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

DISTRIBUTION = "clawback"
PACKAGES = ("config", "schemas", "handlers", "worker")


def collisions(path: Sequence[str]) -> dict[str, list[str]]:
    """Find the packages of ours that other distributions on a search path claim too: package → their names."""
    found: dict[str, set[str]] = {name: set() for name in PACKAGES}
    for distribution in metadata.distributions(path=list(path)):
        name = distribution.name or "unnamed"
        for top_level in _top_level(distribution):
            if top_level in found and name != DISTRIBUTION:
                found[top_level].add(name)
    return {package: sorted(others) for package, others in found.items() if others}


def strays(home: Path, path: Sequence[str] | None = None) -> dict[str, str]:
    """Find the packages that would be imported from elsewhere than `home`: package → where."""
    places = {name: _place(name, path) for name in PACKAGES}
    return {name: place for name, place in places.items() if Path(place) != home / name}


def _place(name: str, path: Sequence[str] | None) -> str:
    if path is None:
        module = __import__(name)
        return str(Path(module.__file__).parent) if module.__file__ else "a folder without code"
    spec = PathFinder.find_spec(name, list(path))
    return str(Path(spec.origin).parent) if spec and spec.origin else "nowhere"


def _top_level(distribution: metadata.Distribution) -> Iterable[str]:
    """List what a distribution puts at the top level, as `importlib.metadata.packages_distributions` does."""
    if declared := distribution.read_text("top_level.txt"):
        return declared.split()
    return {file.parts[0] for file in distribution.files or () if len(file.parts) > 1 and file.suffix == ".py"}
