"""Money in integers. Codes and decimals are those of ISO 4217, list one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import money

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("currency", "places"),
    [("USD", 2), ("eur", 2), ("JPY", 0), ("krw", 0), ("VND", 0), ("CLP", 0), ("ISK", 0), ("KWD", 3), ("BHD", 3),
     ("TND", 3), ("CLF", 4), ("HUF", 2), ("TWD", 2), ("XAF", 0)],
)  # fmt: skip
def test_each_currency_has_its_decimals(currency, places):
    """Two decimals, but for those that have none, three or four."""
    assert places == money.exponent(currency)


@pytest.mark.parametrize("text", ["", "US", "USDT", "U$D", "\uff35\uff33\uff24", "12 ", "usd "])
def test_what_is_no_code_has_no_decimals(text):
    """Three letters of the alphabet, or nothing."""
    assert money.exponent(text) is None
    assert money.minor_units(1000, text) is None


@pytest.mark.parametrize(
    ("millis", "currency", "minor"),
    [
        (10990, "USD", 1099),
        (0, "USD", 0),
        (1_200_000, "JPY", 1200),
        (29_900_000, "KRW", 29_900),
        (3_490, "KWD", 3490),
        (12_345, "CLF", 123_450),
        (9_995, "EUR", 1000),
        (9_994, "EUR", 999),
    ],
)
def test_apples_prices_become_minor_units(millis, currency, minor):
    """10990 is 10.99 dollars, 1200000 is 1200 yen, 3490 is 3.490 dinars; what is between is rounded half up."""
    assert minor == money.minor_units(millis, currency)


def test_nobody_sells_below_nothing():
    """A negative price is no amount."""
    assert money.minor_units(-1, "USD") is None


@given(st.integers(0, 10**12), st.integers(0, 200_000))
def test_a_share_is_never_more_than_the_whole(amount, share):
    """However it is rounded, what goes back is at most what was paid."""
    assert 0 <= money.share_of(amount, share) <= amount


@given(st.integers(0, 10**12), st.integers(0, 100_000))
def test_both_shares_make_the_whole(amount, share):
    """A share and its rest differ from the whole by at most the one unit that rounding moves."""
    assert amount <= money.share_of(amount, share) + money.share_of(amount, 100_000 - share) <= amount + 1
