"""What an operator asks of `/v1/subscribers`, and what of it is stored and would sign."""

from typing import Any

from sqlalchemy import select

from tests.web.seed import APP
from tests.web.service import Service
from worker.keyring import Keyring
from worker.store.tables import idempotency, subscribers

URL = "https://api.acme.example/refunds"
OWN = "whsec_YSBzZWNyZXQgb2Ygb3VyIG93biwgMzIgYnl0ZXMgbG9uZyE="
WANTED: dict[str, Any] = {"app": APP, "url": URL}


async def ask(service: Service, method: str, path: str, expected: int, body: Any = None, **headers: str) -> Any:
    """Ask, and read the JSON of an answer with that status."""
    async with service.http.request(method, f"/v1/subscribers{path}", json=body, headers=headers) as response:
        assert expected == response.status, await response.text()
        answered = await response.json()
        return answered["error"] if expected >= 400 else answered


async def make(service: Service, **chosen: Any) -> Any:
    """Make a subscriber."""
    return await ask(service, "POST", "", 201, WANTED | chosen)


def signing(service: Service, id_: str) -> tuple[str, ...]:
    """Give the secrets that a delivery to it would be signed with now."""
    with service.store.read() as connection:
        row: Any = connection.execute(select(subscribers).where(subscribers.c.id == id_)).one()
    runtime = service.runtime
    return Keyring(runtime.settings.subscribers, runtime.sealer).secrets(row, runtime.clock())


def stored(service: Service) -> str:
    """Read everything that is stored of subscribers and of answers."""
    with service.store.read() as connection:
        rows = [*connection.execute(select(subscribers)), *connection.execute(select(idempotency))]
    return repr(rows)
