"""Money in integers: a platform's own units turned into the minor units of ISO 4217, without a float."""

import re

# ISO 4217, list one. What is not named here has two decimals.
_BY_PLACES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_PLACES = {code: places for places, codes in _BY_PLACES.items() for code in codes.split()}
_CODE = re.compile(r"[A-Z]{3}")


def exponent(currency: str) -> int | None:
    """Tell how many decimals a currency has; None for what is no currency code: three letters, in either case."""
    code = currency.upper() if currency.isascii() else ""
    if not _CODE.fullmatch(code):
        return None
    return _PLACES.get(code, 2)


def minor_units(millis: int, currency: str) -> int | None:
    """Turn thousandths of a currency's unit (Apple's `price`: 10990 is 10.99) into its minor units, half up.

    Returns None for an unknown code and for negative amounts: no platform sells below nothing.
    """
    places = exponent(currency)
    if places is None or millis < 0:
        return None
    return _half_up(millis * 10**places, 1000)


def share_of(amount: int, share_millis: int) -> int:
    """Take a share, in thousandths of a percent, of an amount; half up, and never more than the amount."""
    return _half_up(amount * min(share_millis, 100_000), 100_000)


def _half_up(dividend: int, divisor: int) -> int:
    return (2 * dividend + divisor) // (2 * divisor)
