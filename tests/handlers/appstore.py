"""One app on the Appstore, for tests: genuinely signed by the simulator, with no network and no clock.

An annual plan bought by Ines is cancelled after nine months.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography import x509

from config.platforms import Amazon
from handlers.amazon import PLATFORM
from schemas.meaning import Lookup
from schemas.platforms.amazon import AmazonPayload
from schemas.received import Keys, KeyWanted, Received
from worker.simulator.amazon import AmazonSimulator, create
from worker.simulator.sale import Sale, Shot

NOW = 1_795_000_000.0
NOW_MS = 1_795_000_000_000
RECEIPT = "q1YqVbJSSkxLSs5IMlHSUbIyNDUwtDQzNTQ0NLU0MDQ:/+=2:3:11"
USER = "l3HL7XppEMhrOGDnur9-ulvqomrSg6qyODKmah76lJU="

ANNUAL_PLAN = Sale(
    user_id=USER,
    product_id="com.acme.pro.annual",
    purchase_id=RECEIPT,
    original_purchase_id=RECEIPT,
    amount=4999,
    currency="usd",
    purchased_at_ms=NOW_MS - 9 * 30 * 86_400_000,
    expires_at_ms=NOW_MS + 3 * 30 * 86_400_000,
)


class Appstore:
    """One app's trust: who signs, what the operator configured, and which keys are at hand."""

    def __init__(self, directory: Path) -> None:
        self.settings = Amazon.model_validate(create(directory, app="acme", public_url="https://hooks.acme.example"))
        self.simulator = AmazonSimulator(directory, self.settings)
        self.keys: Keys = {
            url: x509.load_pem_x509_certificate(path.read_bytes()) for url, path in self.settings.certificates.items()
        }

    def verify(self, shot: Shot, *, now: float = NOW, **changed: Any) -> AmazonPayload | KeyWanted:
        """Verify a shot under these settings, or under settings that differ in `changed`."""
        settings = self.settings.model_copy(update=changed)
        received = Received(app="acme", body=shot.body, headers=shot.headers)
        answer: AmazonPayload | KeyWanted = PLATFORM.verify(received, settings=settings, keys=self.keys, now=now)
        return answer

    def meaning(self, shot: Shot, facts: Mapping[Lookup, Any] | None = None) -> Any:
        """Verify a shot and say what it means."""
        return PLATFORM.normalize(self.verify(shot), facts or {}, settings=self.settings)

    def rtn(self, word: str, **more: Any) -> Shot:
        """Make a genuine notification of a type about the annual plan, from production unless `more` says else."""
        return self.simulator.notification(word, ANNUAL_PLAN, NOW, **{"betaProductTransaction": False, **more})


def edited(shot: Shot, **changed: Any) -> Shot:
    """Change fields of the envelope and leave the signature as it was."""
    return Shot(shot.type, json.dumps({**json.loads(shot.body), **changed}).encode(), shot.headers)
