"""Chains with one thing wrong, each of which Apple's library rejects."""

import base64
from collections.abc import Callable
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.handlers import apple_chains as chains
from tests.handlers.apple_chains import SIGNED_AT, Made, b64, good, stranger
from tests.handlers.apple_questions import (
    PROXY,
    UNHEARD_OF,
    Asked,
    by,
    sent_as,
    with_extension,
)


def _issued_by_a_leaf() -> Asked:
    """A holder of a good leaf makes another leaf of their own below it."""
    made = chains.make()
    authority = chains.GOOD_LEAF
    key = chains.ec_key("upstart", "secp256r1")
    last = chains.issue(replace(chains.GOOD_LEAF, subject="Upstart", key=key), authority)
    x5c = [b64(last), b64(made.leaf), b64(made.root)]
    return by(Made(made.root, made.leaf, last, leaf_key=key, x5c=x5c))


def _issued_by_the_root() -> Asked:
    leaf = chains.issue(chains.GOOD_LEAF, chains.GOOD_ROOT)
    return by(good().sending([b64(leaf), good().x5c[1], good().x5c[2]]))


def _two_intermediates() -> Asked:
    """A subordinate of the intermediate breaks its path length, and makes four certificates."""
    middle = replace(chains.GOOD_INTERMEDIATE, subject="Subordinate", key=chains.ec_key("subordinate"))
    leaf = chains.issue(chains.GOOD_LEAF, middle)
    subordinate = chains.issue(middle, chains.GOOD_INTERMEDIATE)
    return by(good().sending([b64(leaf), b64(subordinate), *good().x5c[1:]]))


def _without_the_real_intermediate() -> Asked:
    middle = replace(chains.GOOD_INTERMEDIATE, subject="Subordinate", key=chains.ec_key("subordinate"))
    leaf = chains.issue(chains.GOOD_LEAF, middle)
    subordinate = chains.issue(middle, chains.GOOD_INTERMEDIATE)
    return by(good().sending([b64(leaf), b64(subordinate), good().x5c[2]]))


def _leaf_with_a_broken_signature() -> Asked:
    der = bytearray(good().leaf.public_bytes(Encoding.DER))
    der[-1] ^= 1
    return by(good().sending([base64.b64encode(der).decode(), *good().x5c[1:]]))


BAD_CHAINS: dict[str, Callable[[], Asked]] = {
    "leaf expired": lambda: by(chains.make(leaf={"ends": SIGNED_AT - 1})),
    "leaf not yet valid": lambda: by(chains.make(leaf={"begins": SIGNED_AT + 1})),
    "intermediate expired": lambda: by(chains.make(intermediate={"ends": SIGNED_AT - 1})),
    "intermediate not yet valid": lambda: by(chains.make(intermediate={"begins": SIGNED_AT + 1})),
    "root expired": lambda: by(chains.make(root={"ends": SIGNED_AT - 1})),
    "root not yet valid": lambda: by(chains.make(root={"begins": SIGNED_AT + 1})),
    "leaf without its marker": lambda: by(chains.make(leaf={"marker": None})),
    "leaf with another marker": lambda: by(chains.make(leaf={"marker": "1.2.840.113635.100.6.11.2"})),
    "leaf with the intermediate's marker": lambda: by(chains.make(leaf={"marker": "1.2.840.113635.100.6.2.1"})),
    "intermediate without its marker": lambda: by(chains.make(intermediate={"marker": None})),
    "intermediate with another marker": lambda: by(chains.make(intermediate={"marker": "1.2.840.113635.100.6.2.2"})),
    "markers exchanged": lambda: by(
        chains.make(leaf={"marker": "1.2.840.113635.100.6.2.1"}, intermediate={"marker": "1.2.840.113635.100.6.11.1"})
    ),
    "leaf and intermediate exchanged": lambda: sent_as(lambda x: [x[1], x[0], x[2]]),
    "upside down": lambda: sent_as(lambda x: x[::-1]),
    "the leaf three times": lambda: sent_as(lambda x: [x[0]] * 3),
    "the root three times": lambda: sent_as(lambda x: [x[2]] * 3),
    "the intermediate twice": lambda: sent_as(lambda x: [x[1], x[1], x[2]]),
    "no certificate": lambda: sent_as(lambda _: []),
    "one certificate": lambda: sent_as(lambda x: x[:1]),
    "two certificates": lambda: sent_as(lambda x: x[:2]),
    "four certificates": lambda: sent_as(lambda x: [*x, x[2]]),
    "five certificates": lambda: sent_as(lambda x: [*x, x[1], x[2]]),
    "a text instead of a list": lambda: sent_as(lambda x: x[0]),
    "numbers instead of texts": lambda: sent_as(lambda _: [1, 2, 3]),
    "null instead of a list": lambda: by(good(), x5c=None),
    "a stranger's chain": lambda: Asked(stranger().sign(chains.refund(stranger())), good().root),
    "a stranger's chain with the trusted root appended": lambda: Asked(
        stranger().sending([*stranger().x5c[:2], good().x5c[2]]).sign(chains.payload("TEST")), good().root
    ),
    "a stranger's leaf below the trusted intermediate": lambda: Asked(
        stranger().sending([stranger().x5c[0], *good().x5c[1:]]).sign(chains.payload("TEST")), good().root
    ),
    "the trusted chain around a stranger's signature": lambda: Asked(
        stranger().sending(good().x5c).sign(chains.payload("TEST")), good().root
    ),
    "intermediate that is no authority": lambda: by(chains.make(intermediate={"ca": False, "path_length": None})),
    "intermediate without basic constraints": lambda: by(chains.make(intermediate={"ca": None})),
    "intermediate without key usage": lambda: by(chains.make(intermediate={"usages": None})),
    "intermediate that may not sign certificates": lambda: by(
        chains.make(intermediate={"usages": ("digital_signature",)})
    ),
    "intermediate without a key identifier": lambda: by(chains.make(intermediate={"subject_key_identifier": False})),
    "intermediate without its authority's identifier": lambda: by(
        chains.make(intermediate={"authority_key_identifier": None})
    ),
    "intermediate with another authority's identifier": lambda: by(
        chains.make(intermediate={"authority_key_identifier": "another"})
    ),
    "intermediate issued in another name": lambda: by(chains.make(intermediate={"issuer": "Another Root"})),
    "intermediate without a name": lambda: by(chains.make(intermediate={"subject": ""})),
    "intermediate with a critical extension": lambda: by(
        chains.make(intermediate=with_extension(UNHEARD_OF, critical=True))
    ),
    "root that is no authority": lambda: by(chains.make(root={"ca": False})),
    "root without key usage": lambda: by(chains.make(root={"usages": None})),
    "root that may not sign certificates": lambda: by(chains.make(root={"usages": ("crl_sign",)})),
    "root without room for an intermediate": lambda: by(chains.make(root={"path_length": 0})),
    "root without a key identifier": lambda: by(chains.make(root={"subject_key_identifier": False})),
    "root with a critical extension": lambda: by(chains.make(root=with_extension(UNHEARD_OF, critical=True))),
    "leaf without its authority's identifier": lambda: by(chains.make(leaf={"authority_key_identifier": None})),
    "leaf with another authority's identifier": lambda: by(chains.make(leaf={"authority_key_identifier": "another"})),
    "leaf issued in another name": lambda: by(chains.make(leaf={"issuer": "Another Intermediate"})),
    "leaf with a critical extension": lambda: by(chains.make(leaf=with_extension(UNHEARD_OF, critical=True))),
    "leaf that is a proxy": lambda: by(chains.make(leaf=with_extension(PROXY, critical=True))),
    "leaf that is a proxy and makes nothing of it": lambda: by(chains.make(leaf=with_extension(PROXY, critical=False))),
    "leaf that may sign certificates": lambda: by(chains.make(leaf={"usages": ("digital_signature", "key_cert_sign")})),
    "leaf with a P-384 key": lambda: by(chains.make(leaf={"key": chains.ec_key("large leaf")})),
    "leaf with an RSA key": lambda: by(chains.make(leaf={"key": chains.rsa_key("leaf")})),
    "leaf without a name": lambda: by(chains.make(leaf={"subject": ""})),
    "leaf with a broken signature": _leaf_with_a_broken_signature,
    "leaf issued by a leaf": _issued_by_a_leaf,
    "leaf issued by the root": _issued_by_the_root,
    "leaf below a subordinate": _two_intermediates,
    "leaf below a subordinate that hides its issuer": _without_the_real_intermediate,
    "names excluded": lambda: by(
        chains.make(
            intermediate=with_extension(
                x509.NameConstraints(
                    None,
                    [x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, chains.LEAF)]))],
                ),
                critical=True,
            )
        )
    ),
    "leaf in line breaks": lambda: sent_as(lambda x: [x[0][:64] + "\n" + x[0][64:], *x[1:]]),
    "leaf in spaces": lambda: sent_as(lambda x: [" " + x[0], *x[1:]]),
    "leaf with a trailing line break": lambda: sent_as(lambda x: [x[0] + "\n", *x[1:]]),
    "leaf in base64url": lambda: sent_as(
        lambda x: [base64.urlsafe_b64encode(base64.b64decode(x[0]) + b"\xff\xff\xff").decode(), *x[1:]]
    ),
    "leaf as PEM": lambda: sent_as(lambda x: [good().leaf.public_bytes(Encoding.PEM).decode(), *x[1:]]),
    "leaf cut short": lambda: sent_as(lambda x: [x[0][:-8], *x[1:]]),
    "leaf empty": lambda: sent_as(lambda x: ["", *x[1:]]),
    "leaf that is no base64": lambda: sent_as(lambda x: ["§§§", *x[1:]]),
    "leaf that is no certificate": lambda: sent_as(lambda x: [base64.b64encode(b"abc").decode(), *x[1:]]),
    "intermediate empty": lambda: sent_as(lambda x: [x[0], "", x[2]]),
    "intermediate that is no certificate": lambda: sent_as(lambda x: [x[0], base64.b64encode(b"abc").decode(), x[2]]),
}
