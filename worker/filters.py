"""Refuse a configured subscriber whose filter lets nothing through: it would wait for ever, and nobody would know."""

from config.problems import ConfigError
from config.settings import Settings
from handlers.filters import mistake


def refuse_empty_filters(settings: Settings) -> None:
    """Hold every filter of the configuration against the types of events that there are.

    Raises:
        ConfigError: with one line per subscriber that asks for a type which does not exist.
    """
    found = ((index, mistake(one.types)) for index, one in enumerate(settings.subscribers))
    lines = [f"{settings.place}: subscribers[{index}].types: {wrong}" for index, wrong in found if wrong]
    if lines:
        raise ConfigError(lines)
