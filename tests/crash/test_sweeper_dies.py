"""Whoever sweeps dies, or is stopped: another worker sweeps on, and what must be done once is done once.

Real: two workers, the database and its clock, SIGKILL, SIGSTOP. Double: the broker, which is not there, so that
everything is the sweeper's doing. What may be asserted: rows, and who holds the lock.
"""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.resources import PurchaseTold
from tests.cli.processes import eventually, running
from tests.handlers.entries import ANNUAL
from tests.worker.desk import Desk, desk
from worker.store import tables
from worker.tell import tell

pytestmark = [pytest.mark.crash, pytest.mark.e2e]

CONFIG = f"""
[apps.acme.stripe]
webhook_secrets = ["whsec_unused"]
[apps.acme.products."{ANNUAL}"]
kind = "subscription"
entitlements = ["pro"]
"""
TAKEN_OVER_SECONDS_MAX = 30.0
"""A lease and a round take four; the rest is for a machine that is busy."""


@pytest.fixture(name="at")
def _at(tmp_path: Path, store_url: str) -> Iterator[Desk]:
    with desk(tmp_path, url=store_url) as opened:
        yield replace(opened, runtime=replace(opened.runtime, clock=time.time))


@pytest.fixture(name="workers")
def _workers(tmp_path: Path, at: Desk) -> Iterator[dict[int, subprocess.Popen[str]]]:
    """Run two workers, by the numbers of their processes."""
    (tmp_path / "clawback.toml").write_text(CONFIG, "utf-8")
    options = ("--processes", "1", "--config", str(tmp_path / "clawback.toml"), "--data-dir", str(tmp_path / "data"))
    environment = {
        "CLAWBACK_STORE__URL": at.store.url,
        "CLAWBACK_BROKER__URL": f"unix://{tmp_path}/nobody.sock",
    }
    with ExitStack() as stack:
        started = [stack.enter_context(running("work", *options, environment=environment)) for _ in range(2)]
        for one in started:
            stack.callback(one.send_signal, signal.SIGCONT)  # else it would not hear that it is to end
        yield {one.pid: one for one in started}


def runs_out(at: Desk, name: str) -> None:
    """Sell what ends in a second, and wait until its end was noticed."""
    now = int(time.time())
    told = {"purchase_id": name, "product_id": ANNUAL, "user_id": name, "purchased_at": now, "expires_at": now + 1}
    where = {"app": "acme", "platform": "stripe", "environment": "production"}
    tell(at.runtime, PurchaseTold.model_validate({**where, **told}))
    assert eventually(lambda: at.statuses()[name] == "expired", TAKEN_OVER_SECONDS_MAX), name


def stop(at: Desk, pid: int) -> None:
    """Stop a process that does not write: on SQLite everybody would wait for it until it is ended."""
    with at.store.write():
        os.kill(pid, signal.SIGSTOP)
        state = Path(f"/proc/{pid}/stat")
        assert eventually(lambda: state.read_text("utf-8").rpartition(")")[2].split()[0] == "T", TAKEN_OVER_SECONDS_MAX)


def holder(at: Desk) -> int:
    """Tell which process swept last."""
    (lock,) = (row for row in at.rows(tables.locks) if row["name"] == "sweeper")
    return int(lock["holder"].split(":")[1])


def ends(at: Desk) -> Counter[str]:
    """Count how often everybody was told of an end."""
    expired = (event for event in at.events() if event.type == "entitlement.expired")
    return Counter(event.customer.user_id for event in expired if event.customer)


def test_another_worker_sweeps_on(at: Desk, workers: dict[int, subprocess.Popen[str]]):
    """The one that sweeps is stopped, goes on, and the other is killed: each end is told once, whoever noticed it."""
    runs_out(at, "first")
    asleep = holder(at)
    assert asleep in workers

    stop(at, asleep)
    runs_out(at, "second")
    other = holder(at)
    assert workers.keys() == {asleep, other}

    os.kill(asleep, signal.SIGCONT)
    runs_out(at, "third")
    os.kill(other, signal.SIGKILL)
    workers[other].wait()
    runs_out(at, "fourth")

    assert asleep == holder(at)
    assert {"first": 1, "second": 1, "third": 1, "fourth": 1} == ends(at)
