"""Every forgery by its name: `platform: name`, those of one platform first, then those that fit all four."""

from collections.abc import Mapping

from tests.forgeries import amazon, any_platform, apple, google, stripe
from tests.forgeries.case import Forgery, Table

OWN: Mapping[str, Table] = {
    "apple": apple.FORGERIES,
    "google": google.FORGERIES,
    "stripe": stripe.FORGERIES,
    "amazon": amazon.FORGERIES,
}
"""Platform → what can be forged of it alone."""

FORGERIES: Mapping[str, tuple[str, Forgery]] = {
    f"{platform}: {name}": (platform, forgery)
    for platform, table in OWN.items()
    for name, forgery in (*table.items(), *any_platform.FORGERIES.items())
}
