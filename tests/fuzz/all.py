"""Fuzz every target for its share of the time: `python -m tests.fuzz.all DIRECTORY SECONDS`, what `make fuzz` runs."""

import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import NAMES


def main(directory: Path, seconds: int) -> int:
    """Fuzz one target after the other, and tell what became of each; 0 if nothing was found."""
    share = max(1, seconds // len(NAMES))
    directory.mkdir(parents=True, exist_ok=True)
    _say(f"{len(NAMES)} targets, {share} s each; inputs, logs and findings in {directory}")
    return max([_fuzz(name, directory, share) for name in NAMES])


def _fuzz(name: str, directory: Path, seconds: int) -> int:
    log = directory / f"{name}.log"
    known = set(directory.glob(f"{name}-*"))
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.fuzz", name, str(directory), f"-max_total_time={seconds}"]
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    runs = re.search(r"number_of_executed_units: (\d+)", log.read_text("utf-8", "replace"))
    found = sorted(path.name for path in set(directory.glob(f"{name}-*")) - known)
    outcome = f"FOUND {', '.join(found) or 'no input'}: see {log}" if code else "nothing found"
    _say(f"{name:<12} {runs[1] if runs else '?':>9} runs   {outcome}")
    return int(code != 0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tests.fuzz.all DIRECTORY SECONDS")
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
