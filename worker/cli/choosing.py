"""How an operator names what a verb is about: options for app, platform and time, and words for moments."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

PLATFORMS: Final = ("apple", "google", "stripe", "amazon")
STATUSES: Final = ("accepted", "processed", "ignored", "quarantined", "dead")

_AGO = re.compile(r"(\d{1,6})\s*(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_YEARS = range(1971, 9999)


class Moment(click.ParamType[int]):
    """A moment in Unix milliseconds, from any of the ways in which people write one."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read `2026-11-22`, `2026-11-22T18:30:00+01:00` (UTC where no zone is named), Unix seconds, or `90m` ago."""
        try:
            at = _moment(value.strip())
        except (ValueError, OverflowError):
            at = None
        if at is None or at.year not in _YEARS:
            forms = "2026-11-22, 2026-11-22T18:30, Unix seconds, or 90m, 24h, 7d (ago)"
            self.fail(f"{value!r} is no moment: {forms}", param, ctx)
        return int(at.timestamp() * 1000)


def _moment(text: str) -> datetime:
    if text.isdecimal() and len(text) >= 9:  # 20261122 is a date
        return datetime.fromtimestamp(int(text), UTC)
    if ago := _AGO.fullmatch(text.removesuffix(" ago")):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def selection_options(verb: F) -> F:
    """Give a verb `--app`, `--platform` and `--environment`."""
    app = click.option("--app", help="Of this app alone.")
    platform = click.option("--platform", type=click.Choice(PLATFORMS), help="Of this platform alone.")
    environment = click.option("--environment", type=click.Choice(("production", "sandbox")), help="Of this one alone.")
    return app(platform(environment(verb)))


def time_options(what: str) -> Callable[[F], F]:
    """Give a verb `--since` and `--until`."""

    def given(verb: F) -> F:
        example = "2026-11-22, 2026-11-22T18:30, Unix seconds, or 24h (ago)"
        since = click.option("--since", "since_ms", type=Moment(), help=f"{what} then or later: {example}.")
        until = click.option("--until", "until_ms", type=Moment(), help=f"{what} before then.")
        return since(until(verb))

    return given


def refuse_empty_span(since_ms: int | None, until_ms: int | None) -> None:
    """Refuse a span of time that ends before it begins."""
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise click.UsageError("--until is not after --since: nothing is between them")
