"""Where a request came from, past the proxies that are ours.

A proxy adds whom it saw to the end of X-Forwarded-For; what stands before that, anybody can write. So the list is read
from its end, for as long as it names proxies that are trusted (https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For).
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import hdrs, web

Networks = Sequence[IPv4Network | IPv6Network]
PROXIES: web.AppKey[Networks] = web.AppKey("proxies")


def networks(written: Iterable[str]) -> Networks:
    """Read what the configuration calls our proxies."""
    return tuple(ip_network(one) for one in written)


def address_of(request: web.Request) -> str | None:
    """Say from which address a request came; None: from no address, as over a Unix socket."""
    proxies, address = request.app[PROXIES], request.remote or None
    said = ",".join(request.headers.getall(hdrs.X_FORWARDED_FOR, ())).split(",")
    while address is not None and said and _is_in(address, proxies):
        before = _written(said.pop())
        if before is None:
            break
        address = before
    return address


def _is_in(address: str, proxies: Networks) -> bool:
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in proxies)


def _written(text: str) -> str | None:
    """Read one entry; None: it is no address."""
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        return None
