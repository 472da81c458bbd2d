"""What processes cost, read from Linux's /proc: processor time and resident memory of one and all below it."""

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def fields(stat: str) -> tuple[int, float]:
    """Read a line of /proc/PID/stat: its parent, and the seconds that it and its buried children ran (proc(5))."""
    after = stat.rpartition(")")[2].split()
    return int(after[1]), sum(map(int, after[11:15])) * TICK_SECONDS


def family(root: int) -> Iterator[int]:
    """Walk over a process and all that came of it."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in _all().items():
        children.setdefault(parent, []).append(pid)
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def cpu_seconds(root: int) -> float:
    """Add up the processor time of a process and all below it."""
    known = _all()
    return sum(known[pid][1] for pid in family(root) if pid in known)


def resident_mb(pid: int) -> float:
    """Give what one process holds in memory, in units of 1,000,000 bytes."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES / 1e6


def command(pid: int) -> str:
    """Give the command line of a process."""
    return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _all() -> dict[int, tuple[int, float]]:
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = fields((entry / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
    return found
