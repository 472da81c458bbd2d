"""Ask the Play Developer API what a notification only hints at: purchase tokens and orders."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from config.platforms import Google
from handlers import strict_json
from handlers.errors import Malformed
from schemas.meaning import Lookup
from worker.clients.answers import Answer, Fetches, Outcome, address, judge, path_part
from worker.clients.google_key import read_service_account
from worker.fetch import Fetched

SCOPE: Final = "https://www.googleapis.com/auth/androidpublisher"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

# developers.google.com/android-publisher/api-ref/rest/v3: purchases.subscriptionsv2.get,
# purchases.productsv2.getproductpurchasev2, orders.get.
PATHS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "subscriptionsv2": "/androidpublisher/v3/applications/{package}/purchases/subscriptionsv2/tokens/{key}",
        "productsv2": "/androidpublisher/v3/applications/{package}/purchases/productsv2/tokens/{key}",
        "orders": "/androidpublisher/v3/applications/{package}/orders/{key}",
    }
)

RENEW_SECONDS = 120
"""A token is replaced so long before it expires, so that none runs out on its way."""

_NO_TOKEN: Final[Mapping[int, Outcome]] = MappingProxyType({400: "refused", 404: "refused", 410: "refused"})
"""What the token endpoint means: a deleted key or a clock that is wrong is `invalid_grant`, 400 (RFC 6749, 5.2)."""
_QUOTA: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded"})
"""Reasons of a 403 that say "later" and not "never": the domain usageLimits of Google's older error format."""
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    until: float


class GoogleClient:
    """Ask with a service account's token, which is fetched when the first look-up needs it.

    Args:
        section: the app's configuration.
        fetch: how to get a document.
        clock: Unix seconds.

    Raises:
        KeyFileError: the key file cannot be used.
    """

    def __init__(self, section: Google, fetch: Fetches, *, clock: Callable[[], float]) -> None:
        self._section = section
        self._fetch = fetch
        self._clock = clock
        self._account = read_service_account(Path(section.service_account_key), api=section.api)
        self._token: _Token | None = None
        self._granting = asyncio.Lock()

    async def ask(self, lookup: Lookup) -> Answer:
        """Ask once; twice only where a token that we kept was taken back before its time."""
        kept = self._token
        answer = await self._ask(lookup)
        if answer.status == 401 and kept is not None and self._token is kept:
            self._token = None
            answer = await self._ask(lookup)
        return answer

    async def _ask(self, lookup: Lookup) -> Answer:
        path = PATHS[lookup.kind].format(package=path_part(self._section.package_name), key=path_part(lookup.key))
        token = await self._bearer()
        if isinstance(token, Answer):
            return token
        headers = {"Authorization": f"Bearer {token.text}"}
        fetched = await self._fetch(address(self._section.api, path), headers=headers)
        return judge(fetched, now=self._clock(), but={403: "throttled"} if _out_of_quota(fetched) else {})

    async def _bearer(self) -> _Token | Answer:
        """Give the token, trading an assertion for a new one when it is about to expire."""
        async with self._granting:
            if self._token is None or self._clock() >= self._token.until - RENEW_SECONDS:
                granted = await self._grant()
                if isinstance(granted, Answer):
                    return granted
                self._token = granted
            return self._token

    async def _grant(self) -> _Token | Answer:
        now = self._clock()
        form = {"grant_type": GRANT, "assertion": self._account.assertion(scope=SCOPE, now=now)}
        answer = judge(await self._fetch(self._account.token_uri, form=form), now=now, but=_NO_TOKEN)
        if answer.outcome != "answered":
            return replace(answer, reason=f"token_{answer.reason}")
        return _read_token(answer.fact, now) or Answer("failed", status=answer.status, reason="token_unreadable")


def _read_token(said: Mapping[str, Any], now: float) -> _Token | None:
    """Read the answer to a grant (RFC 6749, 5.1). What could not stand in a header is no token."""
    text, seconds = said.get("access_token"), said.get("expires_in")
    if not isinstance(text, str) or not _TOKEN.fullmatch(text) or not isinstance(seconds, int | float):
        return None
    return _Token(text, until=now + seconds)


def _out_of_quota(fetched: Fetched) -> bool:
    """Tell a 403 that will pass from one that takes an operator."""
    if fetched.status != 403:
        return False
    try:
        error = strict_json.parse_object(fetched.body).get("error")
    except Malformed:
        return False
    details = error.get("errors") if isinstance(error, dict) else None
    reasons = [each.get("reason") for each in details if isinstance(each, dict)] if isinstance(details, list) else []
    return any(isinstance(reason, str) and reason in _QUOTA for reason in reasons)
