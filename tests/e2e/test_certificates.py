"""A subscriber's certificate has to fit, whoever vouches for it: an operator can trust an authority, and no more.

Real: the service with every process, its TLS, an authority and certificates made just now. Double: nothing.
"""

import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from tests.e2e.running import Installation, install, till, until
from tests.worker.authority import ELSEWHERE, LOOPBACK, Authority
from tests.worker.backend import Backend
from worker.store.tables import attempts, deliveries, subscribers

pytestmark = pytest.mark.e2e


def outcomes(draft: Installation) -> dict[str, tuple[str, set[Any], set[Any]]]:
    """Read what the store has: URL → how the delivery stands, the errors and the statuses of its attempts."""
    store = draft.store()
    rows = select(subscribers.c.url, deliveries.c.status, attempts.c.error, attempts.c.status_code)
    joined = deliveries.join(subscribers, subscribers.c.id == deliveries.c.subscriber)
    with store.read() as connection:
        found = connection.execute(rows.select_from(joined.join(attempts, attempts.c.delivery == deliveries.c.id)))
        told: dict[str, tuple[str, set[Any], set[Any]]] = {}
        for url, status, error, status_code in found:
            _, errors, codes = told.setdefault(url, (status, set(), set()))
            errors.add(error)
            codes.add(status_code)
    store.close()
    return told


async def test_a_trusted_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    """Trusted by `SSL_CERT_FILE`, an authority vouches for its host and no other; what is refused is on record."""
    ours, stranger = Authority.found(tmp_path), Authority.found(tmp_path)
    servers = {
        "fits": (ours.vouch(LOOPBACK), None),
        "another name": (ours.vouch(ELSEWHERE), "certificate_of_another_host"),
        "expired": (ours.vouch(LOOPBACK, days=-1), "certificate_expired"),
        "not trusted": (stranger.vouch(LOOPBACK), "certificate_refused"),
    }
    home = tmp_path / "house"
    home.mkdir()
    async with AsyncExitStack() as stack:
        backends = {
            name: await stack.enter_async_context(Backend(secrets=(), ssl_context=context))
            for name, (context, _) in servers.items()
        }
        trusted = ours.trusted
        draft = install(home, backend=backends["fits"].url, environment={"SSL_CERT_FILE": str(trusted)})
        text, listed, subscriber = draft.config.read_text().partition("[[subscribers]]")
        one, work, rest = subscriber.partition("\n[work]")
        others = [one.replace(json.dumps(backends["fits"].url), json.dumps(each.url)) for each in backends.values()]
        draft.config.write_text(text + "".join(listed + each for each in others) + work + rest)
        service = await stack.enter_async_context(draft.service())
        sale = till("stripe", Random(5)).sell(0, bought_ms=int(time.time() * 1000))
        await service.told("stripe", draft.simulator("stripe").purchase(sale, time.time()))
        assert await until(lambda: len(outcomes(draft)) == len(servers))
        found = outcomes(draft)

    assert {name: error is None for name, (_, error) in servers.items()} == {
        name: bool(backend.told) for name, backend in backends.items()
    }
    assert {backends[name].url: {error} for name, (_, error) in servers.items()} == {
        url: errors for url, (_, errors, _) in found.items()
    }
    assert ("delivered", {None}, {200}) == found[backends["fits"].url]
    assert {("pending", None)} == {
        (status, *codes) for url, (status, _, codes) in found.items() if url != backends["fits"].url
    }
