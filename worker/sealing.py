"""Seal what must not lie open in the database, with keys that are not in it: the first seals, all of them open.

Fernet is AES-128-CBC under an HMAC-SHA256: https://github.com/fernet/spec/blob/master/Spec.md
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

OPENED_MAX = 1024
"""So many texts stay opened in a process: a busy subscriber's secret is not deciphered for every attempt."""


class Sealed(Exception):
    """What is sealed cannot be opened, or nothing can be sealed: a key is missing."""

    code = "sealed"


class NoEncryptionKey(Sealed):
    """There is no key at all: set [store] encryption_keys (docs/configuration.md says how to make one)."""

    code = "no_encryption_key"

    def __init__(self) -> None:
        super().__init__("there is no key to seal with: set [store] encryption_keys (docs/configuration.md)")


class WrongEncryptionKey(Sealed):
    """None of the keys opens it: the one that sealed it is gone from [store] encryption_keys."""

    code = "wrong_encryption_key"

    def __init__(self) -> None:
        super().__init__("no key of [store] encryption_keys opens what was sealed: put the one that sealed it back")


class Sealer:
    """Seal and open texts.

    Args:
        keys: 32 bytes each, as URL-safe base64. None: everything raises `NoEncryptionKey`.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
        self._first = Fernet(keys[0]) if keys else None
        self._opened: Callable[[str], str] = lru_cache(OPENED_MAX)(self._decipher)

    def __bool__(self) -> bool:
        """Tell whether anything can be sealed."""
        return self._first is not None

    def seal(self, text: str) -> str:
        """Seal a text with the first key.

        Raises:
            NoEncryptionKey: there is none.
        """
        if self._first is None:
            raise NoEncryptionKey
        return self._first.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Open what any of the keys sealed.

        Raises:
            Sealed: none of them did, or there is none.
        """
        return self._opened(sealed)

    def is_current(self, sealed: str) -> bool:
        """Tell whether the first key opens it: what only another one opens is to be sealed anew."""
        if self._first is None:
            return False
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            return False
        return True

    def _decipher(self, sealed: str) -> str:
        if self._fernet is None:
            raise NoEncryptionKey
        try:
            return self._fernet.decrypt(sealed).decode()
        except (InvalidToken, ValueError):  # the library's word for text that is not ASCII is ValueError
            raise WrongEncryptionKey from None


NO_KEYS = Sealer()
