"""`clawback simulate`: rehearse refunds against a running service, signed as the platform would."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import click

from worker.cli.common import Failure, data_dir_option, json_option, print_json

if TYPE_CHECKING:
    from worker.simulator.play import Played


@click.command("simulate")
@click.argument("platform", required=False)
@click.argument("story", required=False)
@click.option("--list", "list_stories", is_flag=True, help="List every story and where it happens.")
@click.option("--app", help="The app to send to. [default: the demo's]")
@click.option("--url", help="The service's address. [default: the demo's]")
@click.option("--api-url", help="The API's address, if it has its own port. [default: as --url]")
@click.option("--token", envvar="CLAWBACK_TOKEN", help="A bearer token of the API. [default: the demo's]")
@click.option("--count", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="How often.")
@click.option("--rate", type=click.FloatRange(0.001, 10_000), help="Stories per second. [default: one after another]")
@click.option("--user", help="Who buys. [default: somebody new]")
@click.option("--purchase", help="The first purchase's id on the platform. [default: a new one]")
@click.option("--seed", type=int, help="Makes the same ids again.")
@data_dir_option
@json_option
def command(platform: str | None, story: str | None, **options: Any) -> int:
    """Send the notifications of a STORY as PLATFORM, genuinely signed with the demo's trust.

    Needs a `clawback run` in demo mode, whose data directory holds the keys; an app of your own believes it as well
    if its configuration names the demo's keys.
    """
    from worker.simulator.stories import STORIES

    if options["list_stories"]:
        _print_stories(as_json=options["as_json"])
        return 0
    if not (platform and story):
        raise click.UsageError("name a PLATFORM and a STORY; `clawback simulate --list` shows them")
    platforms = sorted({name for known in STORIES.values() for name in known.platforms})
    if platform not in platforms:
        raise click.UsageError(f"the platform {platform!r} is unknown; known are {', '.join(platforms)}")
    if story not in STORIES or platform not in STORIES[story].platforms:
        raise click.UsageError(f"{platform} has no story {story!r}; `clawback simulate --list` shows them")
    told = asyncio.run(_simulate(platform, story, options))
    _show(told, as_json=options["as_json"])
    return 1 if any(played.wrong for played in told) else 0


async def _simulate(platform: str, story: str, options: Mapping[str, Any]) -> "list[Played]":
    import aiohttp

    from worker.simulator.play import PlayError, Stage

    settings, directory = _demo(options["data_dir"])
    url = options["url"] or f"http://{settings.server.host}:{settings.server.port}"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30), trust_env=False) as http:
        stage = Stage(
            http=http,
            url=url.rstrip("/"),
            api_url=(options["api_url"] or url).rstrip("/"),
            token=options["token"] or settings.admin.tokens[0],
            app=options["app"] or next(iter(settings.apps)),
        )
        try:
            return await _repeat(stage, settings, directory, platform, story, options)
        except PlayError as error:
            raise Failure(str(error)) from None


async def _repeat(
    stage: Any, settings: Any, directory: Path, platform: str, story: str, options: Mapping[str, Any]
) -> "list[Played]":
    """Play the story as often as asked: one after another, or begun at a steady rate."""
    from worker.demo.trust import APP, LIFETIME_PRODUCT, PRODUCT
    from worker.simulator.play import Player
    from worker.simulator.registry import SPEAKERS
    from worker.simulator.sales import Till
    from worker.simulator.stories import STORIES

    seed = options["seed"] if options["seed"] is not None else secrets.randbits(64)
    random = Random(seed)  # noqa: S311 - ids of make-believe sales, reproducible on purpose
    speaker = SPEAKERS[platform]
    simulator = speaker.simulator(directory, settings.apps[APP].platform(platform))

    async def once(number: int) -> "Played":
        till = Till(
            platform,
            random,
            product_id=PRODUCT,
            lifetime_product_id=LIFETIME_PRODUCT,
            user_id=options["user"],
            purchase_id=options["purchase"] if number == 0 else None,
        )
        return await Player(stage, platform, speaker, simulator, till).play(STORIES[story])

    if not options["rate"]:
        return [await once(number) for number in range(options["count"])]
    began, running = time.monotonic(), []
    for number in range(options["count"]):
        await asyncio.sleep(max(0.0, began + number / options["rate"] - time.monotonic()))
        running.append(asyncio.create_task(once(number)))
    return list(await asyncio.gather(*running))


def _demo(data_dir: Path) -> tuple[Any, Path]:
    """Find the demo's trust, or say how to make it."""
    from config.load import load
    from worker.demo.place import CONFIG_FILE, demo_directory

    directory = demo_directory(data_dir)
    if not (directory / CONFIG_FILE).exists():
        raise Failure(f"{directory} holds no demo keys: start `clawback run` first, or name its --data-dir")
    return load(directory / CONFIG_FILE, {}), directory


def _print_stories(*, as_json: bool) -> None:
    from worker.simulator.stories import STORIES

    if as_json:
        print_json([{"story": s.name, "platforms": s.platforms, "summary": s.summary} for s in STORIES.values()])
        return
    for story in STORIES.values():
        click.echo(f"{story.name:<36} {', '.join(story.platforms):<32} {story.summary}")


def _show(told: "list[Played]", *, as_json: bool) -> None:
    from rich.console import Console

    from worker.simulator.table import document, panel

    if as_json:
        print_json([document(played) for played in told])
        return
    console = Console()
    if len(told) == 1:
        console.print(panel(told[0]))
        return
    wrong = [played for played in told if played.wrong]
    for played in wrong[:5]:
        console.print(panel(played))
    console.print(f"{len(told) - len(wrong)} of {len(told)} ended as they should.", highlight=False)
