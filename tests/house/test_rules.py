"""The sources keep the house rules, and each rule is able to fail."""

from statistics import median, quantiles

import pytest

from tests.house import rules
from tests.house.rules import Rule
from tests.house.tree import CORE, PACKAGES, Source, sources

EVERYWHERE = (*PACKAGES, "tests")

KEPT_BY: list[tuple[Rule, tuple[str, ...]]] = [
    (rules.reads_no_clock, ("config", *CORE)),
    (rules.awaits_nothing, ("config", *CORE)),
    (rules.functions_fit_a_screen, PACKAGES),
    (rules.files_hold_one_idea, PACKAGES),
    (rules.exceptions_to_lints_are_explained, EVERYWHERE),
    (rules.logs_name_events, PACKAGES),
    (rules.platforms_share_one_outline, ("handlers",)),
    (rules.secrets_are_compared_in_constant_time, PACKAGES),
    (rules.tests_state_their_law, ("tests",)),
    (rules.tests_patch_nothing_of_ours, ("tests",)),
]

BROKEN: list[tuple[Rule, str]] = [
    (rules.reads_no_clock, "import datetime\nbought_at = datetime.datetime.now(datetime.UTC)\n"),
    (rules.reads_no_clock, "from datetime import date\nbought_on = date.today()\n"),
    (rules.reads_no_clock, "import time\nread_clock = time.time\n"),
    (rules.awaits_nothing, "async def verify():\n    pass\n"),
    (rules.functions_fit_a_screen, "def normalize():\n" + "    pass\n" * 60),
    (rules.files_hold_one_idea, "#\n" * 401),
    (rules.exceptions_to_lints_are_explained, "import os  # noqa\n"),
    (rules.exceptions_to_lints_are_explained, "import os  # noqa - everybody does it\n"),
    (rules.exceptions_to_lints_are_explained, "import os  # noqa: F401\n"),
    (rules.exceptions_to_lints_are_explained, "paid: int = ''  # type: ignore[assignment]\n"),
    (rules.exceptions_to_lints_are_explained, "paid: int = ''  # type: ignore # it is fine\n"),
    (rules.exceptions_to_lints_are_explained, "if paid:  # pragma: no cover\n    pass\n"),
    (rules.logs_name_events, "log.info(f'Refund of {amount}')\n"),
    (rules.logs_name_events, "logger.warning('Refund seen')\n"),
    (rules.platforms_share_one_outline, "__all__ = ['PLATFORM']\ndef identify(): ...\nPLATFORM = 1\n"),
    (rules.secrets_are_compared_in_constant_time, "admitted = shown.token == known\n"),
    (rules.secrets_are_compared_in_constant_time, "forged = signature != hmac.new(key, body, sha256).hexdigest()\n"),
    (rules.secrets_are_compared_in_constant_time, "genuine = expected == mac.hexdigest()\n"),
    (rules.secrets_are_compared_in_constant_time, "admitted = shown in settings.admin_tokens\n"),
    (rules.tests_state_their_law, "def test_refund():\n    assert True\n"),
    (rules.tests_state_their_law, "def test_refund():\n    '''First buy.\n\n    Then refund.\n    '''\n"),
    (rules.tests_patch_nothing_of_ours, "from unittest import mock\n"),
    (rules.tests_patch_nothing_of_ours, "import unittest.mock\n"),
    (rules.tests_patch_nothing_of_ours, "monkeypatch.setattr('handlers.apple.verify', None)\n"),
    (
        rules.tests_patch_nothing_of_ours,
        "from handlers import apple\nmonkeypatch.setattr(apple, 'verify', None)\n",
    ),
]

GOOD: list[tuple[Rule, str]] = [
    (rules.exceptions_to_lints_are_explained, "import os  # noqa: F401 - tests read it from here\n"),
    (
        rules.exceptions_to_lints_are_explained,
        "paid: int = ''  # type: ignore[assignment]  # the law is about this\n",
    ),
    (
        rules.exceptions_to_lints_are_explained,
        "if paid:  # pragma: no cover - only another system gets here\n    pass\n",
    ),
    (rules.logs_name_events, "log.info('ingest.accepted', app='acme')\n"),
    (rules.secrets_are_compared_in_constant_time, "admitted = hmac.compare_digest(shown.token, known)\n"),
    (rules.secrets_are_compared_in_constant_time, "modern = signature == 'v1a'\nkept = secrets != NOTHING_KEPT\n"),
    (rules.secrets_are_compared_in_constant_time, "rows.c.token == before  # public: the database compares\n"),
    (rules.tests_patch_nothing_of_ours, "monkeypatch.setenv('CLAWBACK_CONFIG', 'clawback.toml')\n"),
]


def _name(value: object) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize(("rule", "rooms"), KEPT_BY, ids=_name)
def test_the_sources_keep_the_rule(rule: Rule, rooms: tuple[str, ...]) -> None:
    """No source breaks a rule of the house."""
    found = [f"{source.path}:{line}: {what}" for source in sources(*rooms) for line, what in rule(source)]

    assert [] == found


@pytest.mark.parametrize(("rule", "text"), BROKEN, ids=_name)
def test_a_rule_finds_what_breaks_it(rule: Rule, text: str) -> None:
    """A rule that cannot fail is none: each finds exactly the one thing wrong."""
    assert 1 == len(list(rule(Source("tests/example.py", text))))


@pytest.mark.parametrize(("rule", "text"), GOOD, ids=_name)
def test_a_rule_leaves_the_rest_alone(rule: Rule, text: str) -> None:
    """A rule that cannot pass is none either."""
    assert [] == list(rule(Source("tests/example.py", text)))


def test_most_functions_are_read_at_a_glance() -> None:
    """Half of all functions have at most 8 lines, nine tenths at most 24, and 95 of 100 at most 36."""
    lengths = [rules.length(function) for source in sources(*PACKAGES) for function in rules.functions(source)]
    percentiles = quantiles(lengths, n=100)

    assert (True, True, True) == (median(lengths) <= 8, percentiles[89] <= 24, percentiles[94] <= 36)
