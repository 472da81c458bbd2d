"""Two apps with everything that they trust, and the desk at which somebody forges: what he can get hold of is here.

Both apps listen to the same Apple root, the same Google keys and the same SNS certificate, as all apps of the world
do: what tells them apart is what each message names.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from config.platforms import Apple
from config.settings import Admin, App, Server, Settings
from tests.forgeries.case import Post, post_of
from tests.handlers import apple_chains as chains
from tests.handlers.platform_cases import Case, make, sale_of
from worker.fetch import Fetched
from worker.simulator import amazon, google
from worker.simulator.sale import Shot

NOW = float(chains.SIGNED_AT)
APP, OTHER_APP = "acme", "globex"
OTHER_SECRET = "whsec_the_annual_plans_of_globex"
OTHER_AUDIENCE = "https://hooks.globex.example/webhooks/google/globex"
OTHER_TOPIC = "arn:aws:sns:us-east-1:033616359524:globex"
OTHER_CERTIFICATE = f"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-{'0' * 32}.pem"
"""Where SNS keeps the certificate of another year: a good address, and nobody has it yet."""
TOKEN = "the-token-of-the-operators-of-acme"
_JSON = (("Content-Type", "application/json"),)
MONTH_SECONDS = 30 * 86_400


def door(platform: str, app: str = APP) -> str:
    """Give the address at which a platform's notifications for an app come in."""
    return f"/webhooks/{platform}/{app}"


@dataclass(slots=True)
class Shelf:
    """A network with nothing on it but what is put there. Whatever is asked for is remembered."""

    holds: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, url: str) -> Fetched:
        """Fetch: 404 where nothing is."""
        self.asked.append(url)
        return Fetched(200, self.holds[url]) if url in self.holds else Fetched(404)


class Desk:
    """What the platforms sign with, what a stranger has instead, and the configuration that is to be deceived."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.cases: dict[str, Case] = {name: make(name, directory / name) for name in ("google", "stripe", "amazon")}
        self._root = directory / "root.pem"
        self._root.write_bytes(chains.good().root.public_bytes(Encoding.PEM))

    def genuine(self, platform: str) -> Post:
        """Make a genuine request: the refund of a plan, under an id of its own."""
        if platform == "apple":
            return Post(door("apple"), chains.body(chains.good().sign(chains.refund())), _JSON)
        return post_of(self.shot(platform), door(platform))

    def shot(self, platform: str) -> Shot:
        """Say that a plan was refunded, as a platform's simulator does."""
        case = self.cases[platform]
        shot = case.simulator.refund(sale_of(platform, subscription=True), NOW)
        return case.simulator.reseal(shot, NOW)

    def simulated(self, platform: str, forgery: str) -> Post:
        """Forge as the simulator does, under the name that it has there."""
        forged = dict(self.cases[platform].simulator.forge(self.shot(platform), NOW))
        return post_of(forged[forgery], door(platform))

    @cached_property
    def google_key(self) -> rsa.RSAPrivateKey:
        """Sign as Google does."""
        return _rsa(self._directory / "google" / google.KEY_FILE)

    @cached_property
    def google_key_id(self) -> str:
        """Name Google's key."""
        return google.key_id(self.google_key.public_key())

    @cached_property
    def sns_key(self) -> rsa.RSAPrivateKey:
        """Sign as SNS does."""
        return _rsa(self._directory / "amazon" / "amazon-sns-key.pem")

    @cached_property
    def stranger_key(self) -> rsa.RSAPrivateKey:
        """Sign as somebody else does."""
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def sns_key_of_another_year(self) -> rsa.RSAPrivateKey:
        """Sign as SNS did before, with a key that it still shows."""
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def network(self) -> Shelf:
        """Serve what Amazon serves: beside the certificate that the apps were given, the one of another year."""
        return Shelf({OTHER_CERTIFICATE: amazon.certify(self.sns_key_of_another_year).public_bytes(Encoding.PEM)})

    @property
    def settings(self) -> Settings:
        """Configure both apps."""
        return Settings(
            server=Server(body_timeout_seconds=0.3),
            admin=Admin(tokens=(TOKEN,)),
            apps={APP: self._app(), OTHER_APP: self._other_app()},
        )

    def _app(self) -> App:
        apple = Apple(
            bundle_id=chains.BUNDLE_ID,
            app_apple_id=chains.APP_APPLE_ID,
            environments=("Production",),
            root_certificates=(self._root,),
            max_age_seconds=MONTH_SECONDS,
        )
        return App(apple=apple, **{name: case.settings for name, case in self.cases.items()})

    def _other_app(self) -> App:
        """Configure an app that differs in nothing but names, and in Stripe's secret."""
        mine = self._app()
        differences: dict[str, dict[str, Any]] = {
            "apple": {"bundle_id": "com.globex.app", "app_apple_id": 987654321},
            "google": {
                "package_name": "com.globex.app",
                "audience": OTHER_AUDIENCE,
                "subscriptions": ("projects/globex-demo/subscriptions/play-rtdn",),
            },
            "stripe": {"webhook_secrets": (OTHER_SECRET,)},
            "amazon": {"topic_arns": (OTHER_TOPIC,), "package_name": "com.globex.app"},
        }
        sections: dict[str, Any] = {name: mine.platform(name) for name in differences}
        return App(**{name: section.model_copy(update=differences[name]) for name, section in sections.items()})


def _rsa(path: Path) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key
