"""The platforms we speak, by the name they have in addresses, configuration and answers. A new one is one line here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from handlers import amazon, apple, google, stripe
from handlers.platform import Platform

PLATFORMS: Final[Mapping[str, Platform]] = MappingProxyType(
    {platform.name: platform for platform in (apple.PLATFORM, google.PLATFORM, stripe.PLATFORM, amazon.PLATFORM)}
)
