"""Say whether a story ended as it must: what is held to be true in the end, against what the story states."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from worker.simulator.story import Story


@dataclass(frozen=True, slots=True)
class End:
    """What is held to be true of the people of a story.

    Attributes:
        entitlement: the buyer's; None: there is none.
        member_entitlement: the family member's.
        refunds: the status of every refund on record, in the order of the alphabet.
        clawed_back: how many units were taken back.
        told: every event that subscribers had.
    """

    entitlement: str | None
    member_entitlement: str | None = None
    refunds: tuple[str, ...] = ()
    clawed_back: int = 0
    told: tuple[str, ...] = ()


def end_of(
    entitlements: Iterable[Mapping[str, Any]],
    members: Iterable[Mapping[str, Any]],
    refunds: Iterable[Mapping[str, Any]],
    purchases: Iterable[Mapping[str, Any]],
    *timelines: Iterable[Mapping[str, Any]],
) -> End:
    """Gather what the API answers about the people of a story."""
    return End(
        entitlement=next((found["status"] for found in entitlements), None),
        member_entitlement=next((found["status"] for found in members), None),
        refunds=tuple(sorted(found["status"] for found in refunds)),
        clawed_back=sum(found["units_clawed_back"] for found in purchases),
        told=tuple(item["type"] for item in chain(*timelines) if not item["type"].startswith("ledger.")),
    )


def differences(story: Story, end: End) -> Iterator[str]:
    """Say in words what did not end as the story states."""
    if end.entitlement != story.ends:
        yield f"the entitlement is {end.entitlement or 'missing'}, not {story.ends or 'missing'}"
    if end.member_entitlement != story.member_ends:
        yield f"the member's is {end.member_entitlement or 'missing'}, not {story.member_ends or 'missing'}"
    if end.refunds != story.refunds:
        yield f"refunds on record: {_listed(end.refunds)}, not {_listed(story.refunds)}"
    if end.clawed_back != story.clawed_back:
        yield f"{end.clawed_back} units are taken back, not {story.clawed_back}"
    if missing := [event for event in story.told if event not in end.told]:
        yield f"nobody was told {_listed(missing)}"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
