"""Ask Amazon's Receipt Verification Service what a receipt stands for now.

The shared secret is a part of the address, so no address of this file may reach a log or an error's text.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from config.platforms import Amazon
from schemas.meaning import Lookup
from worker.clients.answers import Answer, Fetches, Outcome, address, judge, path_part

# developer.amazon.com/docs/in-app-purchasing/iap-rvs-for-android-apps.html, "RVS request syntax".
PATHS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "rvs": "/version/1.0/verifyReceiptId/developer/{secret}/user/{user}/receiptId/{receipt}",
        "rvs_sandbox": "/sandbox/version/1.0/verifyReceiptId/developer/{secret}/user/{user}/receiptId/{receipt}",
    }
)

# The same page, "RVS response codes". 400: there is no such receipt; 410: there was one; 497: there is no such user, so
# nothing of theirs either. 496: the shared secret is wrong, which says nothing of the receipt.
_OUTCOMES: Final[Mapping[int, Outcome]] = MappingProxyType({400: "missing", 496: "refused", 497: "missing"})


class AmazonClient:
    """Ask with the developer's shared secret.

    Args:
        section: the app's configuration.
        fetch: how to get a document.
        clock: Unix seconds.
    """

    def __init__(self, section: Amazon, fetch: Fetches, *, clock: Callable[[], float]) -> None:
        self._section = section
        self._fetch = fetch
        self._clock = clock

    async def ask(self, lookup: Lookup) -> Answer:
        """Ask once. The key is `user/receipt`; a user id holds no slash, a receipt id may."""
        user, _, receipt = lookup.key.partition("/")
        secret = path_part(self._section.shared_secret)
        path = PATHS[lookup.kind].format(secret=secret, user=path_part(user), receipt=path_part(receipt))
        return judge(await self._fetch(address(self._section.api, path)), now=self._clock(), but=_OUTCOMES)
