"""`clawback prune`."""

import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.common import Failure, installation_options, json_option, print_json
from worker.cli.opened import opened
from worker.cli.progress import long_work

if TYPE_CHECKING:
    from worker.runtime import Runtime
    from worker.sweeper import Round

KINDS = ("events", "deliveries", "notifications", "answers")
PAUSE_SECONDS = 0.01
"""Between two batches, so that whoever waits to write comes first."""
WAIT_SECONDS_MAX = 30.0
ASK_AGAIN_SECONDS = 0.2


@click.command("prune")
@click.option("--dry-run", is_flag=True, help="Only say how much it would be.")
@click.option("--by-worker", is_flag=True, help="Have a worker do it, and do not wait for that.")
@installation_options
@json_option
def command(config: Path | None, data_dir: Path, *, dry_run: bool, by_worker: bool, as_json: bool) -> None:
    """Forget what is older than [store] keep_… say, now and all of it.

    Workers do the same every hour, a batch at a time; this is for whoever shortened what is kept, or runs no worker.
    Entries, purchases, refunds and entitlements are never forgotten, nor is what is not finished.
    """
    if dry_run and by_worker:
        raise click.UsageError("--dry-run counts here and now: leave one of --dry-run and --by-worker out")
    with opened(config, data_dir) as runtime:
        if by_worker:
            _ask_worker(runtime, as_json=as_json)
        else:
            _say(runtime, _count(runtime) if dry_run else _prune(runtime), dry_run=dry_run, as_json=as_json)


def _say(runtime: "Runtime", done: Counter[str], *, dry_run: bool, as_json: bool) -> None:
    pruned, kept = {kind: done[kind] for kind in KINDS}, runtime.settings.store
    if as_json:
        print_json({**pruned, "dry_run": dry_run})
        return
    click.echo(
        f"{', '.join(f'{number} {kind}' for kind, number in pruned.items())} {'would go' if dry_run else 'gone'}."
    )
    for_ever = [kind for kind in KINDS[:3] if not getattr(kept, f"keep_{kind}_days")]
    if for_ever:
        keys = ", ".join(f"keep_{kind}_days" for kind in for_ever)
        click.echo(f"Kept as long as the configuration does not say otherwise ([store] {keys}): {', '.join(for_ever)}.")


def _ask_worker(runtime: "Runtime", *, as_json: bool) -> None:
    from worker.broker import make_broker
    from worker.deeds import of_the_command_line
    from worker.queue import BrokerQueue

    runtime.store.change(of_the_command_line("store.prune", runtime.clock).note)
    with closing(BrokerQueue(make_broker(runtime.settings))) as queue:
        queue.put_pruning()
    if as_json:
        print_json({"asked": True})
    else:
        click.echo("A worker was asked to. Its log says how much goes: sweep.pruned.")


def _count(runtime: "Runtime") -> Counter[str]:
    """Count what is older than it is to be kept. A little less may go: what is still needed stays."""
    from worker.store import inbox_retention as counts
    from worker.sweeper import ends_ms

    with runtime.store.read() as connection:
        return Counter(
            {
                kind: getattr(counts, f"count_{kind}")(connection, before_ms=before_ms)
                for kind, before_ms in ends_ms(runtime).items()
            }
        )


def _prune(runtime: "Runtime") -> Counter[str]:
    from worker.deeds import of_the_command_line
    from worker.store import answers
    from worker.sweeper import NEW_ROUND, ends_ms, further, prune_batch

    done: Counter[str] = Counter()
    with runtime.store.write() as connection:
        of_the_command_line("store.prune", runtime.clock).note(connection)
        done["answers"] = answers.forget_old(connection, before_ms=ends_ms(runtime)["answers"])
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    with long_work("Forgetting") as advance:
        so_far: Round | None = NEW_ROUND
        while so_far is not None:
            pruned = prune_batch(runtime, so_far)
            if pruned is None:
                if time.monotonic() > deadline:
                    raise Failure("another process is at it, and goes on by itself: look again in a while")
                time.sleep(ASK_AGAIN_SECONDS)
                continue
            counted = {kind: sum(getattr(batch, kind) for batch in pruned.values()) for kind in KINDS[:3]}
            done.update(counted)
            advance(sum(counted.values()))
            so_far, deadline = further(pruned), time.monotonic() + WAIT_SECONDS_MAX
            time.sleep(PAUSE_SECONDS)
    return done
