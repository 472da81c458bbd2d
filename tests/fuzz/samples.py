"""What a fuzzer begins with: genuine notifications and answers, the code's own words, and numbers nobody expects."""

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from tests.handlers.platform_cases import NOW, NOW_MS, Case, make, sale_of, unwrap
from tests.house.tree import ROOT
from worker.simulator.sale import Sale, Shot, Simulator

USER: Final = "9f1c0a54-7c3e-4b7e-9d53-1c1f6a2b7e11"
_PRICE: Final = {"currencyCode": "USD", "units": "4", "nanos": 990_000_000}
_HALF: Final = {"currencyCode": "USD", "units": "2", "nanos": 495_000_000}
_BEFORE, _LATER = "2026-11-01T08:00:00.123Z", "2026-12-01T08:00:00Z"

ANSWERS: Final[Mapping[str, Any]] = {
    # developers.google.com/android-publisher/api-ref/rest/v3: SubscriptionPurchaseV2, ProductPurchaseV2, Order
    "subscriptionsv2": {
        "startTime": _BEFORE,
        "subscriptionState": "SUBSCRIPTION_STATE_ACTIVE",
        "linkedPurchaseToken": "token-of-the-plan-before",
        "lineItems": [
            {
                "productId": "com.acme.pro.monthly",
                "expiryTime": _LATER,
                "latestSuccessfulOrderId": "GPA.3312-4455-6677-88991..0",
                "autoRenewingPlan": {"autoRenewEnabled": True},
            }
        ],
        "externalAccountIdentifiers": {"obfuscatedExternalAccountId": USER},
        "canceledStateContext": {"systemInitiatedCancellation": {}},
        "testPurchase": {},
    },
    "productsv2": {
        "orderId": "GPA.3312-4455-6677-88991",
        "productLineItem": [
            {
                "productId": "com.acme.levels",
                "productOfferDetails": {"quantity": 3, "refundableQuantity": 2, "consumptionState": "CONSUMED"},
            }
        ],
        "purchaseStateContext": {"purchaseState": "PURCHASED"},
        "purchaseCompletionTime": _BEFORE,
        "obfuscatedExternalAccountId": USER,
        "testPurchaseContext": {"fopType": "TEST"},
    },
    "orders": {
        "orderId": "GPA.3312-4455-6677-88991",
        "purchaseToken": "GPA.3312-4455-6677-88991",
        "state": "PARTIALLY_REFUNDED",
        "createTime": _BEFORE,
        "lastEventTime": _LATER,
        "total": _PRICE,
        "lineItems": [{"productId": "com.acme.levels", "oneTimePurchaseDetails": {"quantity": 3}}],
        "orderHistory": {
            "refundEvent": {
                "eventTime": _LATER,
                "refundReason": "OTHER",
                "refundDetails": {"total": _PRICE, "tax": _HALF},
            },
            "partialRefundEvents": [
                {
                    "createTime": _BEFORE,
                    "processTime": _LATER,
                    "state": "PROCESSED_SUCCESSFULLY",
                    "refundDetails": {"total": _HALF},
                }
            ],
        },
    },
    # docs.stripe.com/api/invoice-payment/list, with `data.invoice` expanded
    "invoice_payments": {
        "object": "list",
        "has_more": False,
        "data": [
            {
                "id": "inpay_1",
                "object": "invoice_payment",
                "status": "paid",
                "amount_paid": 499,
                "currency": "usd",
                "payment": {"type": "payment_intent", "payment_intent": "pi_3Q9ines1"},
                "invoice": {
                    "id": "in_1",
                    "object": "invoice",
                    "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
                    "lines": {"object": "list", "data": [], "has_more": False},
                },
            }
        ],
    },
    # developer.amazon.com/docs/in-app-purchasing/iap-rvs-for-android-apps.html, "RVS response fields"
    "rvs": {
        "receiptId": "amzn1.receipt.1",
        "productId": "com.acme.pro",
        "termSku": "com.acme.pro.monthly",
        "productType": "SUBSCRIPTION",
        "purchaseDate": NOW_MS - 1_296_000_000,
        "renewalDate": NOW_MS + 1_296_000_000,
        "gracePeriodEndDate": NOW_MS + 1_300_000_000,
        "cancelDate": NOW_MS,
        "cancelReason": 1,
        "quantity": 1,
        "testTransaction": False,
    },
}
"""What the platforms' APIs answer, by the kind of look-up."""

NUMBERS: Final[tuple[Any, ...]] = (
    *(0, -1, 1, 999, 100_000, 100_001, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**309),
    *(253_402_300_799, 253_402_300_800, 253_402_300_799_999, 253_402_300_800_000, 10**15),
    *(0.5, -0.0, 1e15, 1e308, 5e-324),
    *("0", "-1", "9" * 40, "1e9", "\uff11\uff12", "0x10"),
)
"""Sizes at which somebody's arithmetic ends: of registers, doubles, calendars, percentages."""


@dataclass(frozen=True, slots=True)
class Genuine:
    """What one platform says when it says nothing strange.

    Attributes:
        shots: every notification of its simulator, sealed.
        chapters: the same as chapters of a story: what each says, decoded, and the answers it asks for.
        words: what the platform's code compares with.
    """

    case: Case
    shots: tuple[Shot, ...]
    chapters: tuple[list[Any], ...]
    words: tuple[str, ...]

    def __repr__(self) -> str:
        """Name the platform: a failing example is about what was changed."""
        return self.case.platform.name


def genuine(platform: str, directory: Path) -> Genuine:
    """Make the trust of a platform in a directory, and everything that it says under it."""
    case = make(platform, directory / platform)
    shots = tuple(shots_by(case))
    chapters = tuple([unwrap(platform, shot), *_answers(case, shot)] for shot in shots)
    return Genuine(case, shots, chapters, words_of(platform))


def shots_by(case: Case) -> list[Shot]:
    """Say everything that the platform's simulator has a verb for, of a plan and of a level pack."""
    sales = [sale_of(case.platform.name, subscription=each) for each in (True, False)]
    said = [verb(sale, NOW) for verb in _verbs(case.simulator) for sale in sales]
    return [shot for shot in said if isinstance(shot, Shot)]


def _answers(case: Case, shot: Shot) -> list[Any]:
    return [ANSWERS.get(need.kind, ANSWERS["rvs"]) for need in case.platform.needs(case.read(shot))]


def _verbs(simulator: Simulator) -> Iterator[Callable[[Sale, float], Any]]:
    """List what takes a sale and a time, and nothing else that must be given."""
    for name, verb in inspect.getmembers(simulator, callable):
        if not name.startswith("_"):
            first, second, *rest = (*inspect.signature(verb).parameters.values(), None, None)
            wants = [each.name for each in (first, second) if each is not None]
            if wants == ["sale", "now"] and all(each is None or each.default is not each.empty for each in rest):
                yield verb


def words_of(platform: str) -> tuple[str, ...]:
    """List what a platform's own code compares with: its types, enums, and the names of fields."""
    found = set(_names(platform))
    for file in _files(platform):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) <= 60:
                found.add(node.value)
    return tuple(sorted(word for word in found if not re.search(r"\s", word)))


def _files(platform: str) -> Iterator[Path]:
    stems = {"google": ("google", "play", "rtdn", "pubsub"), "amazon": ("amazon", "receipts", "sns")}
    for stem in stems.get(platform, (platform,)):
        yield from sorted([*ROOT.glob(f"handlers/{stem}*.py"), *ROOT.glob(f"schemas/platforms/{stem}*.py")])


def _names(platform: str) -> Iterator[str]:
    """List the names under which the platform's models read their fields."""
    for file in ROOT.glob(f"schemas/platforms/{platform}*.py"):
        module = importlib.import_module(f"schemas.platforms.{file.stem}")
        for model in vars(module).values():
            if isinstance(model, type) and issubclass(model, BaseModel):
                yield from (field.alias or name for name, field in model.model_fields.items())
