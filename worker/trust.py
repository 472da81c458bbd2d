"""Where keys come from: files read once at start, and what platforms publish, fetched, bounded and cached.

`handlers` say which key they want and never fetch one. A flood of forgeries costs at most one fetch per key set and
minute, and a few certificate fetches at a time; a server that is away costs nothing that is already known.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import structlog

from config.platforms import Amazon, Apple, Google
from handlers.errors import Unauthentic
from handlers.platform import Platform
from schemas.received import Identity, Key, Keys, KeyWanted, Received
from worker.abreast import Abreast
from worker.fetch import Fetch, Fetched, FetchFailed, HttpFetch, may_fetch
from worker.key_formats import KeyFormatError, read_certificate, read_certificates, read_key_set

__all__ = ["Fetched", "HttpFetch", "Trust", "TrustError", "TrustUnavailable", "Trusting", "load"]

CERTIFICATES_MAX = 64
CERTIFICATE_FETCHES_MAX = 8
"""At a time and per app. Beyond it the platform is asked to come again."""
FRESH_SECONDS_MIN, FRESH_SECONDS_DEFAULT, FRESH_SECONDS_MAX = 60, 3_600, 86_400
COOL_DOWN_SECONDS = 60
"""Between two fetches of one key set, whatever kids are asked for meanwhile."""
RETRY_SECONDS = 5
"""Before the next attempt while nothing is known at all."""
_GONE = frozenset({404, 410})

log = structlog.get_logger()
T = TypeVar("T")


class TrustError(Exception):
    """A configured key file or address cannot be used. The message names the setting and says what to do."""


class TrustUnavailable(Exception):
    """Nobody can say now whether this is authentic: the key is not here and could not be fetched. Ask again later."""

    def __init__(self, retry_after_seconds: int = RETRY_SECONDS) -> None:
        super().__init__("a signing key could not be fetched")
        self.retry_after_seconds = retry_after_seconds


class Trusting(Protocol):
    """What is needed of an app: its platform sections, or None where a platform is not configured."""

    @property
    def apple(self) -> Apple | None:
        """Give the roots trusted beside Apple's own."""
        ...

    @property
    def google(self) -> Google | None:
        """Give the address or path of the key set."""
        ...

    @property
    def amazon(self) -> Amazon | None:
        """Give the certificates preloaded for closed networks."""
        ...


class Trust:
    """Verify notifications with the keys that each app trusts.

    Args:
        apps: by the name under which they receive.
        fetch: how to get a document; `HttpFetch` for real.
        clock: seconds that only ever grow, for the age of what was fetched.

    Raises:
        TrustError: a configured file or address cannot be used.
    """

    def __init__(
        self, apps: Mapping[str, Trusting], fetch: Fetch, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._abreast = Abreast()
        self._rings: dict[tuple[str, str], Ring] = {}
        shared: dict[str, KeySet] = {}
        for (name, platform), keys in load(apps).items():
            self._rings[name, platform] = Certificates(keys, fetch) if platform == "amazon" else Fixed(keys)
        for name, app in apps.items():
            if app.google is not None and app.google.enabled and (name, "google") not in self._rings:
                source = app.google.jwks
                self._rings[name, "google"] = shared.setdefault(source, KeySet(source, fetch, clock))

    async def verify(self, platform: Platform, received: Received, settings: Any, now: float) -> Identity:
        """Verify `received` and say how it calls itself, fetching the one key it names if that is not here yet.

        The payload itself ends with the proof: it takes several times as much room as its bytes, and up to as many
        proofs as are made in a row would be held while the rows of all of them are written.

        Raises:
            Rejected: whatever the platform refuses it for; `unknown_key` if the key's own source does not know it.
            TrustUnavailable: the key could not be fetched.
        """
        ring = self._rings.get((received.app, platform.name), NOTHING)

        def prove(keys: Keys) -> Identity | KeyWanted:
            payload = platform.verify(received, settings=settings, keys=keys, now=now)
            return payload if isinstance(payload, KeyWanted) else platform.identify(payload)

        answer = await self._abreast.result(lambda: prove(ring.keys))
        if isinstance(answer, KeyWanted):
            answer = prove(await ring.obtain(answer))
        if isinstance(answer, KeyWanted):
            raise Unauthentic("unknown_key")
        return answer


class Ring(Protocol):
    """The keys of one app for one platform."""

    @property
    def keys(self) -> Keys:
        """Give what may be believed now without asking anybody."""
        ...

    async def obtain(self, wanted: KeyWanted) -> Keys:
        """Give what is known after an attempt to learn of `wanted`, or raise `TrustUnavailable`."""
        ...


class Fixed:
    """Keys from files: what they do not hold does not exist."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    async def obtain(self, wanted: KeyWanted) -> Keys:  # noqa: ARG002 - every ring is asked the same way
        """Know nothing more than before."""
        return self.keys


NOTHING = Fixed({})


class KeySet:
    """A published set of keys, believed as long as its publisher says, and past that only while it is away.

    Keys that are no longer fresh are not given by `keys`, so a token with good claims is what causes a refresh.
    That old keys go on working when no refresh succeeds is bounded by the publisher's own rotation: what is signed
    with a newer key is then refused with "ask again later".
    """

    def __init__(self, source: str, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._source = source
        self._fetch = fetch
        self._clock = clock
        self._flights: Flights[None] = Flights(1)
        self._known: Keys = {}
        self._failed = False
        self._fresh_until = self._next_fetch = -math.inf

    @property
    def keys(self) -> Keys:
        """Give the set while it is fresh."""
        return self._known if self._clock() < self._fresh_until else {}

    async def obtain(self, wanted: KeyWanted) -> Keys:
        """Give the set after a refresh, or as it is if the last refresh was a moment ago."""
        if self._clock() >= self._next_fetch:
            await self._flights.join(self._source, self._refresh)
        if self._failed and wanted.name not in self._known:
            raise TrustUnavailable(max(1, math.ceil(self._next_fetch - self._clock())))
        return self._known

    async def _refresh(self) -> None:
        found, fresh_seconds = await self._download()
        now = self._clock()
        self._failed = found is None
        if found is not None:
            self._known, self._fresh_until = found, now + fresh_seconds
        self._next_fetch = now + (COOL_DOWN_SECONDS if self._known else RETRY_SECONDS)

    async def _download(self) -> tuple[Keys | None, int]:
        try:
            fetched = await _fetch_document(self._fetch, self._source)
            keys = read_key_set(fetched.body)
        except (FetchFailed, KeyFormatError) as failure:
            log.warning("trust.fetch_failed", source=self._source, reason=str(failure), known=len(self._known))
            return None, 0
        log.info("trust.fetched", source=self._source, keys=len(keys))
        told = FRESH_SECONDS_DEFAULT if fetched.max_age_seconds is None else fetched.max_age_seconds
        return keys, min(max(told, FRESH_SECONDS_MIN), FRESH_SECONDS_MAX)


class Certificates:
    """Certificates by address: those of the configuration, and of those fetched the ones used last."""

    def __init__(self, pinned: Keys, fetch: Fetch) -> None:
        self.keys = Recent(pinned)
        self._fetch = fetch
        self._flights: Flights[bool] = Flights(CERTIFICATE_FETCHES_MAX)

    async def obtain(self, wanted: KeyWanted) -> Keys:
        """Give what is known after fetching the one that is wanted."""
        if not await self._flights.join(wanted.source, lambda: self._answered(wanted)):
            raise TrustUnavailable
        return self.keys

    async def _answered(self, wanted: KeyWanted) -> bool:
        """Keep the certificate, and tell whether the source answered at all: that there is none is an answer."""
        try:
            fetched = await _fetch_document(self._fetch, wanted.source, but=_GONE)
            if fetched.status in _GONE:
                return True
            self.keys.keep(wanted.name, read_certificate(fetched.body))
        except (FetchFailed, KeyFormatError) as failure:
            log.warning("trust.fetch_failed", source=wanted.source, reason=str(failure))
            return False
        log.info("trust.fetched", source=wanted.source, keys=1)
        return True


class Recent(Mapping[str, Key]):
    """Remember pinned keys forever, and of others the `CERTIFICATES_MAX` used last. A look is a use."""

    def __init__(self, pinned: Keys) -> None:
        self._pinned = pinned
        self._kept: OrderedDict[str, Key] = OrderedDict()

    def keep(self, name: str, key: Key) -> None:
        """Remember one more, and forget the one that was not used for longest."""
        self._kept[name] = key
        if len(self._kept) > CERTIFICATES_MAX:
            self._kept.popitem(last=False)

    def __getitem__(self, name: str) -> Key:
        if name in self._pinned:
            return self._pinned[name]
        key = self._kept[name]
        self._kept.move_to_end(name)
        return key

    def __iter__(self) -> Iterator[str]:
        return iter({**self._pinned, **self._kept})

    def __len__(self) -> int:
        return len({**self._pinned, **self._kept})


class Flights(Generic[T]):
    """Do one thing at a time under one name: whoever comes meanwhile shares its outcome.

    What is under way ends even if whoever asked for it hangs up, since others may be waiting for it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._flying: dict[str, asyncio.Task[T]] = {}

    async def join(self, name: str, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await what is under way under `name`, starting it if nothing is and there is room."""
        task = self._flying.get(name)
        if task is None:
            if len(self._flying) >= self._most:
                raise TrustUnavailable
            task = self._flying[name] = asyncio.create_task(start())
            task.add_done_callback(lambda _: self._flying.pop(name, None))
        return await asyncio.shield(task)


def load(apps: Mapping[str, Trusting]) -> dict[tuple[str, str], Keys]:
    """Read every configured key file, by app and platform; absent where an app trusts what a publisher says.

    Raises:
        TrustError: a file is not there, not readable or not what it should be; or an address is not HTTPS.
    """
    loaded: dict[tuple[str, str], Keys] = {}
    for name, app in apps.items():
        if app.apple is not None and app.apple.enabled:
            loaded[name, "apple"] = _load_roots(name, app.apple)
        if app.google is not None and app.google.enabled:
            key_set = _load_key_set(name, app.google)
            loaded |= {} if key_set is None else {(name, "google"): key_set}
        if app.amazon is not None and app.amazon.enabled:
            loaded[name, "amazon"] = _load_certificates(name, app.amazon)
    return loaded


def _load_roots(app: str, section: Apple) -> Keys:
    found: dict[str, Key] = {}
    for path in section.root_certificates:
        certificates = _load(f"apps.{app}.apple.root_certificates", path, read_certificates)
        found |= {f"{path}#{number}": certificate for number, certificate in enumerate(certificates)}
    return found


def _load_key_set(app: str, section: Google) -> Keys | None:
    """Read the key set if it is a file; None if it is an address to fetch from."""
    setting = f"apps.{app}.google.jwks"
    if "://" not in section.jwks:
        return _load(setting, Path(section.jwks), read_key_set)
    if not may_fetch(section.jwks):
        raise TrustError(f"{setting}: {section.jwks} is not fetched; give an https:// address or the path of a file")
    return None


def _load_certificates(app: str, section: Amazon) -> Keys:
    setting = f"apps.{app}.amazon.certificates"
    return {url: _load(setting, path, read_certificate) for url, path in section.certificates.items()}


def _load(setting: str, path: Path, read: Callable[[bytes], T]) -> T:
    try:
        return read(path.read_bytes())
    except OSError as error:
        raise TrustError(f"{setting}: {path} cannot be read ({error.strerror}); give a readable file") from None
    except KeyFormatError as error:
        raise TrustError(f"{setting}: {path} {error}; give another file") from None


async def _fetch_document(fetch: Fetch, url: str, *, but: frozenset[int] = frozenset()) -> Fetched:
    """Fetch what is there, or raise `FetchFailed` for every status that is not 200 or one of `but`."""
    fetched = await fetch(url)
    if fetched.status != 200 and fetched.status not in but:
        raise FetchFailed(f"status_{fetched.status}")
    return fetched
