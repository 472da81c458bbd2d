"""What platforms posted lies sealed in the inbox: shown to nobody who has the database alone, opened for workers."""

import pytest
from cryptography.fernet import Fernet

from worker.bodies import PLAIN, Bodies, is_sealed
from worker.sealing import WrongEncryptionKey

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
BODY, HEADERS = b'{"signedPayload": "eyJhbGciOiJFUzI1NiJ9"}\n', {"x-goog-message-id": "7"}
ID = "ntf_0123456789abcdef01234567"


def test_what_is_put_away_is_taken_out_again():
    """A sealed row shows nothing of body or headers, differs each time, and opens to exactly what came."""
    sealing = Bodies([NEW])
    (sealed, headers), (again, _) = sealing.put(ID, BODY, HEADERS), sealing.put(ID, BODY, HEADERS)

    assert "{}" == headers
    assert not any(piece in sealed for piece in (b"signedPayload", b"eyJ", b"x-goog"))
    assert sealed != again
    assert [(BODY, HEADERS)] * 2 == [sealing.take(ID, one, {}) for one in (sealed, again)]
    assert 49 + len(b'{"x-goog-message-id": "7"}\n') == len(sealed) - len(BODY)


def test_another_process_opens_it():
    """Whoever has the key opens what any process sealed, of any series."""
    stored = [Bodies([NEW]).put(ID, BODY, {})[0] for _ in range(3)]

    assert [(BODY, {})] * 3 == [Bodies([OLD, NEW]).take(ID, one, {}) for one in stored]


def test_the_first_key_seals_and_all_of_them_open():
    """After a new key was put in front, what the old one sealed still opens, and the new one seals."""
    before, _ = Bodies([OLD]).put(ID, BODY, HEADERS)
    rotating = Bodies([NEW, OLD])
    after, _ = rotating.put(ID, BODY, HEADERS)

    assert (BODY, HEADERS) == rotating.take(ID, before, {})
    assert (BODY, HEADERS) == Bodies([NEW]).take(ID, after, {})
    assert (True, False) == (after.startswith(rotating.current or b"-"), before.startswith(rotating.current or b"-"))


def test_what_lies_open_stays_readable():
    """A row that was stored before there was a key is given as it is, with a key and without."""
    stored, headers = PLAIN.put(ID, BODY, HEADERS)

    assert (BODY, '{"x-goog-message-id": "7"}', None) == (stored, headers, PLAIN.current)
    assert [(BODY, HEADERS)] * 2 == [each.take(ID, stored, HEADERS) for each in (PLAIN, Bodies([NEW]))]


@pytest.mark.parametrize("at", [0, 3, 7, 22, 33, 40, -1])
def test_a_changed_byte_opens_nothing(at: int):
    """Whoever changes any part of a sealed row, its key's name and salt included, has it refused."""
    sealing = Bodies([NEW])
    sealed = bytearray(sealing.put(ID, BODY, HEADERS)[0])
    sealed[at] ^= 0x40
    if at == 0:
        assert not is_sealed(bytes(sealed))  # and is read as what lies open, which is no JSON
        return
    with pytest.raises(WrongEncryptionKey):
        sealing.take(ID, bytes(sealed), {})


def test_a_body_is_not_opened_as_another_row_s():
    """What was sealed as one row's does not open as another's: nobody can make a sale of somebody else's."""
    sealing = Bodies([NEW])
    sealed, _ = sealing.put(ID, BODY, HEADERS)
    with pytest.raises(WrongEncryptionKey):
        sealing.take("ntf_another", sealed, {})


@pytest.mark.parametrize("cut", [1, 4, 5, 21, 22, 33, 34, 48])
def test_what_is_cut_off_opens_to_one_clear_error(cut: int):
    """A beginning of a sealed row, and a key that is missing, are the one error that names the setting."""
    sealed, _ = Bodies([NEW]).put(ID, BODY, HEADERS)
    for keys, text in (([NEW], sealed[:cut]), ([OLD], sealed), ([], sealed)):
        with pytest.raises(WrongEncryptionKey, match=r"\[store\] encryption_keys") as wrong:
            Bodies(keys).take(ID, text, {})
        assert "signedPayload" not in str(wrong.value)


def test_what_is_known_is_told_by_its_beginning():
    """Which key opens a row is told by its first bytes, without opening it; what lies open needs none."""
    rotating, stranger = Bodies([NEW, OLD]), Bodies([Fernet.generate_key().decode()])
    begins = [each.put(ID, BODY, {})[0][:5] for each in (Bodies([NEW]), Bodies([OLD]), stranger, PLAIN)]

    assert [True, True, False, True] == [rotating.knows(one) for one in begins]


def test_no_derived_key_seals_too_much():
    """After so many texts a process begins another series: nonces drawn by chance must not meet."""
    sealing = Bodies([NEW], series_max=3)
    stored = [sealing.put(ID, BODY, {})[0] for _ in range(8)]

    assert [3, 3, 2] == [sum(one[5:21] == salt for one in stored) for salt in dict.fromkeys(s[5:21] for s in stored)]
    assert [(BODY, {})] * 8 == [sealing.take(ID, one, {}) for one in stored]
