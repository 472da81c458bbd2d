"""Make our ids from what identifies a thing at its source: the same thing gets the same id, whoever meets it first."""

from hashlib import sha256


def make(prefix: str, *parts: object) -> str:
    """Make an id of 96 bits from everything that identifies a thing.

    Args:
        prefix: what kind of thing: `pur`, `re`, `evt`, `ntf`, `ent`, `lin`.
        parts: their text is joined by a character that occurs in none of them.
    """
    joined = "\x1f".join(map(str, parts))
    return f"{prefix}_{sha256(joined.encode()).hexdigest()[:24]}"
