"""Tell what is wrong with the address of a subscriber, as far as its text alone can tell.

Where the name in it leads is looked at by whoever connects: `worker/addresses.py`.
"""

import re
from urllib.parse import SplitResult, urlsplit

ADDRESS_CHARACTERS_MAX = 2048
_WRITTEN = re.compile(r"[!-~]+")


def mistake(address: str, *, allow_private: bool) -> str | None:
    """Say what is wrong with an address, without quoting it; None: nothing.

    Args:
        address: as somebody wrote it.
        allow_private: it may be without TLS, too.
    """
    if len(address) > ADDRESS_CHARACTERS_MAX:
        return f"has more than {ADDRESS_CHARACTERS_MAX} characters"
    if not _WRITTEN.fullmatch(address):
        return "holds what no address does: write it as ASCII without spaces (a name like bücher.example as xn--…)"
    try:
        parsed = urlsplit(address)
        usable = parsed.scheme in {"http", "https"} and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        usable = False
    return _unwanted(parsed, allow_private=allow_private) if usable else "is not an http:// or https:// address"


def _unwanted(address: SplitResult, *, allow_private: bool) -> str | None:
    if "@" in address.netloc:
        return "holds credentials: what is sent is signed, and needs none"
    if "#" in address.geturl():
        return "has a fragment, which is never sent"
    if address.scheme == "http" and not allow_private:
        return "is http://, which anybody on the way can read: https://, or allow_private = true"
    return None
