"""Measure what one notification costs around ledger and store: reading, meaning, tying, writing down, reporting.

    .venv/bin/python -m tests.benchmarks.understand [WORD …]

Real: bodies of the simulators (Stripe's with the decoration that real ones have), configuration, log
lines (rendered, thrown away), metrics. Left out: broker, HTTP, verification, database, decision. Figures are
microseconds of this thread's processor for one notification, the least of many short runs: on a shared machine that is
what comes closest to the code's own cost. A WORD limits it to cases whose names have it. Set
PROMETHEUS_MULTIPROC_DIR to see metrics that processes share.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from config.load import load
from config.logs import configure_logs
from handlers.platforms import PLATFORMS
from tests.benchmarks.process import CASES, Case
from tests.worker.house import ListQueue
from worker.conclude import Decided, outcome, report, tie
from worker.demo.trust import APP, LIFETIME_PRODUCT, PRODUCT, demo_directory, prepare
from worker.metrics import Metrics
from worker.runtime import Runtime
from worker.simulator.registry import SPEAKERS
from worker.simulator.sales import Till
from worker.store.engine import Store
from worker.store.inbox import Stored
from worker.understand import understand
from worker.work import spare_collector

SET, ROUNDS = 64, 60
STATIONS = {"verified": 0.412}
DECORATION = {
    "billing_details": {
        "address": {"city": "Berlin", "country": "DE", "line1": None, "postal_code": "10115", "state": None},
        "email": "jenny.rosen@example.com", "name": "Jenny Rosen", "phone": None, "tax_id": None,
    },
    "outcome": {
        "advice_code": None, "network_advice_code": None, "network_decline_code": None, "reason": None,
        "network_status": "approved_by_network", "risk_level": "normal", "risk_score": 12, "type": "authorized",
        "seller_message": "Payment complete.",
    },
    "payment_method_details": {
        "type": "card",
        "card": {
            "amount_authorized": 999, "authorization_code": None, "brand": "visa", "country": "US", "exp_month": 4,
            "checks": {"address_line1_check": None, "address_postal_code_check": "pass", "cvc_check": "pass"},
            "exp_year": 2030, "extended_authorization": {"status": "disabled"}, "fingerprint": "Xt5EWLLDS7FJjR1c",
            "funding": "credit", "incremental_authorization": {"status": "unavailable"}, "installments": None,
            "last4": "4242", "mandate": None, "multicapture": {"status": "unavailable"}, "network": "visa",
            "network_token": {"used": False}, "network_transaction_id": "104557651805572", "wallet": None,
            "overcapture": {"maximum_amount_capturable": 999, "status": "unavailable"}, "three_d_secure": None,
        },
    },
    "receipt_url": "https://pay.stripe.com/receipts/payment/" + "CAcQARoXChVhY2N0XzFNbWxMcExrZEl3SHU3aXg" * 3,
    **dict.fromkeys((
        "application", "application_fee", "application_fee_amount", "description", "destination", "failure_code",
        "failure_balance_transaction", "failure_message", "on_behalf_of", "order", "receipt_email", "review",
        "shipping", "source", "source_transfer", "statement_descriptor", "statement_descriptor_suffix", "transfer_data",
        "transfer_group",
    )),
}  # fmt: skip


def decorated(body: bytes) -> bytes:
    """Write a Stripe event as Stripe does: indented, and with all that nobody reads."""
    event = json.loads(body)
    event["data"]["object"] = {**DECORATION, **event["data"]["object"]}
    return json.dumps(event, indent=2).encode()


def rows_of(runtime: Runtime, directory: Path, case: Case) -> list[Stored]:
    """Store the last word of a case, for as many customers as a set has."""
    platform, now = PLATFORMS[case.platform], time.time()
    section = runtime.settings.apps[APP].platform(case.platform)
    simulator, found = SPEAKERS[case.platform].simulator(demo_directory(directory), section), []
    for number in range(SET):
        till = Till(case.platform, Random(number), product_id=PRODUCT, lifetime_product_id=LIFETIME_PRODUCT)
        body = case.says[-1](simulator, till, now).body
        body = decorated(body) if case.platform == "stripe" else body
        named = platform.identify(platform.read(body, {}))
        received_ms = int(now * 1000)
        found.append(
            Stored(f"ntf_{number}", APP, case.platform, named.id, named.type, body, {}, received_ms, 0, STATIONS)
        )
    return found


def least(work: Callable[[], Any]) -> tuple[float, Any]:
    """Give the microseconds that work takes for each of a set, and what it returned."""
    best, result = float("inf"), None
    for _ in range(ROUNDS):
        began = time.thread_time()
        result = work()
        best = min(best, time.thread_time() - began)
    return best / SET * 1e6, result


def measure(runtime: Runtime, rows: Sequence[Stored]) -> list[float]:
    """Time each station on what the one before it made."""
    platform, now = PLATFORMS[rows[0].platform], time.time()
    recalling, _ = least(lambda: [platform.recall(row.body, row.headers) for row in rows])
    understanding, understood = least(lambda: understand(runtime, rows))
    tying, tied = least(lambda: [tie(each, ()) for each in understood])
    decided = [Decided(each, each.verdict) for each in tied]
    writing_down, _ = least(lambda: [outcome(runtime, each, now) for each in decided])
    reporting, _ = least(lambda: report(runtime, decided))
    return [recalling, understanding, tying, writing_down, reporting]


def main(words: Sequence[str]) -> None:
    """Print one table: the stations' cost for each case, and their sum."""
    with tempfile.TemporaryDirectory(prefix="clawback-bench-") as name, Path(os.devnull).open("w") as nowhere:
        directory = Path(name)
        configure_logs(nowhere, as_json=True)
        settings, store = load(prepare(directory, any_port=True), {}), Store(f"sqlite:///{name}/unused.db")
        runtime = Runtime(settings, store, ListQueue(), Metrics(CollectorRegistry()), time.time)
        spare_collector()
        heads = ("bytes", "recall", "understand", "tie", "outcome", "report", "sum")
        print(f"{'microseconds of one':<28}" + "".join(f"{head:>11}" for head in heads))  # noqa: T201 - it is a report
        for case in CASES:
            if all(word.lower() in case.name.lower() for word in words):
                rows = rows_of(runtime, directory, case)
                took = measure(runtime, rows)
                figures = "".join(f"{figure:>11.1f}" for figure in (*took, sum(took[1:])))  # understanding recalls
                print(f"{case.name:<28}{len(rows[0].body):>11}{figures}", flush=True)  # noqa: T201 - it is a report
        store.close()


if __name__ == "__main__":
    main(sys.argv[1:])
