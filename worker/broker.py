"""Dramatiq's Redis broker, with settings chosen for hints: quick to wake, quick to give up, slow to lose.

The store has every row (`worker/inbox.py`), so the broker may lose all it holds at any moment. What it is for is speed:
an idle system acts on a notification within milliseconds, where Dramatiq's consumer alone would sleep up to a second.

Keys of ours, for a namespace `clawback`:

- `clawback-wake:<queue>`: a list of at most `WAKE_TOKENS` empty strings, one pushed with each enqueue and gone after
  `WAKE_TTL_SECONDS`. A consumer that took all there was blocks on it. Losing it costs one poll, nothing else.

Keys of Dramatiq, only ever read here and only to count (legend: dramatiq/brokers/redis/dispatch.lua):

- `clawback:<queue>`: list of message ids that are ready, the next one at the left
- `clawback:<queue>.msgs`: hash of id → message, of all that are ready or in flight
- `clawback:<queue>.DQ.msgs`: the same for delayed messages
- `clawback:<queue>.XQ`: sorted set of dead-lettered ids; Dramatiq drops them after seven days
- `clawback:__heartbeats__`: sorted set of the ids of consumers
- `clawback:__acks__.<consumer>.<queue>`: set of message ids that it holds
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from dramatiq import Broker, Consumer, MessageProxy, Middleware, Worker
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import q_name
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import AsyncIO, Retries, TimeLimit
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import NoScriptError
from redis.retry import Retry
from redis.sentinel import Sentinel

from config.settings import Settings
from worker.hinting import KeptConnection, WouldWait
from worker.loops import new_loop
from worker.metrics import QueueDepth

NOTIFICATIONS = "notifications"
DELIVERIES = "deliveries"
QUEUES = (NOTIFICATIONS, DELIVERIES)

CONNECT_SECONDS_MAX = 2.0
ANSWER_SECONDS_MAX = 2.0
"""A request must never hang on the broker: the row is safe, and the sweeper hints again."""
IDLE_SECONDS_MAX = 0.5
"""How long a consumer waits to be woken before it looks by itself; less than an answer may take."""
WAKE_TOKENS = 16
FETCH_AT = 8
"""Where Dramatiq says to its script how many messages it wants: `dispatch.lua`, behind what all commands have."""
WAKE_TTL_SECONDS = 5
WAKE = f"""
if KEYS[2] then
    redis.pcall("rpush", KEYS[2], "")
    redis.pcall("ltrim", KEYS[2], -{WAKE_TOKENS}, -1)
    redis.pcall("expire", KEYS[2], {WAKE_TTL_SECONDS})
end
"""
"""What goes before Dramatiq's script. `pcall`: without a wake-up, the next poll finds the message."""
HEARTBEAT_TIMEOUT_MS = 15_000
"""A consumer silent for so long is dead and its messages go to others. Dramatiq's default of a minute, with its
maintenance on one command in 1,000, brought back none of three messages within 460 s on an idle system."""
MAINTENANCE_PER_MILLION = 100_000
"""One command in ten of a worker looks for dead consumers: about 20 s until their messages are back."""
OLDEST = """
local oldest
local function look(id)
    local message = redis.call("hget", KEYS[1] .. ".msgs", id)
    local sent = message and string.match(message, '.*"message_timestamp":%s*(%d+)')
    oldest = sent and math.min(oldest or math.huge, tonumber(sent)) or oldest
end
local first = redis.call("lindex", KEYS[1], 0)
if first then look(first) end
for _, consumer in ipairs(redis.call("zrange", KEYS[2], 0, -1)) do
    local held = redis.call("smembers", ARGV[1] .. "." .. consumer .. "." .. ARGV[2])
    for _, id in ipairs(held) do look(id) end
end
return oldest or 0
"""
"""When the oldest message was sent, in Unix milliseconds, of the next one and of all that consumers hold; 0: none.

Asked on the server, as messages are long and only a number of each is wanted. Consumers hold at most a few dozen each.
"""
TIME_LIMIT_MS = 120_000
"""Interrupts an actor that loops; a set of rows takes milliseconds, a delivery at most its subscriber's time-out."""


def make_broker(settings: Settings, *, consumes: bool = False) -> RedisBroker:
    """Make the broker of this process.

    Args:
        settings: with a broker URL that is not `embedded` any more (`worker/start.py: settle`).
        consumes: only workers look for dead consumers: the look is a `KEYS`, too dear for every request.
    """
    return _WakingBroker(
        client=connect(settings.broker.url),
        namespace=settings.broker.namespace,
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=MAINTENANCE_PER_MILLION if consumes else 0,
        middleware=_middleware(),
    )


def connect(url: str) -> redis.Redis:
    """Make a client that fails fast: two seconds, and one second try for a connection that went stale."""
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS_MAX,
        "socket_timeout": ANSWER_SECONDS_MAX,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 1),
    }
    if urlsplit(url).scheme == "redis+sentinel":
        return _sentinel(url, options)
    if urlsplit(url).scheme == "unix":
        del options["socket_keepalive"]  # a word of TCP alone
    return redis.Redis.from_url(url, **options)


def said(broker: RedisBroker, put: Callable[[], object]) -> AbstractContextManager[int]:
    """Have one message that `put` enqueues leave, and give the socket whose answer is to be waited for within.

    Raises:
        WouldWait: no connection is there that can be used at once; nothing was said.
        redis.RedisError: at the end, where the answer is none, or did not come.
    """
    script = broker.scripts["dispatch"]
    if not isinstance(script, _WakingScript):
        raise WouldWait
    return script.said(put)


def queue_depths(broker: RedisBroker, now: float) -> tuple[QueueDepth, ...]:
    """Count what waits in each queue, and tell how old it is, in one round trip.

    Raises:
        redis.RedisError: the broker is away.
    """
    client: Any = broker.client
    hearts, acks = f"{broker.namespace}:__heartbeats__", f"{broker.namespace}:__acks__"
    with client.pipeline(transaction=False) as pipe:
        for name in QUEUES:
            full = f"{broker.namespace}:{name}"
            pipe.llen(full).hlen(f"{full}.msgs").hlen(f"{full}.DQ.msgs").zcard(f"{full}.XQ")
            pipe.eval(OLDEST, 2, full, hearts, acks, name)
        counts = pipe.execute()
    return tuple(_depth(name, counts[5 * i : 5 * i + 5], now) for i, name in enumerate(QUEUES))


def _depth(name: str, counts: list[int], now: float) -> QueueDepth:
    ready, known, delayed, dead, oldest_ms = counts
    # A message stays in the hash until it is acknowledged: what is there and not in the list is being worked on.
    states = {"ready": ready, "delayed": delayed, "in_flight": max(0, known - ready), "dead": dead}
    return QueueDepth(name, states, max(0.0, now - oldest_ms / 1000) if oldest_ms else 0.0)


def _middleware() -> list[Middleware]:
    """List every middleware; `before_…` hooks run in this order, `after_…` hooks in the reverse one.

    Not here, on purpose: AgeLimit (an old hint is still true), Callbacks and Pipelines (a hint has no result),
    ShutdownNotifications (a stop lets what runs finish within its grace, and rows outlive what does not), Prometheus
    (it would listen on all interfaces; ours is `worker/metrics.py`).
    """
    return [
        # Limits. The watch begins before anything else of a message and ends after it.
        TimeLimit(time_limit=TIME_LIMIT_MS),
        # Retry. Few and soon: actors record what fails in its row, which decides what is next. This is for mistakes.
        Retries(max_retries=3, min_backoff=1_000, max_backoff=30_000),
        # The event loop of async actors: opened before and closed after everything that may use it.
        _FastAsyncIO(),
    ]


class _FastAsyncIO(AsyncIO):
    """Run async actors on the loop that this installation has."""

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002 - the hook's signature
        thread = EventLoopThread(self.logger)
        thread.loop.close()
        thread.loop = new_loop()
        thread.start(timeout=1.0)
        set_event_loop_thread(thread)


class _WakingScript:
    """Dramatiq's one script for everything, which also wakes a consumer where it puts a message that is ready now.

    Both are one command, after which the server looks who waits: whoever is woken finds the message. In the same way a
    consumer that took all there was asks to be woken and for what there is then: the server answers both at once.
    """

    def __init__(self, script: Script, pool: redis.ConnectionPool, namespace: str) -> None:
        text = cast("bytes", script.script)  # encoded by its client, whatever it was
        self._script = script.registered_client.register_script(WAKE.encode() + text)
        self._put = KeptConnection(self._script, pool)
        self._namespace = namespace
        self._emptied: set[str] = set()

    def __call__(self, *, args: Sequence[Any], keys: Sequence[Any]) -> Any:
        command, _, queue_name = args[:3]
        if queue_name == q_name(queue_name):  # delayed messages have their own times
            if command == "enqueue":
                return self._put(args=args, keys=[*keys, wake_key(self._namespace, queue_name)])
            if command == "fetch":
                return self._fetch(queue_name, args, keys)
        return self._script(args=args, keys=keys)

    def said(self, put: Callable[[], object]) -> AbstractContextManager[int]:
        """Say what `put` enqueues over the connection that is kept for it."""
        return self._put.said(put)

    def _fetch(self, queue_name: str, args: Sequence[Any], keys: Sequence[Any]) -> Any:
        """Fetch; where the last time brought fewer than asked for, there is nothing until somebody wakes."""
        if queue_name in self._emptied:
            self._emptied.discard(queue_name)
            fetched = self._wait_and_fetch(queue_name, args, keys)
        else:
            fetched = self._script(args=args, keys=keys)
        if len(fetched) < int(args[FETCH_AT]):
            self._emptied.add(queue_name)
        return fetched

    def _wait_and_fetch(self, queue_name: str, args: Sequence[Any], keys: Sequence[Any]) -> Any:
        with self._script.registered_client.pipeline(transaction=False) as pipe:
            pipe.blpop([wake_key(self._namespace, queue_name)], timeout=IDLE_SECONDS_MAX)
            pipe.evalsha(self._script.sha, len(keys), *keys, *args)
            woken, fetched = pipe.execute(raise_on_error=False)
        _raised(woken)  # else this would ask without a pause
        return self._script(args=args, keys=keys) if isinstance(fetched, NoScriptError) else _raised(fetched)


def _raised(answer: Any) -> Any:
    """Raise an answer of a pipeline that is an error."""
    if isinstance(answer, Exception):
        raise answer
    return answer


def wake_key(namespace: str, queue_name: str) -> str:
    """Name the list that consumers of a queue wait on."""
    return f"{namespace}-wake:{queue_name}"


class _WakingBroker(RedisBroker):
    """Dramatiq's Redis broker, whose consumers are woken instead of sleeping longer and longer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]  # Dramatiq leaves it untyped
        self.scripts["dispatch"] = _WakingScript(self.scripts["dispatch"], self.client.connection_pool, self.namespace)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        if queue_name != q_name(queue_name):
            return super().consume(queue_name, prefetch, timeout)  # delayed messages have their own times
        # Time-out 0: the consumer itself never sleeps.
        return _WokenConsumer(prefetch, super().consume(queue_name, prefetch, 0))

    def close(self) -> None:
        super().close()
        self.client.close()


class _WokenConsumer(Consumer):
    """A consumer that waits for a reason: for a message when there is none, for room when it holds enough."""

    def __init__(self, prefetch: int, inner: Any) -> None:
        self._prefetch = prefetch
        self._inner = inner
        self._room = threading.Event()

    def __next__(self) -> MessageProxy | None:
        if not self._has_room():
            return None
        with _as_connection_closed():
            message: MessageProxy | None = next(self._inner)
            return message

    def ack(self, message: MessageProxy) -> None:
        with _as_connection_closed():
            self._inner.ack(message)
        self._tell_of_room()

    def nack(self, message: MessageProxy) -> None:
        with _as_connection_closed():
            self._inner.nack(message)
        self._tell_of_room()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        with _as_connection_closed():
            self._inner.requeue(messages)

    def close(self) -> None:
        self._inner.close()

    def _has_room(self) -> bool:
        """Wait while full until half is free: one fetch for many messages, where each alone would cost its own."""
        if self._inner.message_cache or self._inner.outstanding_message_count < self._prefetch:
            return True
        self._room.clear()
        return self._half_free() or self._room.wait(IDLE_SECONDS_MAX)

    def _tell_of_room(self) -> None:
        if self._half_free():
            self._room.set()

    def _half_free(self) -> bool:
        held: int = self._inner.outstanding_message_count
        return held <= self._prefetch // 2


@contextmanager
def _as_connection_closed() -> Iterator[None]:
    """Let Dramatiq treat a time-out like a lost connection; redis-py does not derive the one from the other."""
    try:
        yield
    except redis.RedisError as error:
        raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]  # untyped in Dramatiq


def _sentinel(url: str, options: dict[str, Any]) -> redis.Redis:
    """Connect to the master that sentinels name: `redis+sentinel://user:password@host:port,host:port/service/0`.

    The user and password are the data server's; `?sentinel_username=…&sentinel_password=…` are the sentinels'.
    """
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    own = {key.removeprefix("sentinel_"): value for key, value in query.items() if key.startswith("sentinel_")}
    sentinels: Any = Sentinel  # its annotations are missing
    sentinel = sentinels([_address(host) for host in hosts.split(",")], sentinel_kwargs={**options, **own}, **options)
    master: redis.Redis = sentinel.master_for(
        service or "mymaster",
        db=int(database or 0),
        username=unquote(name) or None,
        password=unquote(password) or None,
    )
    return master


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if host else (port, 26379)
