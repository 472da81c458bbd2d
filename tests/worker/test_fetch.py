"""Fetching against a real server on this machine that answers in every bad way."""

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from worker.fetch import Fetched, FetchFailed, HttpFetch, may_fetch

pytestmark = pytest.mark.unit

JWKS = "https://www.googleapis.com/oauth2/v3/certs"


class BadServer:
    """Answer each path in its own bad way, until `stop`."""

    def __init__(self):
        self.stop = asyncio.Event()

    def routes(self):
        """Name every way of answering."""
        routes = web.Application()
        for name in dir(self):
            if name.startswith("answer_"):
                routes.router.add_get(f"/{name.removeprefix('answer_')}", getattr(self, name))
        return routes

    async def answer_good(self, _request):
        """Answer as Google does."""
        return web.Response(body=b"keys", headers={"Cache-Control": "public, max-age=22000, must-revalidate"})

    async def answer_aged(self, _request):
        """Answer from a cache on the way."""
        return web.Response(body=b"keys", headers={"Cache-Control": "MAX-AGE=600", "Age": "100"})

    async def answer_silent(self, _request):
        """Answer without a lifetime."""
        return web.Response(body=b"keys", headers={"Cache-Control": "s-max-age=5", "Age": "soon"})

    async def answer_moved(self, _request):
        """Answer with a redirect."""
        raise web.HTTPFound("/good")

    async def answer_away(self, _request):
        """Answer with a failure."""
        raise web.HTTPInternalServerError

    async def answer_large(self, _request):
        """Answer with too much."""
        return web.Response(body=b"k" * 1_001)

    async def answer_endless(self, request):
        """Answer without an end."""
        response = web.StreamResponse()
        await response.prepare(request)
        while not self.stop.is_set():
            await response.write(b"k" * 4_096)
        return response

    async def answer_slow(self, request):
        """Answer with one byte and then nothing."""
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"k")
        await self.stop.wait()
        return response

    async def answer_echo(self, request):
        """Answer with what was asked, and a cookie."""
        return web.json_response(dict(request.headers), headers={"Set-Cookie": "visitor=4711"})


@pytest.fixture(name="server")
async def _server():
    """Serve every way of answering badly, on this machine."""
    bad = BadServer()
    async with TestServer(bad.routes()) as server:
        yield server
        bad.stop.set()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/good", Fetched(200, b"keys", 22_000)),
        ("/aged", Fetched(200, b"keys", 500)),
        ("/silent", Fetched(200, b"keys", None)),
        ("/moved", Fetched(302, b"302: Found")),
        ("/away", Fetched(500, b"500: Internal Server Error")),
        ("/nothing", Fetched(404, b"404: Not Found")),
    ],
)
async def test_an_answer_is_given_as_it_is(server, path, expected):
    """Status, body and age are values; a redirect is an answer and is not followed."""
    async with HttpFetch() as fetch:
        assert expected == await fetch(str(server.make_url(path)))


@pytest.mark.parametrize("path", ["/large", "/endless"])
async def test_an_answer_beyond_the_cap_fails(server, path):
    """What is longer than allowed is not read to its end, announced or not."""
    async with HttpFetch(body_bytes_max=1_000) as fetch:
        with pytest.raises(FetchFailed, match="too_large"):
            await fetch(str(server.make_url(path)))


async def test_a_slow_answer_fails_in_time(server):
    """The deadline is for all of it: bytes that trickle do not extend it."""
    async with HttpFetch(timeout_seconds=0.2) as fetch:
        with pytest.raises(FetchFailed, match="timeout"):
            await fetch(str(server.make_url("/slow")))


async def test_a_server_that_is_not_there_fails(unused_tcp_port):
    """Nobody listens, so there is no answer."""
    async with HttpFetch() as fetch:
        with pytest.raises(FetchFailed, match="unreachable"):
            await fetch(f"http://127.0.0.1:{unused_tcp_port}/certs")


async def test_a_fetch_tells_nothing_and_remembers_nothing(server, monkeypatch):
    """No cookies, no compression, and no proxy that the environment names."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with HttpFetch() as fetch:
        await fetch(str(server.make_url("/echo")))
        headers = json.loads((await fetch(str(server.make_url("/echo")))).body)

    assert "identity" == headers["Accept-Encoding"]
    assert "Cookie" not in headers


@pytest.mark.parametrize(
    "url",
    [
        "http://www.googleapis.com/certs",
        "http://169.254.169.254/latest/meta-data",
        "https://user@www.googleapis.com/certs",
        "ftp://127.0.0.1/certs",
        "file:///etc/passwd",
        "https:///certs",
        "https://[::1/certs",
        "certs",
        "",
    ],
)
async def test_only_https_is_fetched_or_this_machine(url):
    """Keys never come over a wire that others can write on."""
    assert not may_fetch(url)
    async with HttpFetch() as fetch:
        with pytest.raises(FetchFailed, match="address_not_allowed"):
            await fetch(url)


@pytest.mark.parametrize("url", [JWKS, "http://127.0.0.1:8080/jwks", "http://localhost/jwks", "http://[::1]:8080/jwks"])
def test_https_and_this_machine_are_fetched(url):
    """HTTPS to anywhere, HTTP to this machine, for tests and demos."""
    assert may_fetch(url)


async def test_a_fetch_that_was_not_opened_says_so():
    """Without `async with` there is no session to fetch with."""
    with pytest.raises(FetchFailed, match="not_open"):
        await HttpFetch()(JWKS)
