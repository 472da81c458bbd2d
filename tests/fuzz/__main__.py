"""Fuzz one target under Atheris: `python -m tests.fuzz TARGET DIRECTORY [-max_total_time=SECONDS …]`.

What it finds interesting is kept in `DIRECTORY/TARGET`, what breaks a law in `DIRECTORY/TARGET-crash-…`. With such a
file as a third argument it runs that input once, and shows what it broke.
"""

import shutil
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["config", "handlers", "schemas"], enable_loader_override=False):
    from tests.fuzz.mutate import Mutator
    from tests.fuzz.targets import NAMES, SIZE_MAX_BYTES, Target, target


def main(name: str, directory: Path, options: list[str]) -> None:
    """Fuzz until the time is over or something breaks; Atheris ends the process."""
    trust = directory / "trust" / name
    shutil.rmtree(trust, ignore_errors=True)
    trust.mkdir(parents=True)
    fuzzed = target(name, trust)
    once = any(not option.startswith("-") for option in options)
    corpus = [] if once else [_planted(fuzzed, directory / name)]
    bounds = [f"-max_len={SIZE_MAX_BYTES}", "-len_control=0", "-timeout=20", "-rss_limit_mb=4096"]
    # One mutation is several changes already; more of them in a row make mostly noise.
    habits = ["-mutate_depth=2", "-print_final_stats=1"]
    mutator = Mutator(fuzzed.words, fuzzed.seeds, lambda *of: atheris.Mutate(*of))  # noqa: PLW0108 - rebound when fuzzing begins
    atheris.Setup(
        [name, *corpus, f"-artifact_prefix={directory}/{name}-", *bounds, *habits, *options],
        fuzzed.run,
        custom_mutator=mutator.mutate,
        custom_crossover=mutator.cross,
    )
    atheris.Fuzz()


def _planted(fuzzed: Target, corpus: Path) -> str:
    """Put the seeds where the fuzzer begins, beside what it found there before."""
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(fuzzed.seeds):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    return str(corpus)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in NAMES:
        sys.exit(f"usage: python -m tests.fuzz TARGET DIRECTORY [libFuzzer options]\ntargets: {' '.join(NAMES)}")
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
