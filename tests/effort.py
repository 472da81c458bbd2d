"""How hard is tried: properties with as many examples as this run affords, laws with the most; soaks for as long.

`HYPOTHESIS_PROFILE` chooses: `home` while working, `ci` for every change, `long` for `make test-long`.
"""

import os
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.services import STORES


class Effort(NamedTuple):
    """How much one run may take.

    Attributes:
        examples: of an ordinary property.
        law_examples: of a law.
        machine_runs: of a state machine, with `machine_steps` steps each.
        property_seconds: after which one property is stuck.
        soak_events: that subscribers are told of while workers are killed (tests/soak).
        soak_stores: on which databases.
        soak_seconds: after which the soak test is stuck.
        faults: whether every fault is tried everywhere (tests/crash), or each where it says most.
        away_seconds: how long what is unreachable stays so.
        backlog: notifications that are drained at once (tests/overload).
        backlog_seconds: after which that is stuck.
        storm_seconds: how long more is sent than can be borne.
    """

    examples: int
    law_examples: int
    machine_runs: int
    machine_steps: int
    property_seconds: int
    soak_events: int
    soak_stores: tuple[str, ...]
    soak_seconds: int
    faults: bool = False
    away_seconds: float = 3.0
    backlog: int = 4_000
    backlog_seconds: int = 120
    storm_seconds: float = 4.0


EFFORTS: Final = {
    "home": Effort(
        100, 100, 40, 20, property_seconds=300, soak_events=450, soak_stores=("postgresql",), soak_seconds=300
    ),
    "ci": Effort(300, 1_000, 60, 25, property_seconds=900, soak_events=450, soak_stores=STORES, soak_seconds=600),
    "long": Effort(
        2_000,
        20_000,
        1_000,
        40,
        property_seconds=7_200,
        soak_events=20_000,
        soak_stores=STORES,
        soak_seconds=3_600,
        faults=True,
        away_seconds=30.0,
        backlog=1_000_000,
        backlog_seconds=14_400,
        storm_seconds=60.0,
    ),
}
PROFILE: Final = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "home")
EFFORT: Final = EFFORTS[PROFILE]

thorough = pytest.mark.skipif(not EFFORT.faults, reason="it is long, or like another: make test-crash has it")
"""Marks what a short run leaves out."""

_Test = TypeVar("_Test", bound=Callable[..., object])


def register() -> None:
    """Tell Hypothesis of the profiles and load this run's. In CI the examples are the same each time."""
    for name, effort in EFFORTS.items():
        settings.register_profile(
            name,
            max_examples=effort.examples,
            deadline=None,
            derandomize=name == "ci",
            suppress_health_check=[HealthCheck.too_slow],
        )
    settings.load_profile(PROFILE)


def law(test: _Test) -> _Test:
    """Try one of the ten laws of the house: harder than other properties. Stands above `@given`."""
    tried: _Test = settings(settings.get_profile(PROFILE), max_examples=EFFORT.law_examples)(test)
    marked: _Test = pytest.mark.law(tried)
    return marked
