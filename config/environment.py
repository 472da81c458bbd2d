"""Read the keys that the environment sets: `CLAWBACK_SECTION__KEY`, and `…_FILE` for secrets kept in files.

- Names are split at two underscores and their case does not matter: `CLAWBACK_APPS__ACME__STRIPE__LIVEMODE`.
- Tables are JSON. Lists are JSON arrays too, or plain text with one entry per line, so that a single secret needs no
  brackets; commas separate nothing, since a secret may contain them.
- An entry of a list of tables is named by its number: `CLAWBACK_SUBSCRIBERS__0__SECRETS`.
- `CLAWBACK_…_FILE` names a file that holds the value; one newline at its end is not part of it.
- A variable that is empty sets nothing.
- What Kubernetes injects for a Service called `clawback` (`CLAWBACK_SERVICE_HOST`, `CLAWBACK_PORT=tcp://…`) is
  not ours: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from config.problems import Path, unknown
from config.settings import Settings

PREFIX = "CLAWBACK_"
DELIMITER = "__"
FILE_SUFFIX = "_FILE"
NOT_KEYS = frozenset({"CLAWBACK_CONFIG", "CLAWBACK_DATA_DIR"})
"""What the command line reads by itself."""
KUBERNETES = re.compile(
    r"CLAWBACK_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


@dataclass(slots=True)
class Overlay:
    """What the environment says.

    Attributes:
        values: nested as the file is.
        sources: path → the variable that set it.
        lines: what is wrong, ready for the operator.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[Path, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def read_environment(environ: Mapping[str, str]) -> Overlay:
    """Collect every variable of ours; the more specific name wins."""
    overlay = Overlay()
    ours = {name.upper(): value for name, value in environ.items() if _is_ours(name.upper(), value)}
    for name in sorted(ours, key=lambda name: (name.count(DELIMITER), name)):
        _read_variable(overlay, name, ours)
    return overlay


def merge(base: Any, extra: Any) -> Any:
    """Lay one configuration over another: tables are joined, names matched without case, all else is replaced."""
    if isinstance(base, list) and isinstance(extra, dict) and all(key.isdecimal() for key in extra):
        return _merge_entries(base, extra)
    if not (isinstance(base, dict) and isinstance(extra, dict)):
        return extra
    spelled = {key.lower(): key for key in base}
    merged = dict(base)
    for key, value in extra.items():
        known = key if key in base else spelled.get(key.lower(), key)
        merged[known] = merge(base[known], value) if known in base else value
    return merged


def _merge_entries(base: list[Any], extra: dict[str, Any]) -> list[Any]:
    merged = list(base)
    for index in sorted(extra, key=int):
        if int(index) < len(merged):
            merged[int(index)] = merge(merged[int(index)], extra[index])
        else:
            merged.append(extra[index])
    return merged


def _is_ours(name: str, value: str) -> bool:
    if not name.startswith(PREFIX) or name in NOT_KEYS or not value:
        return False
    if DELIMITER in name:
        return True
    return not KUBERNETES.fullmatch(name) and not (name.endswith("_PORT") and "://" in value)


def _read_variable(overlay: Overlay, name: str, ours: Mapping[str, str]) -> None:
    try:
        key, value = _unfile(name, ours)
        if not value:
            return
        path = _path(key)
        overlay.values = merge(overlay.values, _Variable(key, value)())
        overlay.sources[path] = name
    except SettingsError:
        overlay.lines.append(f"{name}: is not JSON, which a table or a list of tables needs")
    except ValueError as error:
        overlay.lines.append(f"{name}: {error}")


def _path(key: str) -> Path:
    path = tuple(key.removeprefix(PREFIX).lower().split(DELIMITER))
    if path[0] not in Settings.model_fields:
        # Deeper ones are refused with all other keys; what starts nowhere, the library would not even look at.
        raise ValueError(unknown(path[:1], Settings))
    return path


def _unfile(name: str, ours: Mapping[str, str]) -> tuple[str, str]:
    """Follow `…_FILE` to the value it stands for."""
    if not name.endswith(FILE_SUFFIX):
        return name, ours[name]
    key = name.removesuffix(FILE_SUFFIX)
    if key in ours:
        raise ValueError(f"{key} is set too; keep one of the two")
    try:
        text = File(ours[name]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise ValueError(f"cannot read the file it names: {reason}") from None
    return key, text.removesuffix("\n").removesuffix("\r")


class _Declared(Settings, BaseSettings):  # type: ignore[misc]  # two configs, and pydantic joins them
    """The same keys, in the shape that pydantic-settings reads environments for."""


class _Variable(EnvSettingsSource):
    """Parse one variable, so that a mistake in it can be told by its name."""

    def __init__(self, name: str, value: str) -> None:
        self._one = {name.lower(): value}
        super().__init__(_Declared, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter=DELIMITER)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return dict(self._one)

    def next_field(
        self,
        field: FieldInfo | Any | None,
        key: str,
        case_sensitive: bool | None = None,  # noqa: FBT001 - the library's signature
    ) -> FieldInfo | None:
        """Step into a list of tables by number; all else as the library does."""
        annotation = field.annotation if isinstance(field, FieldInfo) else field
        if get_origin(annotation) is tuple and key.isdecimal():
            entry: FieldInfo = get_args(annotation)[0]
            return entry
        return super().next_field(field, key, case_sensitive)

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:  # noqa: ARG002 - the library's signature
        """Read JSON, or plain text as a list of lines where a list of plain values is wanted."""
        plain = field is not None and _holds_plain_values(field.annotation)
        if plain and not value.lstrip().startswith("["):
            return [line for line in value.splitlines() if line.strip()]
        return json.loads(value)


def _holds_plain_values(annotation: Any) -> bool:
    if get_origin(annotation) is not tuple:
        return False
    entry = get_args(annotation)[0]
    return not (isinstance(entry, type) and issubclass(entry, BaseModel))
