"""Check everything that can be checked from here, and say what to do about what is wrong.

Each check is a function that yields findings; one that cannot even run is a finding, too, and stops no other.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import text

from config.check import warnings
from config.platforms import Google, Stripe
from config.problems import dotted
from config.settings import Settings
from worker import bootstrap, trust
from worker.audit import check_fold
from worker.broker import connect
from worker.clients.google_key import KeyFileError, read_service_account
from worker.doctor_rows import look_at_deliveries, look_at_feed, look_at_inbox
from worker.doctor_seals import Said, Verdict, look_at_seals
from worker.lookups import MAKERS
from worker.ownership import DISTRIBUTION, collisions, strays
from worker.runtime import Runtime
from worker.store.engine import StoreUnavailable
from worker.store.migrate import current, head, standing
from worker.valkey import ValkeyUnavailable, answers, find_server, socket_path, socket_url

CLOCK_SECONDS_MAX = 2.0
"""Signatures carry times with a tolerance of minutes; a clock that is two seconds off is on its way there."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found.

    Attributes:
        advice: what to do; empty where nothing needs to be done.
    """

    check: str
    verdict: Verdict
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at."""

    settings: Settings
    data_dir: Path
    runtime: Runtime


Check = Callable[[Patient], Iterator[Finding]]


def examine(settings: Settings, data_dir: Path, *, saying: Callable[[str], object] = str) -> list[Finding]:
    """Run every check.

    Args:
        settings: settled ones.
        data_dir: where an embedded broker would be.
        saying: is told the name of each check before it begins: some take long.
    """
    runtime = bootstrap.build(settings)
    patient = Patient(settings, data_dir, runtime)
    try:
        return [finding for name, check in CHECKS.items() for finding in _run(name, check, patient, saying)]
    finally:
        bootstrap.close(runtime)


def healthy(findings: list[Finding]) -> bool:
    """Tell whether nothing failed."""
    return all(finding.verdict != "failed" for finding in findings)


def _run(name: str, check: Check, patient: Patient, saying: Callable[[str], object]) -> Iterator[Finding]:
    saying(name)
    try:
        yield from check(patient)
    except StoreUnavailable as error:
        yield Finding(name, "failed", f"the database is away: {error}", "start it, or set store.url")
    except Exception as error:  # noqa: BLE001 - a check that cannot run is a finding
        yield Finding(name, "failed", f"{type(error).__name__}: {error}", "this is a mistake of ours: please report it")


def check_configuration(patient: Patient) -> Iterator[Finding]:
    """It was loaded; tell what is on, and what is hardly meant."""
    apps = patient.settings.apps
    on = [
        f"{name} ({', '.join(p for p in PLATFORMS if app.platform(p)) or 'nothing on'})" for name, app in apps.items()
    ]
    yield Finding("configuration", "ok", f"apps: {'; '.join(on) or 'none'}")
    for problem in warnings(patient.settings):
        yield Finding("configuration", "warning", f"{dotted(problem.path)} {problem.text}", "set it if it is meant")


def check_keys(patient: Patient) -> Iterator[Finding]:
    """Every key file that the configuration names can be read and is a key."""
    try:
        loaded = trust.load(patient.settings.apps)
    except trust.TrustError as error:
        yield Finding("keys", "failed", str(error), "give a readable file of the right kind")
        return
    yield Finding("keys", "ok", f"{sum(map(len, loaded.values()))} from files, beside the pinned ones")


def check_lookups(patient: Patient) -> Iterator[Finding]:
    """Tell which APIs are asked for what notifications leave out, and whether their credentials look like some.

    Nothing is asked here: whether a platform accepts them is in the log of the first look-up.
    """
    found = [
        _look_up(f"apps.{name}.{platform}", section)
        for name, app in patient.settings.apps.items()
        for platform in MAKERS
        if (section := app.platform(platform)) is not None
    ]
    yield from found or [Finding("lookups", "ok", "no platform is on that would have to be asked")]


def check_database(patient: Patient) -> Iterator[Finding]:
    """It answers, and its clock is ours."""
    with patient.runtime.store.read() as connection:
        dialect = connection.dialect.name
        before = patient.runtime.clock()
        theirs = float(connection.execute(text(_NOW[dialect])).scalar_one())
        yield Finding("database", "ok", f"{dialect} answers")
        yield _clock("database", theirs - (before + patient.runtime.clock()) / 2)
        if dialect == "postgresql":
            yield from _durability({name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in _SAFE})


def check_migrations(patient: Patient) -> Iterator[Finding]:
    """The tables are those that this code wants."""
    at, wanted, found = current(patient.runtime.store), head(), standing(patient.runtime.store)
    if found == "current":
        yield Finding("migrations", "ok", f"at {at}")
    elif found == "behind":
        yield Finding("migrations", "failed", f"at {at or 'nothing'}, wanted {wanted}", "run `clawback migrate`")
    else:
        verdict: Verdict = "warning" if found == "ahead" else "failed"
        yield Finding("migrations", verdict, f"at {at}, this version knows {wanted}", "update Clawback on this host")


def check_broker(patient: Patient) -> Iterator[Finding]:
    """It answers, throws nothing away, and its clock is ours; an embedded one can be started."""
    url = patient.settings.broker.url
    if url == socket_url(patient.data_dir) and not answers(socket_path(patient.data_dir)):
        yield from _startable()
        return
    client: Any = connect(url)
    try:
        about = client.info("server")
        name, version = about.get("server_name", "redis"), about.get("valkey_version", about["redis_version"])
        yield Finding("broker", "ok", f"{name} {version} answers")
        yield from _evictions(client)
        began = time.monotonic()
        seconds, microseconds = client.time()
        ours = patient.runtime.clock() - (time.monotonic() - began) / 2
        yield _clock("broker", seconds + microseconds / 1e6 - ours)
    except redis.RedisError as error:
        yield Finding("broker", "failed", f"does not answer: {type(error).__name__}", "start it, or set broker.url")
    finally:
        client.close()


def check_packages(_patient: Patient) -> Iterator[Finding]:
    """The four packages are ours alone, and are imported from one place."""
    shared, home = collisions(sys.path), Path(__file__).parent.parent
    for package, others in shared.items():
        yield Finding(
            "packages",
            "failed",
            f"{package!r} also belongs to {', '.join(others)}: one has overwritten the other",
            f"install {DISTRIBUTION} into an environment of its own (pipx install {DISTRIBUTION}, or the image)",
        )
    elsewhere = strays(home)
    for package, place in elsewhere.items():
        yield Finding("packages", "failed", f"{package!r} is imported from {place}", f"remove it, or reinstall {home}")
    if not shared and not elsewhere:
        yield Finding("packages", "ok", f"all four from {home}")


def check_ledger(patient: Patient) -> Iterator[Finding]:
    """What is stored equals what its entries say."""
    if current(patient.runtime.store) != head():
        yield Finding("ledger", "skipped", "the database needs a migration first")
        return
    audit = check_fold(patient.runtime)
    if audit.differing:
        first = ", ".join(audit.differing[:3])
        yield Finding(
            "ledger",
            "failed",
            f"{len(audit.differing)} of {audit.lineages} differ from their entries, the first: {first}",
            "after a change of products or policy: clawback rebuild; else report it, and rebuild",
        )
    else:
        yield Finding("ledger", "ok", f"{audit.lineages} stored views equal the fold of their entries")


def check_inbox(patient: Patient) -> Iterator[Finding]:
    """What came in adds up with what became of it."""
    yield from _rows("inbox", look_at_inbox, patient)


def check_feed(patient: Patient) -> Iterator[Finding]:
    """Every customer's events are numbered without a gap."""
    yield from _rows("feed", look_at_feed, patient)


def check_deliveries(patient: Patient) -> Iterator[Finding]:
    """What is told waits, arrived or failed as it says."""
    yield from _rows("deliveries", look_at_deliveries, patient)


def check_seals(patient: Patient) -> Iterator[Finding]:
    """Every secret that is sealed can be opened, and no key is kept for nothing."""
    yield from _rows("seals", look_at_seals, patient)


def _rows(name: str, look: Callable[[Runtime], Iterator[Said]], patient: Patient) -> Iterator[Finding]:
    """Look at rows, where they are those that this code knows."""
    if current(patient.runtime.store) != head():
        yield Finding(name, "skipped", "the database needs a migration first")
        return
    for verdict, detail, advice in look(patient.runtime):
        yield Finding(name, verdict, detail, advice)


PLATFORMS = ("apple", "google", "stripe", "amazon")

CHECKS: Mapping[str, Check] = {
    "configuration": check_configuration,
    "keys": check_keys,
    "lookups": check_lookups,
    "database": check_database,
    "migrations": check_migrations,
    "seals": check_seals,
    "broker": check_broker,
    "packages": check_packages,
    "ledger": check_ledger,
    "inbox": check_inbox,
    "feed": check_feed,
    "deliveries": check_deliveries,
}

_SAFE = ("fsync", "full_page_writes")

_NOW: Mapping[str, str] = {
    "sqlite": "select (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "select extract(epoch from clock_timestamp())",
}
"""How to ask a database for Unix seconds. Julian day 2440587.5 is 1970-01-01 (https://www.sqlite.org/lang_datefunc.html)."""


def _durability(said: Mapping[str, str]) -> Iterator[Finding]:
    """A commit of PostgreSQL outlives a power failure; our sessions set synchronous_commit by themselves."""
    off = [name for name, value in said.items() if value != "on"]
    if off:
        yield Finding(
            "database", "failed", f"{' and '.join(off)} off: a crash may lose what was answered 200", "turn it on"
        )


def _look_up(at: str, section: Any) -> Finding:
    """Look at the credentials of one app and platform."""
    if not section.looks_up:
        return Finding("lookups", "ok", f"{at}: off; notifications end as not_looked_up where it would have helped")
    if isinstance(section, Google):
        return _service_account(at, section)
    if isinstance(section, Stripe):
        return _api_key(at, section)
    if section.shared_secret != section.shared_secret.strip("/ "):  # public: with itself, by the operator
        return Finding("lookups", "failed", f"{at}.shared_secret has a slash or space at an end", "copy it anew")
    return Finding("lookups", "ok", f"{at}: on, with a shared secret")


def _service_account(at: str, google: Google) -> Finding:
    path = Path(google.service_account_key)
    try:
        account = read_service_account(path, api=google.api)
    except KeyFileError as error:
        advice = "give the JSON key of the service account that may read orders and subscriptions"
        return Finding("lookups", "failed", f"{at}.service_account_key: {path} {error}", advice)
    return Finding("lookups", "ok", f"{at}: on, as {account.email}")


def _api_key(at: str, stripe: Stripe) -> Finding:
    """Hold the key to its documented form (https://docs.stripe.com/keys): sk or rk, then its mode."""
    kind, _, rest = stripe.api_key.partition("_")
    mode = "live" if stripe.livemode else "test"
    if kind not in ("sk", "rk"):
        advice = "give a restricted key (rk_…) that may read invoices"
        return Finding("lookups", "failed", f"{at}.api_key is no secret or restricted key", advice)
    if not rest.startswith(f"{mode}_"):
        return Finding("lookups", "failed", f"{at}.api_key is not of {mode} mode", f"give the key of {mode} mode")
    return Finding("lookups", "ok", f"{at}: on, with {'a restricted' if kind == 'rk' else 'the secret'} key")


def _clock(whose: str, ahead_seconds: float) -> Finding:
    if abs(ahead_seconds) <= CLOCK_SECONDS_MAX:
        return Finding("clock", "ok", f"the {whose}'s is within {CLOCK_SECONDS_MAX:.0f} s of ours")
    direction = "ahead of" if ahead_seconds > 0 else "behind"
    return Finding(
        "clock", "failed", f"the {whose}'s is {abs(ahead_seconds):.1f} s {direction} ours", "run NTP on both"
    )


def _startable() -> Iterator[Finding]:
    try:
        yield Finding("broker", "ok", f"embedded and not running; `clawback run` starts {find_server()}")
    except ValkeyUnavailable as error:
        yield Finding("broker", "failed", str(error), "install a server, or set broker.url")


def _evictions(client: Any) -> Iterator[Finding]:
    try:
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "unknown")
    except redis.ResponseError:
        # Hosted servers often keep CONFIG to themselves, and say the policy in INFO.
        policy = client.info("memory").get("maxmemory_policy", "unknown")
    if policy == "noeviction":
        yield Finding("broker", "ok", "throws nothing away (noeviction)")
    elif policy == "unknown":
        yield Finding("broker", "warning", "does not tell its maxmemory-policy", "make sure that it is noeviction")
    else:
        yield Finding("broker", "failed", f"maxmemory-policy is {policy}: it may drop hints", "set it to noeviction")
