"""Verification alone, in a loop on one core: ours, and the platforms' own libraries on the same bodies."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import stripe
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier, _ChainVerifier
from cryptography.hazmat.primitives.serialization import Encoding

from handlers.platforms import PLATFORMS
from schemas.received import Received
from tests.benchmarks.figures import Figure
from tests.benchmarks.piles import KINDS, STRIPE, Kind
from tests.benchmarks.place import SQLITE, Grounds, Place
from tests.benchmarks.scope import Scope
from worker.demo.trust import APP
from worker.simulator.sale import Shot
from worker.trust import load

Verify = Callable[[Shot], object]


@dataclass(frozen=True)
class Alone:
    """How many a second of one core, by the processor's clock: a neighbor on the machine does not count."""

    verify: Verify

    def rate(self, shots: Sequence[Shot]) -> float:
        """Verify each once."""
        began = time.thread_time()
        for shot in shots:
            self.verify(shot)
        return len(shots) / (time.thread_time() - began)


def ours(place: Place, kind: Kind) -> Alone:
    """Verify as the door does."""
    platform, settings = PLATFORMS[kind.platform], place.settings.apps[APP].platform(kind.platform)
    keys = load(place.settings.apps).get((APP, kind.platform), {})

    def verify(shot: Shot) -> object:
        received = Received(APP, shot.body, shot.headers)
        return platform.identify(platform.verify(received, settings=settings, keys=keys, now=time.time()))

    return Alone(verify)


def official(place: Place, kind: Kind, *, keeps_chain: bool = False) -> Alone:
    """Verify as the platform's library does, with everything that is nested."""
    if kind.platform == "stripe":
        secret = place.settings.apps[APP].stripe.webhook_secrets[0]  # type: ignore[union-attr]  # the demo trusts Stripe
        return Alone(lambda shot: stripe.Webhook.construct_event(shot.body, shot.headers["stripe-signature"], secret))
    return Alone(_apple(place, kind, keeps_chain=keeps_chain))


def _apple(place: Place, kind: Kind, *, keeps_chain: bool) -> Verify:
    settings: Any = place.settings.apps[APP].apple
    trusted: Mapping[str, Any] = load(place.settings.apps)[APP, kind.platform]
    roots = [root.public_bytes(Encoding.DER) for root in trusted.values()]
    environment = Environment(settings.environments[0])
    verifier = SignedDataVerifier(roots, False, environment, settings.bundle_id, settings.app_apple_id)  # noqa: FBT003 - the library's own order: no online checks
    if keeps_chain:
        verifier._chain_verifier = _KeepingChains(roots)

    def verify(shot: Shot) -> object:
        said = verifier.verify_and_decode_notification(json.loads(shot.body)["signedPayload"])
        if said.data and said.data.signedTransactionInfo:
            verifier.verify_and_decode_signed_transaction(said.data.signedTransactionInfo)
        if said.data and said.data.signedRenewalInfo:
            verifier.verify_and_decode_renewal_info(said.data.signedRenewalInfo)
        return said

    return verify


class _KeepingChains(_ChainVerifier):
    """Keeps what a chain proved, as the library itself does only with its online checks on."""

    def verify_chain(self, certificates: list[str], perform_online_checks: bool, effective_date: int) -> str:  # noqa: FBT001 - the library's signature
        """Prove a chain once."""
        if known := self.get_cached_public_key(certificates):
            return known
        proved = super().verify_chain(certificates, perform_online_checks, effective_date)
        self.put_verified_public_key(certificates, proved)
        return proved


def measure(grounds: Grounds, scope: Scope) -> Iterator[Figure]:
    """Measure every kind, ours and the library's in turns."""
    for kind in KINDS:
        others = [
            ("official library", False),
            *([("official library, chain kept", True)] if kind is not STRIPE else []),
        ]
        for other, keeps_chain in others:
            name = f"verification alone, {kind.name}"
            if scope.wants(name, other):
                with grounds.place(SQLITE) as place:
                    yield _pair(place, kind, scope, (name, other, official(place, kind, keeps_chain=keeps_chain)))


def _pair(place: Place, kind: Kind, scope: Scope, against: tuple[str, str, Alone]) -> Figure:
    name, other, library = against
    prove, now = ours(place, kind), time.time()
    each, fewer = scope.size(2_000, quick=500), scope.size(300, quick=100)
    here, there = [], []
    for _ in scope.turns(f"{name} beside {other}"):
        shots = kind.refunds(place, kind.sales(each, now), time.time())
        prove.rate(shots[:50])
        here.append(prove.rate(shots))
        there.append(library.rate(shots[:fewer]))
    return Figure(1, name, "/s of a core", here, there, other)
