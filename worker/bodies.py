"""Seal what platforms posted, as it lies in the inbox, with keys that are not in there: the first seals, all open.

What is stored of a sealed row, in its column `body` (its column `headers` says nothing then):

| bytes | are |
|---|---|
| 1 | the version of this format; no JSON begins with it, so a row that was stored in clear is seen to be one |
| 4 | the name of the key of [store] encryption_keys, which is made of it and says nothing about it |
| 16 | the salt of a series: what one process sealed, up to a number |
| 12 | the nonce |
| the rest | AES-256-GCM of the headers as JSON, a line's end and the body; the tag is the end of it |

The key of a series is derived from the key and the salt, so that no key ever seals more than `SERIES_MAX` texts under
nonces that are drawn by chance: docs/decisions/0017-sealed-bodies.md has the arithmetic. The id of the row is sealed
with it, so that one row's body is not opened as another's.
"""

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from worker.sealing import WrongEncryptionKey

VERSION: Final = b"\x01"
"""RFC 8259 lets JSON begin with a space, a tab, a line's end or something that can be seen."""
NAME_BYTES: Final = 4
SALT_BYTES: Final = 16
NONCE_BYTES: Final = 12
SERIES_MAX: Final = 1 << 24
"""So many texts one derived key seals; NIST SP 800-38D, 8.3, allows 1 << 32 with nonces drawn by chance."""
SERIES_KEPT: Final = 1024
"""So many derived keys a process remembers: one of each start of whoever accepted what it reads."""

PREFIX_BYTES: Final = len(VERSION) + NAME_BYTES
"""What tells a key from others."""
_HEAD: Final = PREFIX_BYTES + SALT_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """What one derived key seals."""

    head: bytes
    cipher: AESGCM
    numbers: "count[int]" = field(default_factory=lambda: count(1))


class Bodies:
    """Turn what came into what is stored, and back.

    Args:
        keys: 32 bytes each, as URL-safe base64. None: what comes is stored in clear.
        series_max: so many texts one derived key seals.
    """

    def __init__(self, keys: Sequence[str] = (), *, series_max: int = SERIES_MAX) -> None:
        masters = [base64.urlsafe_b64decode(key) for key in keys]
        self._masters = {_derive(master, b"name", NAME_BYTES): master for master in reversed(masters)}
        self._first = _derive(masters[0], b"name", NAME_BYTES) if masters else None
        self._series_max = series_max
        self._series: _Series | None = None
        self._cipher_of: Callable[[bytes], AESGCM] = lru_cache(SERIES_KEPT)(self._cipher)

    @property
    def current(self) -> bytes | None:
        """Give how everything begins that is sealed now; None: nothing is sealed."""
        return None if self._first is None else VERSION + self._first

    def knows(self, prefix: bytes) -> bool:
        """Tell whether what begins like this can be opened: it is sealed with a key that is here, or lies open."""
        return not is_sealed(prefix) or prefix[len(VERSION) : PREFIX_BYTES] in self._masters

    def put(self, id_: str, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, str]:
        """Give what is to be stored in the columns `body` and `headers` of a row."""
        written = json.dumps(dict(headers)) if headers else "{}"
        if self._first is None:
            return body, written
        series = self._series
        if series is None or next(series.numbers) >= self._series_max:
            series = self._series = self._begin(self._first)
        nonce = os.urandom(NONCE_BYTES)
        sealed = series.cipher.encrypt(nonce, b"%b\n%b" % (written.encode(), body), series.head + id_.encode())
        return series.head + nonce + sealed, "{}"

    def take(self, id_: str, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        """Give what came, of what is stored in a row; of one that was erased, nothing.

        Raises:
            WrongEncryptionKey: no key opens it.
        """
        if not is_sealed(body):
            return body, headers
        head, nonce, sealed = body[:_HEAD], body[_HEAD : _HEAD + NONCE_BYTES], body[_HEAD + NONCE_BYTES :]
        try:
            opened = self._cipher_of(head).decrypt(nonce, sealed, head + id_.encode())
        except (InvalidTag, KeyError, ValueError):  # the library's word for too few bytes is ValueError
            raise WrongEncryptionKey from None
        written, _, came = opened.partition(b"\n")
        return came, json.loads(written) if written != b"{}" else {}

    def _begin(self, name: bytes) -> _Series:
        head = VERSION + name + os.urandom(SALT_BYTES)
        return _Series(head, self._cipher_of(head))

    def _cipher(self, head: bytes) -> AESGCM:
        return AESGCM(_derive(self._masters[head[len(VERSION) : PREFIX_BYTES]], b"body" + head[PREFIX_BYTES:], 32))


def is_sealed(stored: bytes) -> bool:
    """Tell whether a stored body is sealed, by its beginning."""
    return stored[:1] == VERSION


def _derive(master: bytes, purpose: bytes, length: int) -> bytes:
    """Derive what is needed for one purpose, so that the key itself is used as nothing but a source of keys."""
    return HKDF(SHA256(), length, salt=None, info=b"clawback " + purpose).derive(master)


PLAIN: Final = Bodies()
