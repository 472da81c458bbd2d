"""Read the configuration: one TOML file, the environment laid over it, every mistake told at once.

A path in the file is relative to the file; a path in the environment is relative to where the process runs.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config.check import problems
from config.environment import Overlay, merge, read_environment
from config.problems import ConfigError, dotted, unknown
from config.problems import Path as KeyPath
from config.settings import Settings

# `*`: any name or number. What is an address and not a path stays as it is.
_PATHS: tuple[KeyPath, ...] = (
    ("store", "url"),
    ("apps", "*", "apple", "root_certificates", "*"),
    ("apps", "*", "google", "jwks"),
    ("apps", "*", "google", "service_account_key"),
    ("apps", "*", "amazon", "certificates", "*"),
)


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Make the settings of this process.

    Args:
        path: the TOML file; None: the environment says it all.
        environ: the environment, of which `CLAWBACK_…` is read.

    Raises:
        ConfigError: with one line per mistake, naming the file or the variable it is in.
    """
    file = _read_file(path) if path is not None else {}
    overlay = read_environment(environ)
    merged = merge({"subscribers": [], **file}, overlay.values)
    where = _Where(path, overlay)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError([*overlay.lines, *_lines(error, where)]) from None
    lines = [*overlay.lines, *(where.line(p.path, f"{dotted(p.path)} {p.text}") for p in problems(settings))]
    if lines:
        raise ConfigError(lines)
    return settings.read_from(str(path)) if path is not None else settings


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file; clawback.example.toml is a start"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from None
    for key in _PATHS:
        _change(values, key, lambda text: _rooted(text, path.absolute().parent))
    return values


def _change(node: Any, path: KeyPath, change: Callable[[str], str]) -> None:
    """Change the texts at a path in place; what has another shape is left to validation."""
    head, *rest = path
    keys = _keys(node, head)
    for key in keys:
        if rest:
            _change(node[key], tuple(rest), change)
        elif isinstance(node[key], str):
            node[key] = change(node[key])


def _keys(node: Any, head: str) -> list[Any]:
    if isinstance(node, dict):
        return list(node) if head == "*" else [head] if head in node else []
    return list(range(len(node))) if isinstance(node, list) and head == "*" else []


def _rooted(text: str, directory: Path) -> str:
    """Make a path absolute. `sqlite:///` and a name is a path too: the SQLAlchemy form of a relative one."""
    name = text.removeprefix("sqlite:///")
    if name != text:
        return text if name.startswith((":", "/")) or not name else f"sqlite:///{directory / name}"
    return text if "://" in text or not text else str(directory / text)


class _Where:
    """Tell which file or variable a key was set in."""

    def __init__(self, path: Path | None, overlay: Overlay) -> None:
        self._file = str(path) if path is not None else "configuration"
        self._sources = overlay.sources

    def line(self, path: KeyPath, text: str) -> str:
        """Write one line that starts with where to look."""
        lowered = tuple(part.lower() for part in path)
        for length in range(len(lowered), 0, -1):
            if name := self._sources.get(lowered[:length]):
                return f"{name}: {text}"
        return f"{self._file}: {text}"


def _lines(error: ValidationError, where: _Where) -> Iterator[str]:
    for mistake in error.errors(include_url=False, include_input=False, include_context=False):
        path = tuple(str(part) for part in mistake["loc"])
        if mistake["type"] == "extra_forbidden":
            yield where.line(path, unknown(path, Settings))
        else:
            yield where.line(path, f"{dotted(path)}: {_lower_first(mistake['msg'])}")


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
