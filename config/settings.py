"""The whole configuration as one frozen value. `config/load.py` reads it from a file and the environment."""

from typing import Literal

from pydantic import Field, PrivateAttr

from config.platforms import Amazon, Apple, Google, Stripe
from config.policy import Policy
from config.products import Product
from config.section import Section


class Server(Section):
    """Where the endpoint listens, and what it bears."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    admin_port: int = Field(default=0, ge=0, le=65535)
    """0: API and metrics on the same port; else on their own."""
    trusted_proxies: tuple[str, ...] = (
        *("127.0.0.0/8", "::1/128"),
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    )
    """Networks of our proxies: the address that one of them adds to X-Forwarded-For is believed. Where requests come
    from matters to the audit log and to the limit on failed authentication, and to nothing else."""
    body_timeout_seconds: float = Field(default=10.0, gt=0)
    """How long a platform may take to send its body."""
    streams_max: int = Field(default=5000, ge=0, le=100_000)
    """How many may listen to `/v1/events/stream` at a time, in each process; who comes then is told to come back."""
    stream_heartbeat_seconds: float = Field(default=15.0, gt=0, le=300)
    """How often something is said to those who listen while nothing happens: proxies hang up on silence."""
    stream_stall_seconds: float = Field(default=20.0, gt=0, le=300)
    """Whoever listens and takes nothing for so long is hung up on."""


class Door(Section):
    """What each `serve` process bears of what platforms send; more is refused with 503, and comes again."""

    wait_seconds: float = Field(default=2.0, ge=0.1, le=10)
    """How long a notification may be expected to wait for its answer; platforms hang up after some ten seconds."""
    waiting_max: int = Field(default=2000, ge=256, le=2000)
    """How many may wait at a time, however fast they are committed."""
    megabytes_max: float = Field(default=64.0, ge=4)
    """How much may be held of bodies at a time."""
    inbox_age_seconds: float = Field(default=900.0, ge=0)
    """When what waits in the inbox is old: a storm that the workers cannot follow is slowed down then. 0: never."""
    inbox_pending_min: int = Field(default=10_000, ge=100)
    """Fewer that wait are no storm, however old they are."""


class Store(Section):
    """Where the truth is kept."""

    url: str = Field(default="sqlite:///clawback-data/clawback.db", repr=False)
    """`sqlite:///file`, or `postgresql://user@host/database`; it may hold a password, so nothing shows it."""
    connections: int = Field(default=12, ge=1, le=500)
    """How many each process may have open to PostgreSQL; SQLite needs no such bound."""
    connect_timeout_seconds: float = Field(default=5.0, ge=1, le=60)
    """How long a connection to PostgreSQL may take to open."""
    wait_timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    """How long to wait for a free connection, or for whoever has locked what is needed."""
    statement_timeout_seconds: float = Field(default=30.0, ge=1, le=600)
    """How long PostgreSQL may work at one statement. Migrations may take longer."""
    keep_events_days: int = Field(default=0, ge=0, le=36_500)
    """How long events stay in the feed; 0: for ever. What a pending delivery needs stays anyway."""
    keep_deliveries_days: int = Field(default=90, ge=0, le=36_500)
    """How long deliveries that are finished are kept, with their attempts; 0: as long as their events."""
    keep_notifications_days: int = Field(default=0, ge=0, le=36_500)
    """How long notifications stay that are processed or ignored; 0: for ever. What needs a person stays anyway."""
    keep_answers_hours: int = Field(default=24, ge=1, le=8_760)
    """How long the first answer to an Idempotency-Key is given again."""
    encryption_keys: tuple[str, ...] = Field(default=(), repr=False)
    """For what platforms posted, and the secrets of the API's subscribers: the first seals, all of them open."""


class Broker(Section):
    """Where the hints are queued."""

    url: str = "embedded"
    """`embedded`, or redis://, rediss://, unix://, redis+sentinel://."""
    namespace: str = "clawback"
    """Prefix of every key, so that a server can be shared."""


class Admin(Section):
    """Who may ask."""

    tokens: tuple[str, ...] = Field(default=(), repr=False)
    """Bearer tokens for /v1, with every scope. Those that are made while it runs are in the store."""
    metrics_token: str = Field(default="", repr=False)
    """Asked for by /metrics and /readyz when set."""


class Traces(Section):
    """Who is told of each notification's way, as OpenTelemetry traces. Standard variables (OTEL_…) say all else."""

    endpoint: str = Field(default="", repr=False)
    """Base address of a collector that takes OTLP over HTTP: `http://collector:4318`. Empty: nobody, unless a variable
    `OTEL_EXPORTER_OTLP_ENDPOINT` names one."""


class Subscribing(Section):
    """What the API's subscribers may ask for."""

    allow_private: bool = False
    """They may be at private, loopback and link-local addresses, and without TLS."""
    max_per_app: int = Field(default=100, ge=0, le=10_000)
    """So many there may be of an app; each costs something with every event of it. 0: the API makes none."""


class Subscriber(Section):
    """An app backend that is told."""

    app: str
    url: str
    secrets: tuple[str, ...] = Field(default=(), repr=False)
    """Standard Webhooks secrets: `whsec_` signs as v1, `whsk_` as v1a; all sign while rotating."""
    types: tuple[str, ...] = ("*",)
    environment: Literal["", "production", "sandbox"] = ""
    """Empty: both."""
    order: Literal["per_customer", "none"] = "per_customer"
    rate_per_second: float = Field(default=0.0, ge=0, le=1000)
    """0: no limit."""
    timeout_seconds: float = Field(default=15.0, gt=0, le=60)
    allow_private: bool = False
    """Deliver to private, loopback and link-local addresses too, and without TLS."""


class Work(Section):
    """How the workers share the load."""

    processes: int = Field(default=1, ge=1, le=64)
    threads: int = Field(default=32, ge=1, le=64)
    """How many messages a process takes at a time. Nearly all of them wait, to be worked on together."""
    sets: int = Field(default=3, ge=1, le=64)
    """How many sets of notifications a process works on at a time: one computes while others wait for the store."""
    set_size: int = Field(default=128, ge=1, le=5000)
    """How many notifications are worked on together, at most, and take effect in one transaction."""
    sweep_after_seconds: float = Field(default=10.0, gt=0)
    """An accepted notification that nobody finished for this long is put on the queue again."""
    max_attempts: int = Field(default=8, ge=1)
    """A notification that failed so often is dead: kept, visible, replayable."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Where `clawback work` answers `/metrics`, `/healthz` and `/readyz`, at the host of [server]; 0: nowhere."""


class Lookups(Section):
    """How the platforms' APIs are asked for what their notifications leave out. Bounds are per worker process."""

    timeout_seconds: float = Field(default=10.0, gt=0, le=60)
    """For one look-up, from the first connection to the last byte."""
    wait_seconds: float = Field(default=2.0, ge=0, le=30)
    """How long notifications wait for their answers before what is known takes effect without them."""
    concurrency: int = Field(default=8, ge=1, le=64)
    """Per app and platform, at a time."""
    per_second: float = Field(default=10.0, gt=0, le=1000)
    """Per app and platform."""
    cache_seconds: float = Field(default=300.0, ge=0, le=86_400)
    """How long an answer is remembered. It is given only to notifications that came before it was asked for."""
    retry_after_seconds: float = Field(default=10.0, gt=0, le=3600)
    """Before an answer that is missing is asked for again; doubled each time, up to an hour."""
    max_attempts: int = Field(default=12, ge=1, le=100)
    """A notification whose answers did not come in so many attempts ends without them."""


class App(Section):
    """One app: what proves its platforms, what it sells, and its rules."""

    apple: Apple | None = None
    google: Google | None = None
    stripe: Stripe | None = None
    amazon: Amazon | None = None
    products: dict[str, Product] = Field(default_factory=dict)
    policy: Policy = Policy()

    def platform(self, name: str) -> Apple | Google | Stripe | Amazon | None:
        """Give the section of a platform that is on; None: absent, unknown, or without its secret."""
        section = {"apple": self.apple, "google": self.google, "stripe": self.stripe, "amazon": self.amazon}.get(name)
        return section if section is not None and section.enabled else None


class Settings(Section):
    """Everything an operator can choose."""

    server: Server = Server()
    door: Door = Door()
    store: Store = Store()
    broker: Broker = Broker()
    admin: Admin = Admin()
    work: Work = Work()
    lookups: Lookups = Lookups()
    traces: Traces = Traces()
    apps: dict[str, App] = Field(default_factory=dict)
    subscribing: Subscribing = Subscribing()
    subscribers: tuple[Subscriber, ...] = ()
    _file: str | None = PrivateAttr(default=None)

    @property
    def place(self) -> str:
        """Say where it was read from, for whoever has to change something there."""
        return self._file or "the environment (CLAWBACK_…)"

    def read_from(self, file: str) -> "Settings":
        """Remember the file."""
        self._file = file
        return self
