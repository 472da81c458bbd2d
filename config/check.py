"""The rules that join several keys, or look into a value: what types alone cannot refuse."""

import base64
import re
from collections.abc import Iterator
from ipaddress import ip_network
from urllib.parse import parse_qs, urlsplit

from config import addresses
from config.platforms import Amazon, Apple, Google
from config.problems import Problem
from config.settings import App, Settings, Store, Subscriber

APP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""An app's name is a segment of its webhook address."""
TOPIC_ARN = re.compile(r"arn:aws(-[a-z]+)*:sns:[a-z]{2}(-[a-z]+)+-\d+:\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
"""https://docs.aws.amazon.com/sns/latest/dg/sns-create-topic.html"""
SUBSCRIPTION = re.compile(r"projects/[^/\s]+/subscriptions/[^/\s]+")
"""https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions"""
ENCRYPTION_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
"""https://github.com/fernet/spec/blob/master/Spec.md: 32 bytes."""
SECRET_PREFIXES = ("whsec_", "whsk_")
SECRET_BYTES_MIN = 24
"""Standard Webhooks asks for 24 to 64 random bytes: https://github.com/standard-webhooks/standard-webhooks"""
PRIVATE_KEY_BYTES = (32, 64)
TYPE_PATTERN = re.compile(r"\*|[a-z_]+\.(\*|[a-z_]+)")
BROKER_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel")
STORE_SCHEMES = ("sqlite", "postgresql")
TOKEN_CHARACTERS_MIN = 16
NOTIFICATION_DAYS_MIN = 30
"""Stripe sends events of the last 30 days again on demand: https://docs.stripe.com/cli/events/resend"""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def problems(settings: Settings) -> Iterator[Problem]:
    """Find what makes a well-typed configuration unusable."""
    yield from _server(settings)
    yield from _encryption_keys(settings.store)
    yield from _retention(settings.store)
    yield from _tokens(settings)
    yield from _traces(settings.traces.endpoint)
    for name, app in settings.apps.items():
        yield from _app(name, app)
    for index, subscriber in enumerate(settings.subscribers):
        yield from _subscriber(index, subscriber, settings)
        same = [(one.app, one.url) for one in settings.subscribers].index((subscriber.app, subscriber.url))
        if same < index:
            yield Problem(("subscribers", str(index)), f"has the app and url of subscribers[{same}]: make them one")


def warnings(settings: Settings) -> Iterator[Problem]:
    """Find what is allowed and yet hardly meant: for `clawback doctor` and the start of `clawback run`."""
    if not settings.apps:
        yield Problem(("apps",), "is empty: every webhook is answered 404")
    if not settings.admin.tokens:
        yield Problem(("admin", "tokens"), "is empty: the API answers only tokens of `clawback token new`")
    for index, token in enumerate(settings.admin.tokens):
        if len(token) < TOKEN_CHARACTERS_MIN:
            yield Problem(("admin", "tokens", str(index)), f"is shorter than {TOKEN_CHARACTERS_MIN} characters")
    for name, app in settings.apps.items():
        for platform in ("apple", "google", "stripe", "amazon"):
            if getattr(app, platform) is not None and app.platform(platform) is None:
                yield Problem(
                    ("apps", name, platform), "is there without what proves its sender: it is off and answers 404"
                )
        if not app.products:
            yield Problem(("apps", name, "products"), "is empty: no purchase of this app gives any entitlement")


def _server(settings: Settings) -> Iterator[Problem]:
    server = settings.server
    if server.admin_port and server.admin_port == server.port:
        yield Problem(("server", "admin_port"), "is the port itself; 0 puts both on one")
    for index, network in enumerate(server.trusted_proxies):
        if not _is_network(network):
            yield Problem(("server", "trusted_proxies", str(index)), "is no network: 10.0.0.0/8, 2001:db8::/32")
    scheme = urlsplit(settings.broker.url).scheme
    if settings.broker.url != "embedded" and scheme not in BROKER_SCHEMES:
        yield Problem(("broker", "url"), f"is neither embedded nor one of {_schemes(BROKER_SCHEMES)}")
    yield from _store(settings.store.url)


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _retention(store: Store) -> Iterator[Problem]:
    """Platforms repeat themselves for days, and can be asked to for weeks: as long they must be known again."""
    if 0 < store.keep_notifications_days < NOTIFICATION_DAYS_MIN:
        text = f"is less than {NOTIFICATION_DAYS_MIN}: repetitions would be taken for news; 0 keeps them for ever"
        yield Problem(("store", "keep_notifications_days"), text)


def _store(url: str) -> Iterator[Problem]:
    """Find what is wrong with the store's address, without ever quoting it: it may hold a password."""
    at = ("store", "url")
    try:
        parsed = urlsplit(url)
        parsed.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        yield Problem(at, "is no address: in a password, write @ / : ? # and % as %40 %2F %3A %3F %23 and %25")
        return
    if parsed.scheme not in STORE_SCHEMES:
        yield Problem(at, f"is none of {_schemes(STORE_SCHEMES)}")
    elif url in {"sqlite://", "sqlite:///", "sqlite:///:memory:"}:
        yield Problem(at, "names no file, and a database in memory keeps nothing and shares nothing")
    elif parsed.scheme == "postgresql" and not parsed.path.strip("/"):
        yield Problem(at, "names no database: postgresql://user@host/database")
    elif parsed.scheme == "postgresql" and "password" in parse_qs(parsed.query):
        yield Problem(at, "has a password after the ?: put it before the @, or in PGPASSWORD or PGPASSFILE")


def _encryption_keys(store: Store) -> Iterator[Problem]:
    for index, key in enumerate(store.encryption_keys):
        if not ENCRYPTION_KEY.fullmatch(key):
            yield Problem(
                ("store", "encryption_keys", str(index)), "is no Fernet key: 32 bytes as URL-safe base64, 44 characters"
            )


def _tokens(settings: Settings) -> Iterator[Problem]:
    for index, token in enumerate(settings.admin.tokens):
        if not token:
            yield Problem(("admin", "tokens", str(index)), "is empty, and an empty token would let everybody in")


def _traces(endpoint: str) -> Iterator[Problem]:
    """Find what is wrong with a collector's address, without quoting it: it may hold a password."""
    try:
        parsed = urlsplit(endpoint)
        fits = parsed.scheme in ("http", "https") and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        fits = False
    if endpoint and (not fits or parsed.query or parsed.fragment):
        yield Problem(("traces", "endpoint"), "is no address of a collector: http://collector:4318")


def _app(name: str, app: App) -> Iterator[Problem]:
    at = ("apps", name)
    if not APP_NAME.fullmatch(name):
        yield Problem(at, "is no name for an app: letters, digits, dot, dash and underscore, at most 64")
    if app.apple is not None:
        yield from _apple((*at, "apple"), app.apple)
    if app.google is not None:
        yield from _google((*at, "google"), app.google)
    if app.amazon is not None:
        yield from _amazon((*at, "amazon"), app.amazon)
    for platform, section in (("google", app.google), ("stripe", app.stripe), ("amazon", app.amazon)):
        if section is not None and not _keeps_secrets(section.api):
            yield Problem(
                (*at, platform, "api"), "is not https://, and credentials go there (http:// only to this machine)"
            )


def _apple(at: tuple[str, ...], apple: Apple) -> Iterator[Problem]:
    if apple.enabled and "Production" in apple.environments and not apple.app_apple_id:
        yield Problem(
            (*at, "app_apple_id"),
            'is 0, and production notifications are checked against it; set it, or environments = ["Sandbox"]',
        )


def _google(at: tuple[str, ...], google: Google) -> Iterator[Problem]:
    for index, name in enumerate(google.subscriptions):
        if not SUBSCRIPTION.fullmatch(name):
            yield Problem((*at, "subscriptions", str(index)), "is not projects/…/subscriptions/…")


def _amazon(at: tuple[str, ...], amazon: Amazon) -> Iterator[Problem]:
    for index, arn in enumerate(amazon.topic_arns):
        if arn and not TOPIC_ARN.fullmatch(arn):
            yield Problem((*at, "topic_arns", str(index)), "is not arn:aws:sns:REGION:12-DIGIT-ACCOUNT:TOPIC")


def _keeps_secrets(address: str) -> bool:
    """Tell whether what is sent to a base address stays between us and whoever answers there."""
    try:
        parsed = urlsplit(address)
        host = parsed.hostname or ""
        plain = host in LOOPBACK and parsed.port != 0
    except ValueError:
        return False
    bare = not (parsed.query or parsed.fragment or parsed.username or parsed.password)
    return bare and bool(host) and (parsed.scheme == "https" or (parsed.scheme == "http" and plain))


def _subscriber(index: int, subscriber: Subscriber, settings: Settings) -> Iterator[Problem]:
    at = ("subscribers", str(index))
    if subscriber.app not in settings.apps:
        apps = ", ".join(settings.apps) or "none"
        yield Problem((*at, "app"), f"names {subscriber.app!r}, which is not an app here (there: {apps})")
    if wrong := addresses.mistake(subscriber.url, allow_private=subscriber.allow_private):
        yield Problem((*at, "url"), wrong)
    for number, pattern in enumerate(subscriber.types):
        if not TYPE_PATTERN.fullmatch(pattern):
            yield Problem(
                (*at, "types", str(number)), 'is none of a type ("refund.failed"), a family ("refund.*"), "*"'
            )
    if not subscriber.secrets:
        yield Problem((*at, "secrets"), "is empty, and what is sent is always signed")
    for number, secret in enumerate(subscriber.secrets):
        if wrong := secret_mistake(secret):
            yield Problem((*at, "secrets", str(number)), wrong)


def secret_mistake(secret: str) -> str | None:
    """Say what keeps a text from being a secret of Standard Webhooks, without quoting it; None: it is one."""
    prefix = next((prefix for prefix in SECRET_PREFIXES if secret.startswith(prefix)), None)
    if prefix is None:
        return f"does not start with {' or '.join(SECRET_PREFIXES)}"
    try:
        size = len(base64.b64decode(secret.removeprefix(prefix), validate=True))
    except ValueError:
        return f"is not base64 after {prefix}"
    if prefix == "whsk_":
        return (
            None if size in PRIVATE_KEY_BYTES else f"holds {size} bytes; an ed25519 key has 32, or 64 with its public"
        )
    return None if size >= SECRET_BYTES_MIN else f"holds {size} bytes; at least {SECRET_BYTES_MIN} are needed"


def _schemes(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name}://" for name in names)
