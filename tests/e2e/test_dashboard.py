"""Every panel of the dashboard asks what Prometheus understands, and shows what happened.

Real: Prometheus with our rules, a service on an endpoint and two workers that it scrapes every second, their traffic.
Doubles: none; of Grafana only what it puts into a query. What may be asserted: what Prometheus answers.
"""

import asyncio
import json
import re
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.e2e.running import DONE_SECONDS_MAX
from tests.e2e.watching import fall, recover, working
from tests.house.tree import ROOT
from tests.prometheus import program

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

BOARD = json.loads((ROOT / "deploy" / "grafana" / "clawback.json").read_text("utf-8"))
RULES = ROOT / "deploy" / "prometheus" / "clawback.rules.yml"
WITHOUT = {
    "Drift": "looks an hour back",
    "Questions to platforms' APIs": "nobody asks one here",
}
"""Panels that have nothing to show in the first minute of a service, and why."""
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - {{job_name: clawback-serve, static_configs: [{{targets: ["{serve}"]}}]}}
  - {{job_name: clawback-work, static_configs: [{{targets: ["{work}"]}}]}}
"""


def panels() -> Iterator[tuple[str, str]]:
    """List each query with the title of its panel, and in it what Grafana would have put there."""
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")


@dataclass
class Prometheus:
    """A running server."""

    url: str
    http: aiohttp.ClientSession

    async def ask(self, query: str) -> dict[str, Any]:
        """Execute a query, now."""
        async with self.http.get(f"{self.url}/api/v1/query", params={"query": query}) as response:
            return dict(await response.json())

    async def value(self, query: str) -> float:
        """Give the one value of a query; 0: it has none."""
        result = (await self.ask(query))["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0

    async def until(self, query: str) -> None:
        """Wait until a query gives more than 0."""
        deadline = time.monotonic() + DONE_SECONDS_MAX
        while time.monotonic() < deadline:
            with suppress(aiohttp.ClientError):
                if await self.value(query) > 0:
                    return
            await asyncio.sleep(0.1)
        raise AssertionError(f"never above 0: {query}")


@asynccontextmanager
async def scraping(directory: Path, *, serve: str, work: str) -> AsyncIterator[Prometheus]:
    """Run Prometheus on a free port, with our rules and two targets."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = directory / "prometheus.yml"
    config.write_text(
        CONFIG.format(rules=RULES, serve=serve.removeprefix("http://"), work=work.removeprefix("http://"))
    )
    options = [
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={address}",
    ]
    with running(program("prometheus"), options, directory / "prometheus.log"):
        async with aiohttp.ClientSession() as http:
            yield Prometheus(f"http://{address}", http)


@contextmanager
def running(server: str, options: Sequence[str], log: Path) -> Iterator[None]:
    """Run a server, and end it."""
    with log.open("wb") as output, subprocess.Popen([server, *options], stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prometheus(tmp_path_factory) -> AsyncIterator[Prometheus]:
    """Have a service watched while everything happens to it."""
    program("prometheus")  # before anything is started
    directory = tmp_path_factory.mktemp("prometheus")
    async with (
        fall(tmp_path_factory.mktemp("night")) as night,
        working(night),
        scraping(directory, serve=night.installation.url, work=night.work_url) as watching,
    ):
        await watching.until("min(up) * count(up) / 2")
        await night.sell_and_refund(1)
        await watching.until("max(clawback_subscriber_failing_seconds)")
        recover(night)
        await night.refuse()
        await night.puzzle()
        await night.sell_and_refund(2)
        await watching.until('sum(rate(clawback_deliveries_total{outcome="delivered"}[5m]))')
        for timed in ("verify", "accept", "process", "receive_to_effect"):
            await watching.until(f"min(sum by (platform) (rate(clawback_{timed}_seconds_count[5m])))")
        yield watching


@pytest.mark.parametrize(("panel", "query"), list(panels()))
async def test_a_panel_shows_what_happened(prometheus: Prometheus, panel: str, query: str):
    """A query is understood, and has data where there was traffic."""
    answer = await prometheus.ask(query)

    assert "success" == answer["status"], answer
    values = [float(sample["value"][1]) for sample in answer["data"]["result"]]
    assert (panel in WITHOUT) == (not values)
    assert [] == [value for value in values if value != value]  # noqa: PLR0124 - not a number


async def test_rules_are_evaluated_by_a_real_server(prometheus: Prometheus):
    """Every rule of ours is healthy on real data, and the dead notification of this night fires."""
    async with prometheus.http.get(f"{prometheus.url}/api/v1/rules") as response:
        groups = (await response.json())["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]

    assert len(re.findall(r"- alert:|record:", RULES.read_text("utf-8"))) == len(rules)
    await prometheus.until('count(ALERTS{alertname="ClawbackDead", alertstate="firing"})')
    assert set() == {(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"}
