"""The workers of one process: take hints from the queue, and sweep for what no hint was given.

A stop lets what runs finish within a grace period. What does not finish is not lost: its message goes to another
worker, its rows to the sweeper.
"""

import ctypes
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from dramatiq import Worker
from dramatiq.brokers.redis import RedisBroker

from config.settings import Settings
from worker import bootstrap, garbage
from worker.actors import declare
from worker.broker import make_broker
from worker.collector import open_traces
from worker.control import HEAR_SECONDS_MAX, Control
from worker.gather import Gather
from worker.rounds import Rounds
from worker.runtime import Runtime
from worker.store.engine import StoreUnavailable

log = structlog.get_logger()

IDLE_MS = 500
"""How long a thread with nothing to do waits before it looks whether to stop; work itself wakes it at once."""
SWEEP_EVERY_SECONDS = 1.0
GIVE_WAY_SECONDS, GIVE_WAY_SECONDS_MAX = 0.01, 0.25
STOP_GRACE_SECONDS = 20.0
M_ARENA_MAX = -8
"""Its number in malloc.h."""


def work(settings: Settings, control: Control, *, share_port: bool = False) -> None:
    """Run workers until SIGTERM or SIGINT.

    Args:
        settings: settled ones.
        control: the line to a supervisor.
        share_port: let siblings answer on the same `[work] metrics_port`.

    Raises:
        NotReady: that port cannot be had.
    """
    broker = make_broker(settings, consumes=True)
    runtime = bootstrap.build(settings, broker=broker, traces=open_traces(settings, "work"))
    gather = declare(broker, runtime)
    bootstrap.introduce_subscribers(runtime)
    worker = Worker(broker, worker_threads=settings.work.threads, worker_timeout=IDLE_MS)
    spare_collector()
    share_heap()
    with _stop_signal() as stop, _watched(runtime, broker, share_port=share_port) as address:
        worker.start()
        sweeper = threading.Thread(target=_sweep_until, args=(runtime, stop, gather), name="sweeper")
        sweeper.start()
        control.stop_with_parent()
        control.ready(**address)
        log.info("work.started", threads=settings.work.threads, **address)
        while not stop.wait(HEAR_SECONDS_MAX):
            pass
        log.info("work.stopping")
        worker.stop(timeout=int(STOP_GRACE_SECONDS * 1000))
        sweeper.join(STOP_GRACE_SECONDS)
    bootstrap.close(runtime)
    log.info("work.stopped")


@contextmanager
def _watched(runtime: Runtime, broker: RedisBroker, *, share_port: bool) -> Iterator[dict[str, str]]:
    """Answer to those who watch, where a port for that is configured."""
    if not runtime.settings.work.metrics_port:
        yield {}
        return
    from worker.watched import watched  # noqa: PLC0415 - the whole HTTP side, which workers have no other use for

    with watched(runtime, broker, share_port=share_port) as url:
        yield {"metrics": f"{url}/metrics"}


def spare_collector() -> None:
    """Have Python look for circles seldom: what a set of notifications makes is freed when it is done, without that."""
    garbage.leave_out_what_is_there()
    garbage.look_seldom()


def share_heap() -> None:
    """Have all threads take memory from one heap: glibc gives each its own, which keeps what the thread once needed.

    Python lets one thread run at a time, so they never wait for each other there (mallopt(3)).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have no such heaps
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """Turn SIGTERM and SIGINT into an event."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    yield stop


def _sweep_until(runtime: Runtime, stop: threading.Event, gather: Gather) -> None:
    """Sweep every second; say once that the store is away, and once that it is back."""
    away, rounds = False, Rounds(runtime)
    while not stop.wait(SWEEP_EVERY_SECONDS):
        give_way(gather, stop)
        try:
            rounds.go()
        except StoreUnavailable as error:
            if not away:
                log.warning("sweep.store_unavailable", error=str(error))
            away = True
        except Exception:
            # A mistake of ours must not end the sweeps: they are what makes every other loss harmless.
            log.exception("sweep.failed")
        else:
            if away:
                log.info("sweep.store_back")
            away = False


def give_way(gather: Gather, stop: threading.Event) -> None:
    """Let a set that runs have Python to itself, for a while: beside a round it takes milliseconds longer."""
    until = time.monotonic() + GIVE_WAY_SECONDS_MAX
    while gather.running and time.monotonic() < until and not stop.wait(GIVE_WAY_SECONDS):
        pass
