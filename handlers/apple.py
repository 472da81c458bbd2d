"""An App Store notification is believed if chains to Apple's root signed it, and all it carries, for this app.

The body is an envelope around one JWS, in which up to two more are nested, each with a chain of its own: whoever
trusts the outer one still has to check the inner ones. What a notification then means for purchases is said in
`handlers/apple_meaning.py`.

Apple's pages: "App Store Server Notifications V2", "responseBodyV2DecodedPayload", "JWSTransaction". The rules for
verifying are those of Apple's own server libraries (`SignedDataVerifier`), and then some: docs/platforms/apple.md.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from cryptography import x509
from pydantic import BaseModel, ValidationError

from config.platforms import Apple
from handlers import accepted, jws, strict_json, x5c
from handlers.apple_meaning import meaning_of
from handlers.apple_root import apple_root
from handlers.apple_transactions import environment_of
from handlers.errors import Malformed, Unauthentic, WrongApp
from handlers.platform import Platform, nothing_needed
from schemas.meaning import Facts, Lookup, Normalized
from schemas.platforms.apple import AppIds, Envelope, Notification, Payload
from schemas.received import Identity, Keys, Received

__all__ = ["PLATFORM"]

ALGORITHM: Final = "ES256"
"""The one algorithm of the App Store. The header never chooses how it is checked."""
MAX_AHEAD_MS: Final = 300_000
"""How far Apple's clock may be ahead of ours."""
MAX_BODY_BYTES: Final = 1 << 20

_CLAIMS: Final[Mapping[str, Callable[[Any, float], bool]]] = {
    # RFC 7519, 4.1. Apple sends none of these; should it begin to, they must not be passed over.
    "aud": lambda said, _now: said is None,
    "exp": lambda said, now: type(said) is int and said > now,
    "nbf": lambda said, now: type(said) is int and said <= now,
    "iat": lambda said, now: type(said) is int and said <= now,
    "sub": lambda said, _now: isinstance(said, str),
    "jti": lambda said, _now: isinstance(said, str),
}

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class _Sealed:
    """One JWS of the notification, opened and not yet believed."""

    jws: jws.Jws
    says: dict[str, Any]
    signed_at_ms: int


@dataclass(frozen=True, slots=True)
class _Opened:
    """Everything in one body: what it says, and every seal that has to hold for it."""

    notification: Notification
    seals: tuple[_Sealed, ...]


def verify(received: Received, *, settings: Apple, keys: Keys, now: float) -> Notification:
    """Believe what was signed for this app by chains to the pinned root, or to one in `keys`.

    Raises:
        Malformed: the bytes are no notification.
        Unauthentic: a seal does not hold: algorithm, chain, its validity when signed, or signature; or it was
            signed in the future, or longer ago than the operator allows.
        WrongApp: another bundle, environment or app id than the operator's.
    """
    opened = _open(received.body)
    roots = (apple_root(), *(key for key in keys.values() if isinstance(key, x509.Certificate)))
    for seal in opened.seals:
        _check_seal(seal, roots=roots, now=now)
    _check_age(opened.notification.payload.signed_date, max_age_seconds=settings.max_age_seconds, now=now)
    _check_app(opened.notification, settings)
    return opened.notification


def read(body: bytes, headers: Mapping[str, str]) -> Notification:
    """Open envelope, payload and what is nested in it, or raise `Malformed`."""
    del headers  # Apple signs none and says nothing in them
    return _open(body).notification


def identify(payload: Notification) -> Identity:
    """Name the notification by its `notificationUUID`.

    Apple: "Use this value to identify a duplicate notification" (notificationUUID). Retries keep it.
    """
    said = payload.payload
    return Identity(
        id=said.notification_uuid,
        type=said.notification_type,
        subtype=said.subtype or "",
        occurred_at_ms=said.signed_date,
        environment=environment_of(payload),
    )


def needs(payload: Notification) -> tuple[Lookup, ...]:
    """Ask for nothing: the transaction is in the notification."""
    return nothing_needed(payload)


def normalize(payload: Notification, facts: Facts, *, settings: Apple) -> Normalized:
    """Say what it means for the transaction it carries."""
    del facts, settings
    return meaning_of(payload)


def _open(body: bytes) -> _Opened:
    if len(body) > MAX_BODY_BYTES:
        raise Malformed("too_large")
    seals: list[_Sealed] = []

    def unseal(token: str) -> dict[str, Any]:
        seals.append(_unseal(token))
        return seals[-1].says

    notification = _notification(strict_json.parse_object(body), unseal)
    return _Opened(notification, tuple(seals))


def _notification(envelope: dict[str, Any], unseal: Callable[[str], dict[str, Any]]) -> Notification:
    """Put together what the envelope's JWS says, and each that is nested in it."""
    payload = _shaped(
        Payload, unseal(_shaped(Envelope, envelope, "no_signed_payload").signed_payload), "unexpected_payload_shape"
    )
    data, app_data = payload.data, payload.app_data
    nested = (
        data.signed_transaction_info if data else None,
        data.signed_renewal_info if data else None,
        app_data.signed_app_transaction_info if app_data else None,
    )
    transaction, renewal, app_transaction = (None if token is None else unseal(token) for token in nested)
    return Notification(payload=payload, transaction=transaction, renewal=renewal, app_transaction=app_transaction)


def _shaped(model: type[_Model], fields: dict[str, Any], reason: str) -> _Model:
    try:
        return model.model_validate(fields)
    except ValidationError:
        raise Malformed(reason) from None


def _unseal(token: str) -> _Sealed:
    """Open one JWS and find when it says it was signed: `signedDate`, or an app transaction's creation date."""
    parts = jws.split(token, MAX_BODY_BYTES)
    says = strict_json.parse_object(parts.payload)
    signed_at_ms = says.get("signedDate", says.get("receiptCreationDate"))
    if type(signed_at_ms) is not int:
        raise Malformed("no_signed_date")
    return _Sealed(parts, says, signed_at_ms)


def _check_seal(seal: _Sealed, *, roots: x5c.Roots, now: float) -> None:
    """Check one JWS, cheapest rule first. The date that its chain is checked at has to be a sane one."""
    if seal.jws.header.get("alg") != ALGORITHM:
        raise Unauthentic("algorithm")
    if seal.signed_at_ms > now * 1000 + MAX_AHEAD_MS:
        raise Unauthentic("signed_in_the_future")
    key = x5c.prove(seal.jws.header.get("x5c"), roots=roots, at_seconds=seal.signed_at_ms // 1000)
    jws.verify_es256(seal.jws, key)
    for claim, holds in _CLAIMS.items():
        if claim in seal.says and not holds(seal.says[claim], now):
            raise Unauthentic(f"claim_{claim}")


def _check_age(signed_at_ms: int, *, max_age_seconds: int, now: float) -> None:
    """Bound how long a stolen key of an expired leaf, dated back, could be of use."""
    if max_age_seconds and signed_at_ms < (now - max_age_seconds) * 1000:
        raise Unauthentic("signed_too_long_ago")


def _check_app(notification: Notification, settings: Apple) -> None:
    """Check that every part names this app, and one and the same environment that it accepts."""
    apps = notification.payload.apps
    if not apps:
        raise WrongApp("no_app_named")
    store = apps[0].store
    for ids in apps:
        _check_ids(ids, settings)
        if ids.store != store:
            raise WrongApp("environment")
    for bundle_id, environment in _named_within(notification, settings):
        if bundle_id != settings.bundle_id:
            raise WrongApp("nested_bundle_id")
        if environment != store:
            raise WrongApp("nested_environment")
    if store == "Production" and notification.app_transaction is not None:
        _check_number(notification.app_transaction.get("appAppleId"), settings)


def _check_ids(ids: AppIds, settings: Apple) -> None:
    """Check bundle, environment and, in production, the app's number, which sandbox may leave out."""
    if ids.bundle_id != settings.bundle_id:
        raise WrongApp("bundle_id")
    if ids.store not in settings.environments:
        raise WrongApp("environment")
    if ids.store == "Production":
        _check_number(ids.app_apple_id, settings)


def _check_number(app_apple_id: Any, settings: Apple) -> None:
    if not settings.app_apple_id:
        raise WrongApp("app_apple_id_not_configured")
    if app_apple_id != settings.app_apple_id:
        raise WrongApp("app_apple_id")


def _named_within(notification: Notification, settings: Apple) -> Iterator[tuple[Any, Any]]:
    """Give bundle and environment as each nested JWS names them; renewal info names no bundle."""
    if (transaction := notification.transaction) is not None:
        yield transaction.get("bundleId"), transaction.get("environment")
    if (renewal := notification.renewal) is not None:
        yield settings.bundle_id, renewal.get("environment")
    if (app_transaction := notification.app_transaction) is not None:
        yield app_transaction.get("bundleId"), app_transaction.get("receiptType")


def _reread(body: bytes, headers: Mapping[str, str]) -> Notification:
    del headers  # as in `read`
    return _notification(accepted.json_object(body), accepted.jws_says)


PLATFORM = Platform(
    name="apple", verify=verify, identify=identify, needs=needs, normalize=normalize, read=read, rereads=_reread
)
