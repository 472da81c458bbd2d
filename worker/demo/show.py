"""Tell stories to a running service, with the demo app's backend listening, and show each as it ends."""

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

from config.settings import Settings
from worker.demo.backend import Backend
from worker.demo.place import CONFIG_FILE
from worker.demo.trust import APP, LIFETIME_PRODUCT, PRODUCT
from worker.simulator.play import Played, Player, PlayError, Stage
from worker.simulator.registry import SPEAKERS
from worker.simulator.sales import Till
from worker.simulator.story import Story

T = TypeVar("T")

ANSWER_SECONDS_MAX = 30.0


class Show:
    """A stage with the demo app's backend in its own thread, from `start` until `stop`.

    Args:
        settings: the demo's.
        directory: where its keys are.
        url: the running service's endpoint.
        api_url: its API.
    """

    def __init__(self, settings: Settings, directory: Path, *, url: str, api_url: str) -> None:
        self._settings = settings
        self._directory = directory
        self._url = url
        self._api_url = api_url
        subscriber = settings.subscribers[0]
        self._address = urlsplit(subscriber.url)
        self._backend = Backend(subscriber.secrets)
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="demo-backend", daemon=True)
        self._begun = threading.Event()
        self._refused: OSError | None = None

    def start(self) -> None:
        """Let the backend listen.

        Raises:
            PlayError: its port is taken.
        """
        self._thread.start()
        self._begun.wait(ANSWER_SECONDS_MAX)
        if self._refused is not None:
            file, reason = self._directory / CONFIG_FILE, os.strerror(self._refused.errno or 0)
            raise PlayError(
                f"the demo app's backend cannot listen at {self._address.netloc} ({reason}): free that port, or name "
                f"another in {file}"
            )

    def stop(self) -> None:
        """Let the backend go."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(ANSWER_SECONDS_MAX)

    def tell(self, scripts: Iterable[tuple[str, Story]], shown: Callable[[Played], object]) -> list[Played]:
        """Tell stories one after the other.

        Args:
            scripts: platform and story.
            shown: called with each as it ends.

        Raises:
            PlayError: the service did not answer.
        """
        return self._await(self._tell(list(scripts), shown))

    async def _tell(self, scripts: list[tuple[str, Story]], shown: Callable[[Played], object]) -> list[Played]:
        told = []
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_SECONDS_MAX), trust_env=False) as http:
            stage = Stage(
                http=http,
                url=self._url,
                api_url=self._api_url,
                token=self._settings.admin.tokens[0],
                app=APP,
                arrived=self._backend.arrived,
            )
            for platform, story in scripts:
                played = await self._player(stage, platform).play(story)
                shown(played)
                told.append(played)
        return told

    def _player(self, stage: Stage, platform: str) -> Player:
        speaker = SPEAKERS[platform]
        simulator = speaker.simulator(self._directory, self._settings.apps[APP].platform(platform))
        # Somebody new each time, so that a show can be repeated on the same data.
        random = Random(secrets.randbits(64))  # noqa: S311 - ids of make-believe sales
        till = Till(platform, random, product_id=PRODUCT, lifetime_product_id=LIFETIME_PRODUCT)
        return Player(stage, platform, speaker, simulator, till)

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._listen())
        except OSError as error:
            self._refused = error
        finally:
            self._begun.set()

    async def _listen(self) -> None:
        host, port = self._address.hostname or "127.0.0.1", self._address.port or 80
        async with self._backend.listening(host, port):
            self._begun.set()
            await self._closing.wait()
