"""Measure Clawback beside what else there is, and print one table: `python -m tests.benchmarks [WORD …]`.

    make bench                       # everything, about ten minutes
    make bench WORDS="drain sqlite"  # only what has all of these words in its name

A missed goal is said, and is no failure: machines differ, and this one is shared.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from config.logs import configure_logs
from tests.benchmarks import accept, alone, drain, idle, memory, slow, start, stream
from tests.benchmarks.figures import Figure, compared, table
from tests.benchmarks.place import POSTGRESQL, SQLITE, Grounds
from tests.benchmarks.scope import Scope

Measure = Callable[[Grounds, Scope], Iterator[Figure]]
LINES: Sequence[Measure] = (
    start.measure,
    accept.ceiling,
    alone.measure,
    accept.measure,
    drain.measure,
    idle.measure,
    memory.measure,
    slow.measure,
    stream.measure,
)


def measured(scope: Scope) -> list[Figure]:
    """Measure every line that is wanted; what was measured before Ctrl-C counts."""
    figures: list[Figure] = []
    with Grounds() as grounds:
        try:
            for line in LINES:
                figures.extend(_told(line(grounds, scope), scope))
        except KeyboardInterrupt:
            scope.say("stopped: this is what was measured so far")
    return [*figures, *compared(figures, POSTGRESQL, SQLITE)]


def _told(figures: Iterator[Figure], scope: Scope) -> Iterator[Figure]:
    for figure in figures:
        scope.say("  ".join(cell for cell in figure.cells() if cell))
        yield figure


def main(arguments: Sequence[str]) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="measure only what has all of them in its name")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller runs")
    parser.add_argument("--long", action="store_true", help="with what takes an hour")
    parser.add_argument("--json", action="store_true", help="print the table as JSON, with every sample")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Path(os.devnull).open("w") as nowhere:
        configure_logs(nowhere, as_json=True)
        figures = measured(Scope(asked.words, quick=asked.quick, long=asked.long))
    documents = [figure.document() for figure in figures]
    sys.stdout.write((json.dumps(documents, indent=2) if asked.json else table(figures)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
