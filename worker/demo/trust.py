"""Make everything a demo needs to be believed: keys, certificates, secrets, tokens, and the file that names them."""

import base64
import json
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.demo.place import CONFIG_FILE, HOST, demo_directory
from worker.room import written
from worker.simulator.goods import COINS, LIFETIME, MONTHLY, YEARLY
from worker.simulator.registry import SPEAKERS

__all__ = [
    "APP",
    "CONFIG_FILE",
    "HOST",
    "LIFETIME_PRODUCT",
    "PRODUCT",
    "demo_directory",
    "prepare",
]

APP = "demo"
PRODUCT = MONTHLY
LIFETIME_PRODUCT = LIFETIME
PORT = 8080
BACKEND_PORT = 8081


def prepare(data_dir: Path, *, any_port: bool = False) -> Path:
    """Write the demo's configuration into the data directory, with its keys beside it, unless it is there.

    Args:
        data_dir: the data directory.
        any_port: take ports that are free now, not the usual ones.

    Raises:
        NotWritten: the disk is full, or may only be read.

    Returns:
        The configuration file.
    """
    directory = demo_directory(data_dir)
    file = directory / CONFIG_FILE
    if not file.exists():
        with written(directory):
            _make(directory, file, (0, 0) if any_port else (PORT, BACKEND_PORT))
    return file


def _make(directory: Path, file: Path, ports: Sequence[int]) -> None:
    """Write everything, the file last and whole: what a full disk kept from being made is made at the next start."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    port, backend_port = _free_ports(ports)
    url = f"http://{HOST}:{port}"
    sections = {name: speaker.create(directory, app=APP, public_url=url) for name, speaker in SPEAKERS.items()}
    # The simulator speaks of the first environment: nothing in a demo was paid for.
    sections["apple"]["environments"] = ["Sandbox", "Production"]
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(_config(sections, port=port, backend_port=backend_port), encoding="utf-8")
    fresh.rename(file)


def _free_ports(wanted: Sequence[int]) -> list[int]:
    """Take the wanted ports where they are free, and others where they are not; all of them at once, so they differ."""
    taken = [_bind(port) for port in wanted]
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


def _bind(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind((HOST, port))
    except OSError:
        one.bind((HOST, 0))
    return one


def _config(sections: Mapping[str, Mapping[str, Any]], *, port: int, backend_port: int) -> str:
    lines = [
        "# The demo's own configuration: an app that trusts keys which `clawback run` made for it.",
        "# Nothing here is known to any real platform. Delete this directory to start afresh.",
        "",
        "[server]",
        f"host = {_toml(HOST)}",
        f"port = {port}",
        "",
        "[admin]",
        f"tokens = {_toml(['demo_' + secrets.token_urlsafe(24)])}",
        "",
        "[subscribing]",
        "allow_private = true   # whoever tries the API listens on this machine",
        "",
    ]
    for name, section in sections.items():
        lines += [f"[apps.{APP}.{name}]", *(f"{key} = {_toml(value)}" for key, value in section.items()), ""]
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    lines += [
        *_product(MONTHLY, kind="subscription", entitlements=["pro"]),
        *_product(YEARLY, kind="subscription", entitlements=["pro"]),
        *_product(LIFETIME, kind="non_consumable", entitlements=["pro"]),
        *_product(COINS, kind="consumable", units=100),
        "[[subscribers]]",
        f"app = {_toml(APP)}",
        f"url = {_toml(f'http://{HOST}:{backend_port}/events')}",
        f"secrets = {_toml([secret])}",
        "allow_private = true   # the demo app's backend listens on loopback",
        "",
    ]
    return "\n".join(lines)


def _product(product_id: str, **keys: Any) -> list[str]:
    return [
        f"[apps.{APP}.products.{_toml(product_id)}]",
        *(f"{key} = {_toml(value)}" for key, value in keys.items()),
        "",
    ]


def _toml(value: Any) -> str:
    """Write a value as TOML. Strings, lists, numbers and booleans are written as in JSON; tables need `=`."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
