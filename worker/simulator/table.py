"""Show a played story to a person: one line per thing that arrived, one per station of the one that mattered."""

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from worker.simulator.play import Played, Posted

PLATFORM_TITLES = {"apple": "Apple", "google": "Google Play", "stripe": "Stripe", "amazon": "Amazon"}


def panel(played: Played) -> Panel:
    """Draw one story."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(justify="right", style="cyan", min_width=10)
    lines.add_column(min_width=14)
    lines.add_column(overflow="fold")
    decisive = _decisive(played)
    for posted in played.posted:
        for line in _stations(posted) if posted is decisive else [_line(posted)]:
            lines.add_row(*line)
    title = f"[bold]{PLATFORM_TITLES[played.platform]}[/] · {played.story.name}"
    return Panel(
        Group(Text(played.story.summary, style="italic"), lines, *_verdict(played)),
        title=title,
        title_align="left",
        border_style="red" if played.wrong else "green",
    )


def summary(stories: Sequence[Played]) -> Table:
    """Draw one line per story."""
    title = "Every story, how it ended, and how long after its POST"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("platform", no_wrap=True)
    table.add_column("story", overflow="fold")  # the one that gives way on a narrow terminal
    table.add_column("ended", no_wrap=True)
    for column in ("in effect", "delivered"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for played in stories:
        decisive = _decisive(played)
        table.add_row(
            PLATFORM_TITLES[played.platform],
            played.story.name,
            played.ended or f"{played.end.clawed_back} units back",
            _ms(decisive.visible_ms if decisive else None),
            _ms(decisive.delivered_ms if decisive else None),
            Text("✗ " + "; ".join(played.wrong), style="red") if played.wrong else Text("✓", style="green"),
        )
    return table


def document(played: Played) -> dict[str, object]:
    """Say the same to a program."""
    return {
        "platform": played.platform,
        "story": played.story.name,
        "user_id": played.sale.user_id,
        "ended": played.ended,
        "expected": played.story.ends,
        "refunds": list(played.end.refunds),
        "clawed_back": played.end.clawed_back,
        "told": list(played.end.told),
        "ok": not played.wrong,
        "wrong": list(played.wrong),
        "posted": [
            {
                "what": posted.what,
                "type": posted.type,
                "status": posted.status,
                "reason": posted.reason,
                "duplicate": posted.duplicate,
                "notification": posted.notification["id"] if posted.notification else None,
                "events": [event["type"] for event in posted.events],
                "answered_ms": posted.answered_ms,
                "visible_ms": posted.visible_ms,
                "delivered_ms": posted.delivered_ms,
            }
            for posted in played.posted
        ],
    }


def _decisive(played: Played) -> Posted | None:
    """The last notification that changed anything, else the last that was taken in."""
    taken = [posted for posted in played.posted if posted.notification]
    return next((posted for posted in reversed(taken) if posted.events), taken[-1] if taken else None)


def _line(posted: Posted) -> tuple[RenderableType, ...]:
    if posted.duplicate:
        outcome = "200, had it already"
    elif posted.status >= 400:
        outcome = f"[red]{posted.status}[/] {posted.reason}"
    else:
        outcome = ", ".join(event["type"] for event in posted.events) or posted.reason or "stored, no change"
    return (_ms(posted.visible_ms or posted.answered_ms), posted.what, f"[bold]{posted.type}[/]  {outcome}")


def _stations(posted: Posted) -> Iterator[tuple[RenderableType, ...]]:
    """List the stations in the order of time: a worker may pick it up before the platform has its answer."""
    notification = posted.notification or {}
    at = notification.get("stations", {})
    types = ", ".join(event["type"] for event in posted.events) or notification.get("reason") or "no change"
    stations = (
        (at.get("verified"), "verified", "every signature, and whose app it is about"),
        (posted.answered_ms, "answered", "200: it is on disk, and its id is on the queue"),
        (at.get("picked_up"), "picked up", "by a worker"),
        (at.get("decided"), "decided", f"[yellow]{types}[/]"),
        (posted.visible_ms, "in effect", "committed: ledger, refund, entitlement and outbox at once"),
        (posted.delivered_ms, "delivered", "to the app's backend, which verified our signature"),
    )
    yield (
        "0.0 ms",
        f"[bold]{posted.what}[/]",
        f"[bold]{posted.type}[/]  {posted.size / 1000:.1f} kB, signed and posted",
    )
    passed = sorted((ms, name, what) for ms, name, what in stations if ms is not None)
    yield from ((_ms(ms), f"  {name}", what) for ms, name, what in passed)


def _verdict(played: Played) -> Iterator[RenderableType]:
    if not played.wrong:
        yield Text(f"✓ {_outcome(played)}", style="green")
    for wrong in played.wrong:
        yield Text(f"✗ {wrong}", style="bold red")


def _outcome(played: Played) -> str:
    """Say in words what a story left: of what was used up that is units, of all else access."""
    end = played.end
    if end.entitlement is None:
        return f"{end.clawed_back} units are taken back"
    member = f", the member's is {end.member_entitlement}" if end.member_entitlement else ""
    return f"the entitlement is {end.entitlement}{member}"


def _ms(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.1f} ms"
