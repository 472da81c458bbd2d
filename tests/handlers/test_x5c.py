"""Certificate chains: the pinned root, whom a chain convinces and when, what is remembered and what is not.

The wrong chains are in test_apple_differential.py, beside the verdict of Apple's own library.
"""

import base64
import hashlib
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from handlers import apple_root, x5c
from handlers.errors import Malformed, Rejected, Unauthentic
from tests.handlers import apple_chains as chains
from tests.handlers.apple_chains import SIGNED_AT, b64, good, stranger

pytestmark = pytest.mark.unit

BRIEF = {"begins": SIGNED_AT - 100, "ends": SIGNED_AT + 100}
"""The life of a leaf that is shorter than that of its issuers."""


def test_the_pinned_root_is_apples():
    """Both pinned fingerprints are those of the bytes we carry, computed here and not copied."""
    root = apple_root.apple_root()
    spki = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    assert apple_root.CERTIFICATE_SHA256 == hashlib.sha256(root.public_bytes(Encoding.DER)).hexdigest()
    assert apple_root.KEY_SHA256 == hashlib.sha256(spki).hexdigest()
    assert "CN=Apple Root CA - G3" in root.subject.rfc4514_string()


def test_a_chain_to_a_trusted_root_is_believed():
    """A chain that passes every rule and ends at a trusted root gives its leaf's key."""
    key = x5c.prove(good().x5c, roots=good().roots, at_seconds=SIGNED_AT)

    assert isinstance(key.curve, ec.SECP256R1)


@pytest.mark.parametrize("at_seconds", [BRIEF["begins"] - 1, BRIEF["ends"]])
def test_a_chain_has_its_time(at_seconds):
    """One second before its leaf was valid, and in the last second of its life, it is not believed."""
    made = chains.make(leaf=BRIEF)
    with pytest.raises(Unauthentic, match="certificate_not_valid_then"):
        x5c.prove(made.x5c, roots=made.roots, at_seconds=at_seconds)


@pytest.mark.parametrize("at_seconds", [BRIEF["begins"], BRIEF["ends"] - 1])
def test_a_chain_is_believed_from_its_first_second_on(at_seconds):
    """In the first second of its leaf, and up to its last, it is believed."""
    made = chains.make(leaf=BRIEF)
    x5c.prove(made.x5c, roots=made.roots, at_seconds=at_seconds)


@pytest.mark.parametrize("root", [stranger().root, apple_root.apple_root()], ids=["stranger", "pinned"])
def test_a_chain_proves_nothing_to_whoever_trusts_another_root(root):
    """Trust comes from the roots given, never from what was sent."""
    with pytest.raises(Unauthentic, match="untrusted_root"):
        x5c.prove(good().x5c, roots=(root,), at_seconds=SIGNED_AT)


def test_no_roots_prove_nothing():
    """Without a trusted root no chain is believed."""
    with pytest.raises(Unauthentic, match="untrusted_root"):
        x5c.prove(good().x5c, roots=(), at_seconds=SIGNED_AT)


def test_each_root_may_vouch():
    """Several roots are trusted at once, in any order."""
    for roots in ((good().root, stranger().root), (stranger().root, good().root)):
        for made in (good(), stranger()):
            key = x5c.prove(made.x5c, roots=roots, at_seconds=SIGNED_AT)

            assert made.leaf.public_key() == key


def test_success_is_remembered_and_time_is_not():
    """A chain that was proved once is still refused at a moment when it is not valid."""
    made = chains.make(leaf={"ends": SIGNED_AT + 10})

    x5c.prove(made.x5c, roots=made.roots, at_seconds=SIGNED_AT)

    with pytest.raises(Unauthentic, match="certificate_not_valid_then"):
        x5c.prove(made.x5c, roots=made.roots, at_seconds=SIGNED_AT + 10)


def test_success_is_remembered_for_the_roots_that_were_trusted():
    """A chain that one app's root proved proves nothing to an app that does not trust it."""
    x5c.prove(good().x5c, roots=good().roots, at_seconds=SIGNED_AT)

    with pytest.raises(Unauthentic, match="untrusted_root"):
        x5c.prove(good().x5c, roots=stranger().roots, at_seconds=SIGNED_AT)


def test_success_is_remembered_for_the_whole_chain():
    """A proved leaf proves nothing in other company."""
    x5c.prove(good().x5c, roots=good().roots, at_seconds=SIGNED_AT)

    with pytest.raises(Rejected):
        x5c.prove([good().x5c[0], *stranger().x5c[1:]], roots=good().roots, at_seconds=SIGNED_AT)


def test_a_chain_is_proved_once():
    """The second look at the same chain costs no signature check: it comes from memory."""
    made = chains.make()
    x5c.prove(made.x5c, roots=made.roots, at_seconds=SIGNED_AT)
    before = x5c._prove.cache_info()

    x5c.prove(made.x5c, roots=made.roots, at_seconds=SIGNED_AT)

    assert before.hits + 1 == x5c._prove.cache_info().hits
    assert before.misses == x5c._prove.cache_info().misses


def test_a_root_that_was_read_twice_vouches_twice():
    """A trusted root is remembered by being that one, and its twin, read from another file, is as good."""
    made = chains.make()
    twins = tuple(x509.load_der_x509_certificate(root.public_bytes(Encoding.DER)) for root in made.roots)

    keys = [x5c.prove(made.x5c, roots=roots, at_seconds=SIGNED_AT) for roots in (made.roots, twins)]

    assert keys[0].public_numbers() == keys[1].public_numbers()


def test_failure_is_never_remembered():
    """Forgers cannot fill the memory, and it is bounded in any case."""
    before = x5c._prove.cache_info().currsize
    for _ in range(3):
        with pytest.raises(Unauthentic):
            x5c.prove(stranger().x5c, roots=good().roots, at_seconds=SIGNED_AT)

    assert before == x5c._prove.cache_info().currsize
    assert x5c._prove.cache_info().maxsize == 64


def test_a_chain_is_remembered_once_however_its_root_is_dressed():
    """Copies of the root in other bytes neither fill the memory nor push a genuine chain out of it."""
    # The third certificate needs only the trusted root's key and name, so behind Apple's own leaf and intermediate
    # anybody can put a new one each time. Each was remembered, with up to a mebibyte of text, and 64 of them evicted
    # everything that was genuine.
    made = chains.make()
    x5c.prove(made.x5c, roots=made.roots, at_seconds=SIGNED_AT)
    before = x5c._prove.cache_info()

    for number in range(3):
        copy = chains.issue(replace(chains.GOOD_ROOT, ends=SIGNED_AT + 1000 + number), chains.GOOD_ROOT)
        x5c.prove([*made.x5c[:2], b64(copy)], roots=made.roots, at_seconds=SIGNED_AT)

    assert before.currsize == x5c._prove.cache_info().currsize
    assert before.misses == x5c._prove.cache_info().misses


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_certificate_of_any_size_is_not_even_decoded(place):
    """No certificate is larger than any of Apple's could be: a stranger's would be parsed, extension by extension."""
    sent = [*good().x5c]
    sent[place] = "A" * 8196

    with pytest.raises(Malformed, match="x5c_too_long"):
        x5c.prove(sent, roots=good().roots, at_seconds=SIGNED_AT)


def test_the_trusted_root_vouches_and_not_its_copy():
    """A copy of the root's key with a longer life does not lengthen the chain's life."""
    made = chains.make(root={"ends": SIGNED_AT + 10})
    longer = chains.issue(chains.GOOD_ROOT, chains.GOOD_ROOT)
    sent = [*made.x5c[:2], b64(longer)]

    x5c.prove(sent, roots=made.roots, at_seconds=SIGNED_AT)

    with pytest.raises(Unauthentic, match="certificate_not_valid_then"):
        x5c.prove(sent, roots=made.roots, at_seconds=SIGNED_AT + 10)


def test_a_configured_root_has_to_be_one():
    """A certificate that another one issued is no root, whoever configured it."""
    made = good()
    cross_signed = chains.issue(
        chains.GOOD_ROOT, replace(chains.GOOD_ROOT, subject="Older Root", key=chains.ec_key("older root"))
    )

    with pytest.raises(Unauthentic):
        x5c.prove(made.x5c, roots=(cross_signed,), at_seconds=SIGNED_AT)


def test_a_root_that_names_another_authority_is_none():
    """A self-signed root whose authority identifier is not its own is refused."""
    made = chains.make(root={"authority_key_identifier": "another"})

    with pytest.raises(Unauthentic, match="authority_key_identifier"):
        x5c.prove(made.x5c, roots=made.roots, at_seconds=SIGNED_AT)


def test_an_intermediate_of_the_roots_own_name_is_refused():
    """An intermediate that calls itself its own issuer would not count for the path length (RFC 5280, 6.1)."""
    made = chains.make(intermediate={"subject": chains.ROOT}, leaf={"issuer": chains.ROOT})

    with pytest.raises(Unauthentic, match="self_issued_intermediate"):
        x5c.prove(made.x5c, roots=made.roots, at_seconds=SIGNED_AT)


def test_another_spelling_of_the_key_is_refused():
    """A compressed point is the same key in other bytes: no certificate of Apple's has one, and none is needed."""
    key = good().leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    compressed = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    algorithm = spki[2 : -len(point) - 3]
    spelled = sequence(algorithm, b"\x03\x22\x00" + compressed)
    certificate = signed_again(good().leaf, spki, spelled)

    assert key == x509.load_der_x509_certificate(certificate).public_key()
    with pytest.raises(Unauthentic, match="certificate_key_type"):
        x5c.prove([base64.b64encode(certificate).decode(), *good().x5c[1:]], roots=good().roots, at_seconds=SIGNED_AT)


def sequence(*parts: bytes) -> bytes:
    """Write a DER SEQUENCE."""
    content = b"".join(parts)
    length = len(content)
    head = bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2, "big")
    return b"\x30" + head + content


def signed_again(certificate: x509.Certificate, old: bytes, new: bytes) -> bytes:
    """Replace bytes of a certificate of the good intermediate's, which signs it again."""
    issuer = chains.GOOD_INTERMEDIATE.key
    assert isinstance(issuer, ec.EllipticCurvePrivateKey)
    tbs = sequence(certificate.tbs_certificate_bytes[4:].replace(old, new))
    signature = b"\0" + issuer.sign(tbs, ec.ECDSA(SHA384()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040303")
    return sequence(tbs, algorithm, b"\x03" + bytes([len(signature)]) + signature)


@pytest.mark.parametrize("sent", [None, "", {}, 7, ["a", "b", 3], [None, None, None]])
def test_x5c_is_a_list_of_texts(sent):
    """Anything else is malformed."""
    with pytest.raises(Malformed, match="x5c_missing"):
        x5c.prove(sent, roots=good().roots, at_seconds=SIGNED_AT)


@pytest.mark.parametrize("text", ["\n", " ", "=", "YQ", "YR==", "YQ==\n", "_-8=", "é"])
def test_certificates_have_one_spelling(text):
    """Standard base64, padded, without white space and without unused bits."""
    with pytest.raises(Malformed, match="x5c_not_base64"):
        x5c.prove([text, *good().x5c[1:]], roots=good().roots, at_seconds=SIGNED_AT)


def test_bytes_behind_a_certificate_are_refused():
    """DER ends where its length says."""
    longer = base64.b64encode(good().leaf.public_bytes(Encoding.DER) + b"\0\0\0").decode()

    with pytest.raises(Unauthentic, match="certificate_unreadable"):
        x5c.prove([longer, *good().x5c[1:]], roots=good().roots, at_seconds=SIGNED_AT)


def test_extensions_need_version_three():
    """A certificate of version 1 has no extensions, whatever stands in it (RFC 5280, 4.1.2.9)."""
    version_one = signed_again(good().leaf, bytes.fromhex("a003020102"), b"")

    assert x509.Version.v1 is x509.load_der_x509_certificate(version_one).version
    with pytest.raises(Unauthentic, match="certificate_version"):
        x5c.prove([base64.b64encode(version_one).decode(), *good().x5c[1:]], roots=good().roots, at_seconds=SIGNED_AT)
