"""Forgeries that need no knowledge of a platform: of how a request is written, packed, framed and addressed.

Each is tried on a genuine notification of every platform, which would be taken if the trick were overlooked.
"""

import gzip
import zlib
from collections.abc import Callable, Mapping
from functools import cache

from tests.forgeries.case import Forge, Forgery, Post, refused

BY_THE_SERVER = "http.refused"
"""In the place of a reason: it never was a request, and so reached no door. Its connection is at its end."""
_CHUNKS = "{hex}\r\n{body}\r\n0\r\n\r\n"
_PACK: Mapping[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@cache
def _bomb() -> bytes:
    """Pack 64 MiB into 64 KiB."""
    return gzip.compress(bytes(64 * 1024 * 1024))


def _packed(encoding: str, body: Callable[[], bytes] | None = None) -> Forge:
    """Send a packed body, or name a packing that did not happen."""

    def forge(_: object, genuine: Post) -> Post:
        packed = _PACK.get(encoding, bytes)(genuine.body)
        return genuine.saying(packed if body is None else body()).having(("Content-Encoding", encoding))

    return forge


def _framed(framing: str) -> Forge:
    """Frame the genuine body so that two servers could see two ends; `{body}`, `{size}` and `{hex}` stand for it."""

    def forge(_: object, genuine: Post) -> Post:
        size = len(genuine.body)
        written = framing.format(body="{body}", size=size, hex=f"{size:x}").encode()
        return Post(genuine.path, b"", genuine.headers, framing=written.replace(b"{body}", genuine.body))

    return forge


def _smuggling(hidden_in: str) -> Forge:
    """Hide the whole genuine request behind another one's body."""

    def forge(_: object, genuine: Post) -> Post:
        return Post(genuine.path, b"", genuine.headers, framing=hidden_in.encode() + genuine.wire())

    return forge


def _padded(_: object, genuine: Post) -> Post:
    return genuine.saying(genuine.body + b" " * (1024 * 1024))


def _endless(_: object, genuine: Post) -> Post:
    """Never say how long it is: 1 MiB and more, in chunks."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    framing = b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17 + b"0\r\n\r\n"
    return Post(genuine.path, b"", genuine.headers, framing=framing)


def _header(line: str) -> Forge:
    """Add a line to the head as it is."""
    return _framed(line + "\r\nContent-Length: {size}\r\n\r\n{body}")


def _at(path: str) -> Forge:
    return lambda _, genuine: genuine.to(path.format(genuine.path))


def _by(method: str) -> Forge:
    return lambda _, genuine: Post(genuine.path, genuine.body, genuine.headers, method)


FORGERIES: Mapping[str, Forgery] = {
    **refused(
        400,
        "compressed_body",
        packed_with_gzip=_packed("gzip"),
        packed_with_deflate=_packed("deflate"),
        said_to_be_packed_with_br=_packed("br"),
        said_to_be_packed_in_capital_letters=_packed("GZIP"),
        said_to_be_packed_after_all=_packed("identity, gzip"),
        a_bomb_of_64_MiB=_packed("gzip", _bomb),
        a_bomb_in_a_bomb=_packed("gzip, gzip", lambda: gzip.compress(_bomb())),
    ),
    **refused(
        413,
        "body_too_large",
        a_mebibyte_of_spaces_behind=_padded,
        chunks_without_an_end=_endless,
    ),
    **refused(
        400,
        "empty_body",
        no_length_and_no_chunks=_framed("\r\n"),
        length_of_nothing=_framed("Content-Length: 0\r\n\r\n"),
        no_chunk=_framed("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ),
    **refused(
        400,
        BY_THE_SERVER,
        length_and_chunks=_framed("Content-Length: {size}\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNKS),
        chunks_and_length=_framed("Transfer-Encoding: chunked\r\nContent-Length: {size}\r\n\r\n" + _CHUNKS),
        two_lengths=_framed("Content-Length: {size}\r\nContent-Length: 5\r\n\r\n{body}"),
        length_with_a_sign=_framed("Content-Length: +{size}\r\n\r\n{body}"),
        length_in_hexadecimal=_framed("Content-Length: 0x{hex}\r\n\r\n{body}"),
        two_lengths_in_one_line=_framed("Content-Length: {size}, {size}\r\n\r\n{body}"),
        length_with_a_space_before_the_colon=_framed("Content-Length : {size}\r\n\r\n{body}"),
        chunks_of_another_kind=_framed("Transfer-Encoding: xchunked\r\n\r\n" + _CHUNKS),
        chunks_that_are_not_last=_framed("Transfer-Encoding: chunked, identity\r\n\r\n" + _CHUNKS),
        chunk_of_a_size_with_a_sign=_framed("Transfer-Encoding: chunked\r\n\r\n+" + _CHUNKS),
        chunk_of_a_size_beyond_numbers=_framed(
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{body}\r\n0\r\n\r\n"
        ),
        a_whole_request_behind_length_and_chunks=_smuggling(
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        a_header_over_two_lines=_header("X-Note: one\r\n two"),
        a_header_with_NUL=_header("X-Note: a\x00b"),
        a_header_with_a_lone_line_feed=_header("X-Note: a\rContent-Length: 5"),
        a_header_without_a_name=_header(": nobody"),
        five_thousand_headers=_header("\r\n".join(["X-Note: yes"] * 5000)),
        a_header_of_a_mebibyte=_header("X-Note: " + "a" * 1024 * 1024),
    ),
    **refused(405, "method_not_allowed", put=_by("PUT"), get_with_a_body=_by("GET")),
    **refused(
        404,
        "unknown_app",
        app_in_capital_letters=lambda _, genuine: genuine.to(genuine.path.replace("acme", "ACME")),
        platform_that_does_not_exist=lambda _, genuine: genuine.to(genuine.path.replace("webhooks/", "webhooks/X")),
        app_with_a_NUL=_at("{0}%00"),
        app_that_nobody_configured=_at("{0}2"),
    ),
}
