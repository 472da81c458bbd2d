"""Where the time of each hot path goes, by py-spy: `python -m tests.benchmarks.profile accept|drain [stripe|apple]`.

py-spy looks at the running processes a few hundred times a second and changes nothing about them. It is not a
dependency: put it on PATH, or name it in PY_SPY. Only threads that hold the interpreter count, so that a share is one
of Python's own time: whatever waits for the database, the disk or a client is not in it.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from config.logs import configure_logs
from tests.benchmarks.drain import drain, drained
from tests.benchmarks.ingest import stored
from tests.benchmarks.load import shoot
from tests.benchmarks.piles import APPLE, STRIPE, Kind
from tests.benchmarks.place import POSTGRESQL, STORES, SWEEP_AFTER_SECONDS, Grounds, Place

SECONDS, A_SECOND = 8, 400
LINES = 32
LINE = re.compile(r":\d+(?=\)$)")
OURS = ("worker/", "handlers/", "schemas/", "config/")


def shares(stacks: Iterable[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Read collapsed stacks, `outermost;…;innermost count`: shares of all samples, with what was called and alone."""
    inclusive: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for stack in stacks:
        names, _, count = stack.rpartition(" ")
        frames = [LINE.sub("", frame) for frame in names.split(";")]
        alone[frames[-1]] += int(count)
        inclusive.update(dict.fromkeys(frames, int(count)))
    return _of(alone.total(), inclusive), _of(alone.total(), alone)


def _of(total: int, counted: Counter[str]) -> dict[str, float]:
    return {name: count / total for name, count in counted.most_common()}


def report(stacks: Sequence[str]) -> str:
    """Write what our own functions take with all they call, and what anybody takes alone."""
    inclusive, alone = shares(stacks)
    own = [(name, share) for name, share in inclusive.items() if any(room in name for room in OURS)]
    first = [f"{share:6.1%}  {name}" for name, share in own[:LINES]]
    second = [f"{share:6.1%}  {name}" for name, share in [*alone.items()][:LINES]]
    return "\n".join(["ours, with all they call", *first, "", "alone", *second])


def sampled(pid: int, load: Callable[[float], None]) -> list[str]:
    """Watch a process while it is under load; give the stacks."""
    spy = os.environ.get("PY_SPY") or shutil.which("py-spy")
    if spy is None:
        raise SystemExit("py-spy is not on PATH: pip install py-spy, or name it in PY_SPY")
    with tempfile.NamedTemporaryFile() as file:
        options = (
            "--format",
            "raw",
            "--gil",
            "--rate",
            str(A_SECOND),
            "--duration",
            str(SECONDS),
            "--output",
            file.name,
        )
        watching = subprocess.Popen([spy, "record", "--pid", str(pid), *options], stdout=subprocess.DEVNULL)
        load(time.monotonic() + SECONDS)
        if watching.wait():
            raise SystemExit("py-spy could not look: it needs to be root, or kernel.yama.ptrace_scope=0")
        return Path(file.name).read_text().splitlines()


def accept(place: Place, kind: Kind) -> list[str]:
    """Watch `serve` while it takes notifications."""
    with place.running("serve") as serving:
        piles = [kind.requests(place, 3_000) for _ in range(6)]
        shoot(place.port, piles.pop())

        def load(until: float) -> None:
            while piles and time.monotonic() < until:
                shoot(place.port, piles.pop())

        return sampled(serving.pid, load)


def work(place: Place, kind: Kind) -> list[str]:
    """Watch `work` while it processes refunds."""
    with place.running("work") as workers:
        sales = kind.sales(6_000, time.time())
        drain(place, workers, kind, kind.purchases(place, sales, time.time()), {})
        shots = kind.refunds(place, sales, time.time())
        ids = stored(place.store(), kind.platform, shots, retry_after_seconds=SWEEP_AFTER_SECONDS)

        def load(_until: float) -> None:
            drained(place, workers, ids, {})

        return sampled(workers.pid, load)


PATHS: Mapping[str, Callable[[Place, Kind], list[str]]] = {"accept": accept, "drain": work}
KINDS: Mapping[str, Kind] = {"stripe": STRIPE, "apple": APPLE}


def main(arguments: Sequence[str]) -> None:
    """Watch one hot path, and print where its time goes."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.profile", description=__doc__)
    parser.add_argument("path", nargs="?", default="accept", choices=PATHS, help="whom to watch: `serve`, or `work`")
    parser.add_argument("kind", nargs="?", default="stripe", choices=KINDS, help="whose notifications")
    parser.add_argument("--store", default=POSTGRESQL, choices=STORES, help="the database behind it")
    said = parser.parse_args(arguments)
    with Path(os.devnull).open("w") as nowhere, Grounds() as grounds, grounds.place(said.store) as place:
        configure_logs(nowhere, as_json=True)
        sys.stdout.write(report(PATHS[said.path](place, KINDS[said.kind])) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
