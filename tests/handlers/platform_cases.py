"""What the contract suite needs of a platform, found by its name: simulator, settings, keys, and what is signed.

A platform named `x` brings `worker/simulator/x.py` with `create`, `told` and `XSimulator`, and a section `x` of an
app. Only what differs in kind between platforms stands in the tables here.
"""

import base64
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from config.settings import App
from handlers.platform import Platform
from handlers.platforms import PLATFORMS
from schemas.received import Identity, Keys, Received
from worker import trust
from worker.simulator.sale import Backend, Sale, Shot, Simulator

NOW = 1_795_000_000.0
NOW_MS = 1_795_000_000_000
MONTH_MS = 30 * 86_400_000

PURCHASE_IDS = {"stripe": "ch_3Q9ines{}", "google": "GPA.3312-4455-6677-8899{}", "apple": "20000099887766{}"}
"""How the platforms write the id of a purchase, where it matters."""

SEALS = {"google": "authorization", "stripe": "stripe-signature"}
"""The header that carries the proof. Without one, it is in the body."""
UNSIGNED_BODIES = {"google"}
"""Pub/Sub's token vouches for who pushes, not for the bytes that are pushed."""

EMPTIED = {
    "apple": {"bundle_id": ""},
    "google": {"audience": ""},
    "stripe": {"webhook_secrets": ("",)},
    "amazon": {"topic_arns": ("",)},
}
"""A section whose one secret, or what stands for it, was left empty."""


@dataclass(frozen=True, slots=True)
class Case:
    """One platform as one app has it."""

    platform: Platform
    settings: Any
    keys: Keys
    simulator: Simulator
    backend: Backend

    def received(self, shot: Shot) -> Received:
        """Put a shot as it comes through the door: header names in lower case."""
        headers = {name.lower(): value for name, value in shot.headers.items()}
        return Received(app="acme", body=shot.body, headers=headers)

    def verify(self, shot: Shot, now: float = NOW) -> Any:
        """Verify with what the app trusts."""
        return self.platform.verify(self.received(shot), settings=self.settings, keys=self.keys, now=now)

    def read(self, shot: Shot) -> Any:
        """Read without verifying."""
        received = self.received(shot)
        return self.platform.read(received.body, received.headers)

    def identify(self, shot: Shot) -> Identity:
        """Verify, and ask for the name."""
        return self.platform.identify(self.verify(shot))

    def trusting(self, settings: Any, *others: Keys) -> "Case":
        """Trust as `settings` say, and further keys besides."""
        merged = {**self.keys}
        for keys in others:
            merged |= {name if name not in merged else f"{name} (2)": key for name, key in keys.items()}
        return replace(self, settings=settings, keys=merged)


def make(name: str, directory: Path) -> Case:
    """Make the trust of one platform in `directory`, and the simulator that signs under it."""
    directory.mkdir(parents=True)
    module = importlib.import_module(f"worker.simulator.{name}")
    section = module.create(directory, app="acme", public_url="https://hooks.acme.example")
    app = App.model_validate({name: section})
    settings = getattr(app, name)
    simulator = getattr(module, f"{name.capitalize()}Simulator")(directory, settings)
    keys = trust.load({"acme": app}).get(("acme", name), {})
    return Case(PLATFORMS[name], settings, keys, simulator, module.told)


def sale_of(name: str, number: int = 1, *, subscription: bool) -> Sale:
    """Sell a monthly plan, or a level pack for good, with ids in the platform's style."""
    purchase_id = PURCHASE_IDS.get(name, "amzn1.receipt.{}").format(number)
    return Sale(
        user_id="9f1c0a54-7c3e-4b7e-9d53-1c1f6a2b7e11",
        product_id="com.acme.pro.monthly" if subscription else "com.acme.levels",
        purchase_id=purchase_id,
        original_purchase_id=f"sub_{number}" if name == "stripe" else purchase_id,
        amount=499,
        currency="usd",
        purchased_at_ms=NOW_MS - MONTH_MS // 2,
        expires_at_ms=NOW_MS + MONTH_MS // 2 if subscription else None,
        subscription=subscription,
    )


def shots_of(case: Case) -> list[Shot]:
    """Say everything that the platform has a word for, about a plan and about a level pack."""
    found: list[Shot | None] = []
    for subscription in (True, False):
        sale = sale_of(case.platform.name, subscription=subscription)
        verbs = [case.simulator.purchase, case.simulator.refund, case.simulator.undo_refund, case.simulator.expire]
        if subscription:
            verbs.append(case.simulator.renew)
        found += [verb(sale, NOW) for verb in verbs]
    return [shot for shot in found if shot is not None]


def both_trusted(old: Case, new: Case) -> Case:
    """Trust what `old` signs and what `new` signs, as while credentials are being rotated."""
    if old.platform.name == "stripe":
        secrets = (*new.settings.webhook_secrets, *old.settings.webhook_secrets)
        return new.trusting(new.settings.model_copy(update={"webhook_secrets": secrets}))
    return new.trusting(new.settings, old.keys)


# --- The JSON that a platform wraps, and how it comes back into a body that `read` opens.


def unwrap(name: str, shot: Shot) -> Any:
    """Take out what a notification says, decoded all the way down."""
    return _UNWRAP.get(name, json.loads)(shot.body)


def wrap(name: str, shot: Shot, says: Any) -> Shot:
    """Put something else into the notification, with a signature that no longer fits."""
    outer = json.loads(shot.body)
    return replace(shot, body=json.dumps(_WRAP.get(name, _bare)(outer, says)).encode())


def _segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _opened(token: str) -> Any:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def _unwrap_apple(body: bytes) -> Any:
    says = _opened(json.loads(body)["signedPayload"])
    nested = {name: _opened(token) for name, token in says["data"].items() if name.startswith("signed")}
    return {**says, "data": {**says["data"], **nested}}


def _wrap_apple(outer: Any, says: Any) -> Any:
    head, _, signature = outer["signedPayload"].split(".")

    def sealed(value: Any) -> str:
        return f"{head}.{_segment(value)}.{signature}"

    if isinstance(says, dict) and isinstance(data := says.get("data"), dict):
        nested = {name: sealed(value) for name, value in data.items() if name.startswith("signed")}
        says = {**says, "data": {**data, **nested}}
    return {"signedPayload": sealed(says)}


def _unwrap_google(body: bytes) -> Any:
    return json.loads(base64.b64decode(json.loads(body)["message"]["data"]))


def _wrap_google(outer: Any, says: Any) -> Any:
    data = base64.b64encode(json.dumps(says).encode()).decode()
    return {**outer, "message": {**outer["message"], "data": data}}


def _unwrap_amazon(body: bytes) -> Any:
    return json.loads(json.loads(body)["Message"])


def _wrap_amazon(outer: Any, says: Any) -> Any:
    return {**outer, "Message": json.dumps(says)}


def _bare(_outer: Any, says: Any) -> Any:
    return says


_UNWRAP: Mapping[str, Callable[[bytes], Any]] = {
    "apple": _unwrap_apple,
    "google": _unwrap_google,
    "amazon": _unwrap_amazon,
}
_WRAP: Mapping[str, Callable[[Any, Any], Any]] = {
    "apple": _wrap_apple,
    "google": _wrap_google,
    "amazon": _wrap_amazon,
}
