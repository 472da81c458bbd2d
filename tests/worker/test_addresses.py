"""Nothing private is ever connected to, under whatever name or spelling.

Real: the connector, the sockets and a receiver on loopback. Double: a name server that answers as an attacker's would.
"""

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from worker.addresses import AddressRefused, Resolver, is_public, make_connector, public_socket

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104 - an address to refuse, not to bind
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "ff02::1",
    "2001::1",
    "2001:2::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "64:ff9b:1::a9fe:a9fe",
    "::7f00:1",
    "::ffff:0:7f00:1",
]
PUBLIC = ["1.1.1.1", "93.184.215.14", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_on_the_public_internet_is_refused(address):
    """Private, loopback, link-local, metadata, multicast, reserved and documentation addresses get no socket."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_allowed(address):
    """The neighbors of refused ranges are ordinary addresses."""
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_in_every_ipv6_dress(address):
    """Mapped, 6to4 and NAT64 forms are the IPv4 address that they stand for."""
    number = int(address)
    dresses = [f"::ffff:{address}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1", f"64:ff9b::{address}"]

    assert [is_public(str(address))] * 3 == [is_public(dress) for dress in dresses]


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_public(address):
    """An independent table of special addresses knows none that ours forgot."""
    assert address.is_global or not is_public(str(address))


def test_what_is_no_address_is_refused():
    """The gate judges addresses only: anything else is not let through."""
    assert not is_public("api.acme.example")


@pytest.fixture(name="visits")
async def _visits() -> AsyncIterator[tuple[int, list[str]]]:
    """Run a receiver on loopback that notes who came."""
    seen: list[str] = []

    async def receive(request: web.Request) -> web.Response:
        seen.append(request.host)
        return web.Response()

    runner = web.ServerRunner(web.Server(receive))  # type: ignore[arg-type]  # it gets a BaseRequest; host is all we read
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await web.SockSite(runner, listening).start()
        yield listening.getsockname()[1], seen
        await runner.cleanup()


class Names(AbstractResolver):
    """A name server that answers each question with the next of its addresses."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Give the next answer."""
        addresses = self.answers.pop(0)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def post(url: str, resolver: AbstractResolver, *, allow_private: bool = False) -> int:
    """Post nothing, and tell the status."""
    connector = make_connector(allow_private=allow_private, resolver=resolver)
    async with aiohttp.ClientSession(connector=connector) as session, session.post(url) as response:
        return response.status


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0x7f000001", "127.1"],  # noqa: S104 - to refuse
)
async def test_no_spelling_of_loopback_gets_through(visits, host):
    """However this machine is written, the receiver on it is never reached."""
    port, seen = visits
    resolver = Resolver()

    with pytest.raises(aiohttp.ClientError):
        await post(f"http://{host}:{port}/", resolver)
    await resolver.close()

    assert [] == seen


async def test_a_refusal_says_so(visits):
    """A refused address is told from one that is down, without naming it."""
    resolver = Resolver()

    with pytest.raises(aiohttp.ClientConnectorError) as refused:
        await post(f"http://localhost:{visits[0]}/", resolver)
    await resolver.close()

    assert isinstance(refused.value.os_error, AddressRefused)


async def test_a_public_name_with_a_private_address_is_refused(visits):
    """What counts is where a name leads, not how it looks."""
    port, seen = visits

    with pytest.raises(aiohttp.ClientConnectorError):
        await post(f"http://hooks.acme.example:{port}/", Names(["127.0.0.1"]))

    assert [] == seen


async def test_a_name_that_changes_its_mind_gains_nothing(visits):
    """DNS rebinding: each connection is judged by the address it goes to, so a second answer is judged as well."""
    port, seen = visits
    names = Names(["::ffff:10.255.255.1"], ["127.0.0.1"])

    for _ in range(2):
        with pytest.raises(aiohttp.ClientConnectorError):
            await post(f"http://hooks.acme.example:{port}/", names)

    assert [] == seen


async def test_an_operator_may_allow_private_addresses(visits):
    """With `allow_private` a backend in the same network is told like any other."""
    resolver = Resolver()

    assert 200 == await post(f"http://localhost:{visits[0]}/", resolver, allow_private=True)
    await resolver.close()


def test_the_gate_gives_a_socket_for_a_public_address():
    """A public address gets a socket of its own family, not yet connected to anything."""
    with public_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("1.1.1.1", 443))) as given_:
        assert socket.AF_INET == given_.family
