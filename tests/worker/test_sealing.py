"""Secrets of subscribers lie sealed in the store: the first key seals, every key opens, and no other does."""

import pytest
from cryptography.fernet import Fernet

from worker.sealing import NO_KEYS, NoEncryptionKey, Sealed, Sealer, WrongEncryptionKey

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def test_what_is_sealed_is_opened_by_its_key():
    """A sealed text shows nothing of what it holds, differs each time, and opens to exactly that."""
    sealer = Sealer([NEW])
    sealed, again = sealer.seal(SECRET), sealer.seal(SECRET)

    assert SECRET not in sealed
    assert sealed != again
    assert [SECRET, SECRET] == [sealer.open(sealed), sealer.open(again)]


def test_the_first_key_seals_and_all_of_them_open():
    """After a new key was put in front, what the old one sealed still opens, and the new one seals."""
    before = Sealer([OLD]).seal(SECRET)
    rotating = Sealer([NEW, OLD])

    assert SECRET == rotating.open(before)
    assert SECRET == Sealer([NEW]).open(rotating.seal(SECRET))
    assert (False, True) == (rotating.is_current(before), rotating.is_current(rotating.seal(SECRET)))


def test_a_missing_key_is_one_clear_error():
    """Whoever lacks the key is told which setting to change, and nothing of what was sealed."""
    sealed = Sealer([OLD]).seal(SECRET)
    with pytest.raises(WrongEncryptionKey, match=r"\[store\] encryption_keys") as wrong:
        Sealer([NEW]).open(sealed)

    assert sealed not in str(wrong.value)
    assert isinstance(wrong.value, Sealed)


def test_without_any_key_nothing_is_sealed_or_opened():
    """A process without a key says so, whatever it is asked."""
    sealed = Sealer([OLD]).seal(SECRET)
    with pytest.raises(NoEncryptionKey, match=r"\[store\] encryption_keys"):
        NO_KEYS.seal(SECRET)
    with pytest.raises(NoEncryptionKey):
        NO_KEYS.open(sealed)

    assert (False, True, False) == (bool(NO_KEYS), bool(Sealer([OLD])), NO_KEYS.is_current(sealed))


@pytest.mark.parametrize("text", ["", "gAAAA", "whsec_clear", "\x00", "ü"])
def test_what_was_never_sealed_opens_to_nothing(text):
    """A text that nobody sealed is refused like one that another key sealed."""
    with pytest.raises(WrongEncryptionKey):
        Sealer([NEW]).open(text)
