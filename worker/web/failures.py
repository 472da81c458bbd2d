"""Count who shows tokens that nobody knows, and for how long such an address is not listened to.

An address gets a few tries a minute. While very many fail everywhere, it gets one: guesses from a thousand addresses
add up, too. Whoever has not failed is let in all the while, so that nobody's token can be locked out from elsewhere.
What is remembered is bounded, each process counts for itself, and a restart forgets.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

PER_ADDRESS = 10
IN_ALL = 1000
WINDOW_SECONDS = 60.0
ADDRESSES_MAX = 10_000
IPV6_HOST_BITS = 64
"""One customer of a provider has as many IPv6 addresses: https://www.rfc-editor.org/rfc/rfc6177."""


class Failures:
    """The failures of the last minute.

    Args:
        clock: reads seconds of a clock that is never set.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._in_all = (0.0, 0)

    def add(self, address: str | None) -> bool:
        """Count one; tell whether the address has just used up its tries."""
        now, who = self._clock(), _neighborhood(address)
        self._forget(now)
        ends_at, count = self._by_address.get(who, (now + WINDOW_SECONDS, 0))
        self._by_address[who] = (ends_at, count + 1)
        self._in_all = (self._in_all[0], self._in_all[1] + 1) if self._in_all[0] > now else (now + WINDOW_SECONDS, 1)
        return count + 1 == self._allowed(now)

    def wait_seconds(self, address: str | None) -> int:
        """Say for how long an address is not listened to; 0: it is."""
        now = self._clock()
        ends_at, count = self._by_address.get(_neighborhood(address), (0.0, 0))
        return math.ceil(ends_at - now) if ends_at > now and count >= self._allowed(now) else 0

    def _allowed(self, now: float) -> int:
        ends_at, count = self._in_all
        return 1 if ends_at > now and count >= IN_ALL else PER_ADDRESS

    def _forget(self, now: float) -> None:
        """Forget what is over, and the oldest where there are too many. Windows are equally long, so it is first."""
        while self._by_address:
            who, (ends_at, _) = next(iter(self._by_address.items()))
            if ends_at > now and len(self._by_address) < ADDRESSES_MAX:
                return
            del self._by_address[who]


def _neighborhood(address: str | None) -> str:
    """Take the addresses of one IPv6 customer for one."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or int(parsed) >> IPV6_HOST_BITS)
    return str(parsed)
