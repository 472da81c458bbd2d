"""What a notification can be refused for: one tree, each with the HTTP status it suggests.

The hint lets this layer say what it thinks without knowing an HTTP server; `worker/web/ingest.py` is the one
place that turns it into an answer. A status matters: Pub/Sub and Apple retry what is not 2xx, Amazon never
retries a 4xx, so what may pass is refused with a 503 or not from here.
"""


class Rejected(Exception):
    """The notification is refused. `reason` is a snake_case name, safe to log and to answer with."""

    status_hint = 400
    outcome = "malformed"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Malformed(Rejected):
    """The bytes are not what this platform sends, whoever sent them."""


class Unauthentic(Rejected):
    """Nothing proves that the platform sent this: signature, chain, age or issuer is wrong."""

    status_hint = 401
    outcome = "unauthentic"


class TooSoon(Rejected):
    """The platform signed this, for a moment that our clock has not come to: one of two clocks is wrong, maybe ours.

    Raised of nothing that is not proved, and only where a 4xx would be the end of it: whoever is told to come again
    has said something genuine.
    """

    status_hint = 503
    outcome = "unavailable"


class WrongApp(Rejected):
    """The platform sent this, for another app, environment or topic than the one this endpoint serves."""

    status_hint = 403
    outcome = "wrong_app"
