"""Connect to the public internet and nowhere else: the address that is checked is the address that is connected to.

A subscriber's address is a stranger's text. Its name may lead into our own network (SSRF), or lead there only the
second time it is asked for (DNS rebinding). So names are not judged at all: the connector shows each resolved address
to `public_socket` immediately before it connects to that very address, and gets no socket for a refused one. IP
literals and every spelling of them pass the same gate.
"""

import asyncio
import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from aiohttp import AddrInfoType, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

KEEPALIVE_SECONDS = 1.5
"""How long an idle connection is kept: less than the shortest default of common servers (gunicorn's 2 seconds), so
that a POST, which must not be repeated blindly, never meets a connection that is just being closed."""

RESOLVER_THREADS = 32

# iana.org/assignments/iana-ipv4-special-registry and …/ipv4-address-space: what is not globally reachable.
_REFUSED_V4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this host, on this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata is in it
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's platform address: public by number, reachable from every virtual machine
            "169.254.0.0/16",  # link-local; the metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",  # IETF protocols; Oracle's metadata is in it
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays, deprecated
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)

# iana.org/assignments/ipv6-address-space: only 2000::/3 is global unicast, which leaves out ::1, ::, the deprecated
# IPv4-compatible addresses, fc00::/7, fe80::/10, fec0::/10 and ff00::/8. Then iana-ipv6-special-registry.
_GLOBAL_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = (
    IPv6Network("2001::/23"),  # IETF protocols, Teredo among them
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("3fff::/20"),  # documentation
)

# RFC 6052: how an IPv6-only network with DNS64 reaches all of IPv4, the public part included. Its local-use sibling
# 64:ff9b:1::/48 (RFC 8215) tells nobody where the IPv4 address is: outside 2000::/3, refused.
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(OSError):
    """The name leads to an address that is not on the public internet, and the operator did not allow that."""

    def __init__(self) -> None:
        # One text for every address: it ends where strangers may read it, and several refusals count as one.
        super().__init__(errno.EACCES, "address_refused")


def is_public(address: str) -> bool:
    """Tell whether an address is globally reachable, by itself or as the IPv4 address that it stands for."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    inner = _embedded(parsed) if isinstance(parsed, IPv6Address) else parsed
    if isinstance(inner, IPv4Address):
        return not any(inner in network for network in _REFUSED_V4)
    return inner in _GLOBAL_V6 and not any(inner in network for network in _REFUSED_V6)


def public_socket(info: AddrInfoType) -> socket.socket:
    """Give a socket for exactly this address.

    Raises:
        AddressRefused: it is not public.
    """
    family, kind, protocol, _name, sockaddr = info
    if not is_public(str(sockaddr[0])):
        raise AddressRefused
    return socket.socket(family, kind, protocol)


def make_connector(*, allow_private: bool, resolver: AbstractResolver) -> TCPConnector:
    """Make a connector without a limit of its own: waiting for it would count as the subscriber's time."""
    return TCPConnector(
        limit=0,
        keepalive_timeout=KEEPALIVE_SECONDS,
        resolver=resolver,
        socket_factory=None if allow_private else public_socket,
    )


class Resolver(AbstractResolver):
    """Resolve names in threads of our own, so that a dead name server holds up nothing but names."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """List every address of a name; which of them may be used is decided at the socket."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, _look_up, host, port, socket.AddressFamily(family)
        )
        return [_result(host, info) for info in found]

    async def close(self) -> None:
        """Start no more look-ups."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _embedded(address: IPv6Address) -> IPv4Address | IPv6Address:
    """Find the IPv4 address that an IPv6 address is only another spelling of."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except UnicodeError:
        # Python encodes the name itself, and says so of labels that DNS could not hold.
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None


def _result(host: str, info: Any) -> ResolveResult:
    family, _kind, protocol, _name, sockaddr = info
    return ResolveResult(
        hostname=host, host=sockaddr[0], port=sockaddr[1], family=family, proto=protocol, flags=socket.AI_NUMERICHOST
    )
