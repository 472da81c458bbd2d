"""Look at the keys of [store] encryption_keys against what was sealed with them, for `clawback doctor`.

That is the secrets of subscribers, and the bodies of notifications.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from worker import keyring
from worker.bodies import Bodies
from worker.runtime import Runtime
from worker.sealing import Sealed, Sealer
from worker.store.seals import count_by_prefix
from worker.store.subscribers import sealed_secrets

EXAMPLE = "Q2hhbmdlIG1lISAzMiByYW5kb20gYnl0ZXMgaGVyZS4="
"""The key of clawback.example.toml: everybody has it."""

Verdict = Literal["ok", "warning", "failed", "skipped"]
Said = tuple[Verdict, str, str]
"""Verdict, detail, advice."""


def look_at_seals(runtime: Runtime) -> Iterator[Said]:
    """Tell what no key opens, which keys open nothing, and whether the key is one that everybody has."""
    keys = runtime.settings.store.encryption_keys
    with runtime.store.read() as connection:
        sealed = _sealed(sealed_secrets(connection), runtime.clock())
        bodies = count_by_prefix(connection)
    closed = sorted({id_ for id_, text in sealed if not _opens(runtime.sealer, text)})
    if closed:
        advice = "put the key that sealed them back, or POST /v1/subscribers/{id}/rotate"
        yield "failed", f"no key opens the secrets of {_first(closed)}: nothing is sent to them", advice
    if EXAMPLE in keys:
        yield "failed", "one of store.encryption_keys is that of the example", "make one of your own, put it in front"
    yield from _look_at_bodies(runtime.bodies, bodies)
    for number in _idle(keys, [text for _, text in sealed], bodies):
        detail = f"key {number + 1} of {len(keys)} opens nothing that is stored (encryption.key is the last)"
        yield "warning", detail, "take it out, once every process seals with the first"
    if not keys:
        count = sum(count for prefix, count in bodies.items() if runtime.bodies.knows(prefix))
        open_ = f"there is no key: {count} bodies of notifications lie open, and the API makes no subscribers"
        yield "warning", open_, "give every process one of store.encryption_keys, then clawback reseal"
    elif not closed:
        yield "ok", f"{len(sealed)} sealed secrets of subscribers, all can be opened", ""


def _look_at_bodies(bodies: Bodies, found: Mapping[bytes, int]) -> Iterator[Said]:
    """Tell what cannot be processed or replayed any more, and what is not sealed as it would be today."""
    if closed := sum(count for prefix, count in found.items() if not bodies.knows(prefix)):
        advice = "put the key that sealed them back: what is not processed yet cannot be, nor replayed"
        yield "failed", f"no key opens the bodies of {closed} notifications", advice
    stale = sum(count for prefix, count in found.items() if bodies.knows(prefix) and prefix != bodies.current)
    if stale and bodies.current:
        yield "warning", f"{stale} bodies of notifications lie open, or are sealed with a later key", "clawback reseal"


def _sealed(columns: Mapping[str, str], now: float) -> list[tuple[str, str]]:
    return [(id_, one.sealed) for id_, column in columns.items() for one in keyring.read(column) if one.signs(now)]


def _idle(keys: Sequence[str], sealed: Sequence[str], bodies: Mapping[bytes, int]) -> list[int]:
    """Number the keys after the first that open nothing."""
    return [
        number
        for number, key in enumerate(keys)
        if number and Bodies([key]).current not in bodies and not any(_opens(Sealer([key]), one) for one in sealed)
    ]


def _opens(sealer: Sealer, sealed: str) -> bool:
    try:
        sealer.open(sealed)
    except Sealed:
        return False
    return True


def _first(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
