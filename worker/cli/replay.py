"""`clawback replay`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.choosing import STATUSES, refuse_empty_span, selection_options, time_options
from worker.cli.common import Failure, installation_options, json_option, print_json
from worker.cli.opened import opened
from worker.cli.progress import long_work

if TYPE_CHECKING:
    from worker.deeds import Deed
    from worker.runtime import Runtime
    from worker.store.selection import Chosen, Selection

COUNTED_MAX = 5_000
"""So many are looked at with one statement."""


@click.command("replay")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@selection_options
@click.option("--status", "statuses", type=click.Choice(STATUSES), multiple=True, help="In this status; or several.")
@click.option("--type", metavar="TYPE", help="Of this type, in the platform's word.")
@time_options("What came")
@click.option("--all", "everything", is_flag=True, help="Everything that is finished.")
@click.option("--dry-run", is_flag=True, help="Only say how many it would be.")
@installation_options
@json_option
def command(ids: tuple[str, ...], config: Path | None, data_dir: Path, **options: Any) -> None:
    """Process stored notifications again: those with these ids, or all that the options choose.

    They are accepted once more and the workers take them up, as if they had come just now; what they said before is not
    said twice, so it is harmless at any time. Without --status, everything that is finished is chosen.
    """
    wanted, dry_run = _wanted(ids, options), options["dry_run"]
    with opened(config, data_dir) as runtime:
        wanted = wanted and until_now(runtime, wanted)
        chosen = named(runtime, ids) if wanted is None else ()
        counted = Counter(each.status for each in chosen) if wanted is None else count(runtime, wanted)
        total = sum(counted.values())
        done = 0 if dry_run else _replay(runtime, wanted or chosen, total)
    if options["as_json"]:
        print_json({"chosen": total, "by_status": counted, "replayed": done, "dry_run": dry_run})
    elif dry_run:
        click.echo(f"{how_many(counted)} would be replayed.")
    else:
        click.echo(f"{how_many(counted)}: {done} accepted again, for the workers to take up.")


def named(runtime: "Runtime", ids: Sequence[str]) -> Sequence["Chosen"]:
    """Find these, each once.

    Raises:
        Failure: one of them is not there. Then nothing is done to the others either.
    """
    from worker.store import selection

    with runtime.store.read() as connection:
        found = selection.find(connection, ids)
    if missing := [id_ for id_ in dict.fromkeys(ids) if id_ not in found]:
        others = f", nor {len(missing) - 1} more of these" if len(missing) > 1 else ""
        raise Failure(f"there is no notification {missing[0]}{others}; nothing was done")
    return list(found.values())


def until_now(runtime: "Runtime", wanted: "Selection") -> "Selection":
    """Leave out what comes while this goes on: it would never end. No clock is asked, as hosts differ."""
    from worker.store import selection

    if wanted.until_ms is not None:
        return wanted
    with runtime.store.read() as connection:
        return replace(wanted, until_ms=selection.newest_ms(connection) + 1)


def replay_all(runtime: "Runtime", wanted: "Selection | Sequence[Chosen]", total: int, deed: "Deed") -> int:
    """Replay what is chosen, batch by batch, each with its row in the audit log; returns how many that were."""
    from worker.replay import batches_of, replay_batches
    from worker.store.selection import Selection

    batches = batches_of(runtime, wanted) if isinstance(wanted, Selection) else _portions(wanted)
    done = 0
    with long_work("Replaying", total) as advance:
        for replayed in replay_batches(runtime, batches, deed.note_each):
            advance(replayed)
            done += replayed
    return done


def _replay(runtime: "Runtime", wanted: "Selection | Sequence[Chosen]", total: int) -> int:
    from worker.deeds import of_the_command_line

    return replay_all(runtime, wanted, total, of_the_command_line("notification.replay", runtime.clock))


def _wanted(ids: tuple[str, ...], options: dict[str, Any]) -> "Selection | None":
    """Read what is meant; None: the ids."""
    choice = ("app", "platform", "environment", "type", "statuses", "since_ms", "until_ms")
    chosen = {name: options[name] for name in choice if options[name] not in (None, ())}
    if ids and (chosen or options["everything"]):
        raise click.UsageError("name notifications by their ids, or choose them by options, not both")
    if not (ids or chosen or options["everything"]):
        raise click.UsageError("name notifications by their ids, or choose them: --status dead, --since 24h, --all")
    refuse_empty_span(options["since_ms"], options["until_ms"])
    if ids:
        return None
    from worker.store.selection import Selection

    return Selection(**{"statuses": tuple(each for each in STATUSES if each != "accepted"), **chosen})


def count(runtime: "Runtime", wanted: "Selection") -> Counter[str]:
    """Count what is chosen, by status."""
    from worker.replay import batches_of

    counted: Counter[str] = Counter()
    with long_work("Counting") as advance:
        for batch in batches_of(runtime, wanted, size=COUNTED_MAX):
            counted.update(each.status for each in batch)
            advance(len(batch))
    return counted


def _portions(chosen: Sequence["Chosen"]) -> Iterator[Sequence["Chosen"]]:
    from worker.replay import BATCH_MAX

    return (chosen[at : at + BATCH_MAX] for at in range(0, len(chosen), BATCH_MAX))


def how_many(counted: Counter[str]) -> str:
    """Say how many notifications that are, and of which status."""
    total = sum(counted.values())
    kinds = ", ".join(f"{count} {status}" for status, count in sorted(counted.items()))
    return f"{total} notification{'' if total == 1 else 's'}{f' ({kinds})' if kinds else ''}"
