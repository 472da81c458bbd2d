"""Read again what the door accepted: JSON and the payload of a JWS, without proving anything of them a second time.

Only what `verify` accepted gets into the inbox, byte for byte, so here one thing matters: that it says the same as at
the door. For every text that `strict_json` and `jws` let in these give the same value, and `test_accepted.py` holds
them together; what those do not let in may be read here, or refused.
"""

from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

from handlers.errors import Malformed

# pydantic's decoder is compiled, and takes a seventh of the time of `base64`; it takes either alphabet, padded or not.
_BASE64URL: Final[TypeAdapter[bytes]] = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))


def json_object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object that `strict_json.parse_object` accepted, or raise `Malformed` if it never can have."""
    try:
        value = from_json(raw, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        raise Malformed("not_json") from None
    if not isinstance(value, dict):
        raise Malformed("not_an_object")
    return value


def jws_says(token: str) -> dict[str, Any]:
    """Read the payload of a compact JWS that `jws.split` accepted; its header and signature were for the door."""
    _header, _, rest = token.partition(".")
    payload, _, _signature = rest.partition(".")
    return json_object(decode(payload))


def decode(segment: str) -> bytes:
    """Decode base64, or raise `Malformed`; which spelling of some bytes may come in is decided by `jws.decode`."""
    try:
        return _BASE64URL.validate_strings(segment)
    except ValidationError:
        raise Malformed("not_base64url") from None
