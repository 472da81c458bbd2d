import json
from urllib.parse import quote

from yarl import URL

from schemas.base import Access
from schemas.resources import Entitlement
from tests.web import seed
from tests.web.service import Service


async def test_an_entitlement_reads_back_as_it_was_written(service: Service) -> None:
    """What the API shows of a user is what the fold made, and nothing of anybody else."""
    seed.insert(service.store, seed.purchase(), seed.entitlement(), seed.entitlement(user_id="grace"))

    page = await service.get("/v1/customers/ada/entitlements")

    assert [seed.entitlement()] == [Entitlement.model_validate(one) for one in page["data"]]


async def test_a_user_nobody_knows_has_nothing(service: Service) -> None:
    """A user without purchases is an empty list, not an error: that they may use nothing is the answer."""
    assert [] == (await service.get("/v1/customers/nobody/entitlements"))["data"]


async def test_user_ids_are_any_text(service: Service) -> None:
    """A user id with slashes, spaces, percent signs and letters of any script is found by its escaped spelling."""
    user_id = "tenant/7 100% Żółć?#"
    seed.insert(service.store, seed.entitlement(user_id=user_id, purchases=()))

    async with service.http.get(_url(service, user_id, "entitlements")) as response:
        assert [user_id] == [one["user_id"] for one in (await response.json())["data"]]


async def test_an_expiry_counts_before_any_sweep(service: Service) -> None:
    """An entitlement whose end has passed is expired when it is read, though no sweep has recorded it."""
    seed.insert(service.store, seed.purchase(expires_at=seed.NOW), seed.entitlement(expires_at=seed.NOW))

    (shown,) = (await service.get("/v1/customers/ada/entitlements"))["data"]
    assert (False, "expired", "expired") == (shown["active"], shown["status"], shown["reason"])
    service.clock.now -= 1
    (shown,) = (await service.get("/v1/customers/ada/entitlements"))["data"]
    assert (True, "active", None) == (shown["active"], shown["status"], shown["reason"])


async def test_an_expiry_leaves_what_another_purchase_gives(service: Service) -> None:
    """What ends with one purchase is judged by all of them: a suspended one without an end keeps it suspended."""
    ended = seed.purchase(1, expires_at=seed.NOW - 1)
    disputed = seed.purchase(2, expires_at=None, access=Access.SUSPENDED, access_reason="chargeback_opened")
    both = seed.entitlement(expires_at=seed.NOW - 1, purchases=(disputed.id, ended.id))
    seed.insert(service.store, ended, disputed, both)

    (shown,) = (await service.get("/v1/customers/ada/entitlements"))["data"]

    assert (False, "suspended", "chargeback_opened") == (shown["active"], shown["status"], shown["reason"])


async def test_entitlements_are_paged_by_name(service: Service) -> None:
    """Following the cursor shows every entitlement once, in the order of app, environment and key."""
    things = [seed.entitlement(key, app=app) for app in ("acme", "beta") for key in ("editor", "pro", "sync")]
    seed.insert(service.store, *things)

    first = await service.get("/v1/customers/ada/entitlements", limit=4)
    rest = await service.get("/v1/customers/ada/entitlements", limit=4, cursor=first["next_cursor"])

    assert [(t.app, t.key) for t in things] == [(e["app"], e["key"]) for e in (*first["data"], *rest["data"])]
    assert rest["next_cursor"] is None


async def test_entitlements_are_kept_apart_by_app_and_environment(service: Service) -> None:
    """The filters keep one app, or one environment."""
    seed.insert(
        service.store, *(seed.entitlement(app=a, environment=e) for a in "xy" for e in ("production", "sandbox"))
    )

    sandbox = await service.get("/v1/customers/ada/entitlements", environment="sandbox", app="y")

    assert [("y", "sandbox")] == [(one["app"], one["environment"]) for one in sandbox["data"]]


async def test_the_timeline_joins_what_was_said_and_what_followed(service: Service) -> None:
    """What a platform said stands under `ledger.…`, what we concluded under its event type, newest first."""
    seed.insert(service.store, seed.purchase(), seed.refunded(), seed.event())

    concluded, said = (await service.get("/v1/customers/ada/timeline"))["data"]

    assert ("ledger.refund_succeeded", "REFUND", "apple") == (said["type"], said["source"], said["platform"])
    assert 4999 == said["details"]["refund"]["amount"]
    assert ("entitlement.revoked", "full_refund") == (concluded["type"], concluded["rule"])
    assert seed.purchase().id == said["purchase"] == concluded["purchase"]


async def test_the_timeline_shows_no_purchase_token(service: Service) -> None:
    """The ids by which a purchase is found stay inside: one of them may be a secret."""
    seed.insert(service.store, seed.purchase(), seed.refunded())

    assert "secret-purchase-token" not in json.dumps(await service.get("/v1/customers/ada/timeline"))


async def test_the_timeline_is_one_users(service: Service) -> None:
    """Nothing of another user is in it, and filters keep one app."""
    seed.insert(service.store, seed.purchase(), seed.refunded(), seed.event(), lineage="lin_ada")

    assert [] == (await service.get("/v1/customers/grace/timeline"))["data"]
    assert [] == (await service.get("/v1/customers/ada/timeline", app="other"))["data"]


async def test_the_timeline_is_paged(service: Service) -> None:
    """Following the cursor shows everything once, entries and events of one moment included."""
    purchases = [seed.purchase(n) for n in range(1, 4)]
    seed.insert(
        service.store, *purchases, *(seed.refunded(n) for n in range(1, 4)), *(seed.event(n) for n in range(1, 4))
    )

    seen, query = [], {"limit": 2}
    while True:
        page = await service.get("/v1/customers/ada/timeline", **query)
        seen += [(item["occurred_at"], item["id"]) for item in page["data"]]
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]

    assert 6 == len(set(seen))
    assert sorted([at for at, _ in seen], reverse=True) == [at for at, _ in seen]


def _url(service: Service, user_id: str, what: str) -> URL:
    return URL(f"http://127.0.0.1:{service.port}/v1/customers/{quote(user_id, safe='')}/{what}", encoded=True)


async def test_events_of_one_decision_are_newest_first(service: Service) -> None:
    """Twelve events of one millisecond stand in the order in which they were told, whatever their ids and the page."""
    events = [seed.event(number) for number in range(1, 13)]
    seed.insert(service.store, seed.purchase(), seed.refunded(), *events)

    whole = [item["id"] for item in (await service.get("/v1/customers/ada/timeline"))["data"]]
    paged, query = [], {"limit": 1}
    while True:
        page = await service.get("/v1/customers/ada/timeline", **query)
        paged += [item["id"] for item in page["data"]]
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]

    told = [event.id for event in reversed(events)]
    assert told != sorted(told, reverse=True)
    assert told == [id_ for id_ in whole if id_ in told]
    assert whole == paged
