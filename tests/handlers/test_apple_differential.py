"""Our verifier beside Apple's own server library, over chains and notifications with any one thing wrong.

Real: both verifiers, every key, certificate and signature. Chosen: the dates. The oracle is `SignedDataVerifier` of
`app-store-server-library`, without its online checks, asked about the notification and then about each JWS nested in
it, as its documentation demands. What it rejects we must reject; what it accepts we accept too, but for what is
listed as STRICTER, one by one.
"""

import base64
import random

import pytest
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier, VerificationException
from cryptography.hazmat.primitives.serialization import Encoding

from handlers.apple import PLATFORM
from handlers.errors import Rejected
from schemas.received import Received
from tests.handlers import apple_chains as chains
from tests.handlers.apple_bad_chains import BAD_CHAINS
from tests.handlers.apple_bad_tokens import BAD_PAYLOADS, BAD_TOKENS, STRICTER
from tests.handlers.apple_chains import APP_APPLE_ID, BUNDLE_ID, SIGNED_AT, good
from tests.handlers.apple_questions import GOOD, Asked, by, sent_as

pytestmark = [
    pytest.mark.unit,
    # A flipped bit can make a serial number negative, and the parser says so before anything is verified.
    pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning"),
]


def ours(asked: Asked) -> str:
    """Tell why we reject it, or an empty string."""
    settings = chains.SETTINGS.model_copy(update={"environments": (asked.environment,)})
    try:
        PLATFORM.verify(
            Received("acme", chains.body(asked.token)),
            settings=settings,
            keys={"root": asked.root},
            now=float(SIGNED_AT),
        )
    except Rejected as rejected:
        return rejected.reason
    return ""


def theirs(asked: Asked) -> str:
    """Tell why Apple's library rejects it, or an empty string."""
    verifier = SignedDataVerifier(
        [asked.root.public_bytes(Encoding.DER)],
        enable_online_checks=False,
        environment=Environment(asked.environment),
        bundle_id=BUNDLE_ID,
        app_apple_id=APP_APPLE_ID,
    )
    try:
        notification = verifier.verify_and_decode_notification(asked.token)
        said = notification.data
        if said and said.signedTransactionInfo is not None:
            verifier.verify_and_decode_signed_transaction(said.signedTransactionInfo)
        if said and said.signedRenewalInfo is not None:
            verifier.verify_and_decode_renewal_info(said.signedRenewalInfo)
        app = notification.appData
        if app and app.signedAppTransactionInfo is not None:
            verifier.verify_and_decode_app_transaction(app.signedAppTransactionInfo)
    except VerificationException as rejected:
        return rejected.status.name
    except Exception as broken:  # noqa: BLE001 - a shape the library cannot take is one it does not accept
        return type(broken).__name__
    return ""


REJECTED = {**BAD_CHAINS, **BAD_PAYLOADS, **BAD_TOKENS}


@pytest.mark.parametrize("name", GOOD)
def test_what_apples_library_accepts_we_accept(name):
    """A good notification is believed by both."""
    asked = GOOD[name]()

    assert ("", "") == (ours(asked), theirs(asked))


@pytest.mark.parametrize("name", REJECTED)
def test_what_apples_library_rejects_we_reject(name):
    """Whatever Apple's own library refuses, we refuse."""
    asked = REJECTED[name]()

    assert theirs(asked)
    assert ours(asked)


@pytest.mark.parametrize("name", STRICTER)
def test_we_are_stricter_where_we_say_so(name):
    """Some things Apple's library lets pass and we do not: this is the whole list."""
    asked = STRICTER[name]()

    assert "" == theirs(asked)
    assert ours(asked)


def test_the_second_of_expiry_is_too_late():
    """OpenSSL changed its mind about the very second of notAfter in 4.0; ours is the answer that both allow."""
    assert "certificate_not_valid_then" == ours(by(chains.make(leaf={"ends": SIGNED_AT})))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_certificate_is_worth_nothing_to_either(which, seed):
    """Whatever bit of leaf or intermediate is flipped, neither verifier believes the chain."""
    chance = random.Random(1000 * which + seed)
    der = bytearray(base64.b64decode(good().x5c[which]))
    der[chance.randrange(len(der))] ^= 1 << chance.randrange(8)
    asked = sent_as(lambda x: [*x[:which], base64.b64encode(der).decode(), *x[which + 1 :]])

    assert theirs(asked)
    assert ours(asked)


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_token_is_worth_nothing_to_either(seed):
    """Whatever character of a JWS is exchanged, neither verifier believes it."""
    chance = random.Random(seed)
    token = good().sign(chains.payload("TEST"))
    at = chance.randrange(len(token) - 1)  # the last one has unused bits, which Apple's library does not look at
    other = chance.choice([c for c in "ABCxyz019-_." if c != token[at]])
    asked = Asked(token[:at] + other + token[at + 1 :], good().root)

    assert theirs(asked)
    assert ours(asked)
