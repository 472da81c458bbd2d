"""Hosts of a test's own: network namespaces with their own addresses, on one bridge, that can be cut off and back.

Names carry the test's process and are removed with it; what is left of a test that was killed is removed by the next.
"""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND_SECONDS_MAX = 20.0
PREFIX = "cbk"
"""Names of interfaces have 15 characters: this, the process's number, and which."""


@dataclass(frozen=True)
class Host:
    """One host.

    Attributes:
        namespace: what `ip netns` calls it.
        link: the end of its cable, in the switch.
    """

    namespace: str
    link: str
    address: str

    def start(self, *command: Any, log: Path, user: str = "", environment: dict[str, str] | None = None) -> Any:
        """Start a program on this host; its process is that of the program itself."""
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        with log.open("ab") as out:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *become, *map(str, command)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def cut_off(self) -> None:
        """Pull its cable: nothing that is sent to it or by it arrives, and nobody is told."""
        _ip("link", "set", self.link, "down")

    def bring_back(self) -> None:
        """Put the cable back in."""
        _ip("link", "set", self.link, "up")


@dataclass(frozen=True)
class Network:
    """Everything on one bridge.

    Attributes:
        address: of the test itself.
    """

    address: str
    hosts: dict[str, Host]


@contextmanager
def network(*names: str) -> Iterator[Network]:
    """Make hosts of these names, each with a cable to one switch, and remove them."""
    _sweep()
    bridge = f"{PREFIX}{os.getpid()}"
    subnet = f"10.213.{os.getpid() % 250 + 1}"
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{subnet}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        hosts = {name: _host(bridge, number, f"{subnet}.{number + 10}") for number, name in enumerate(names)}
        yield Network(f"{subnet}.1", hosts)
    finally:
        _remove(bridge)


def why_not() -> str:
    """Say why there can be no such network here; nothing: there can."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    try:
        with network("near", "far") as made:
            return "" if _reaches(made.hosts["near"], made.hosts["far"]) else "a firewall is between namespaces here"
    except (OSError, subprocess.SubprocessError) as error:
        return f"no network namespaces here: {error}"


def _reaches(near: Host, far: Host) -> bool:
    """Tell whether one host hears from another that nobody listens there."""
    ask = "import socket, sys; sys.exit(socket.socket().connect_ex((sys.argv[1], 9)) != int(sys.argv[2]))"
    command = ["ip", "netns", "exec", near.namespace, sys.executable, "-c", ask, far.address, str(errno.ECONNREFUSED)]
    with suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, timeout=COMMAND_SECONDS_MAX, check=False).returncode == 0
    return False


def _host(bridge: str, number: int, address: str) -> Host:
    namespace, link, inside = f"{bridge}-{number}", f"{bridge}h{number}", f"{bridge}n{number}"
    _ip("netns", "add", namespace)
    _ip("link", "add", link, "type", "veth", "peer", "name", inside)
    _ip("link", "set", inside, "netns", namespace)
    _ip("link", "set", link, "master", bridge, "up")
    for command in (
        ("link", "set", "lo", "up"),
        ("addr", "add", f"{address}/24", "dev", inside),
        ("link", "set", inside, "up"),
    ):
        _ip("-n", namespace, *command)
    return Host(namespace, link, address)


def _remove(bridge: str) -> None:
    """Remove a bridge, and the hosts on it with their ends of the cables."""
    for namespace in re.findall(rf"^{bridge}-\d+\b", _ip("netns", "list"), flags=re.MULTILINE):
        with suppress(subprocess.SubprocessError):
            _ip("netns", "delete", namespace)
    for link in re.findall(rf"\b{bridge}h\d+\b", _ip("-br", "link", "show")):
        with suppress(subprocess.SubprocessError):
            _ip("link", "delete", link)
    with suppress(subprocess.SubprocessError):
        _ip("link", "delete", bridge)


def _sweep() -> None:
    """Remove what tests left that are not there any more."""
    seen = f"{_ip('netns', 'list')}\n{_ip('-br', 'link', 'show')}"
    for pid in {int(found) for found in re.findall(rf"\b{PREFIX}(\d+)\b", seen)}:
        if not Path(f"/proc/{pid}").exists():
            _remove(f"{PREFIX}{pid}")


def _ip(*arguments: str) -> str:
    command = ["ip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=True)
    return done.stdout
