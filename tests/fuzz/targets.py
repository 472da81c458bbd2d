"""What is fuzzed: each target takes bytes, and raises if a law of bad input is broken. Calling one needs no fuzzer."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handlers.errors import Rejected
from handlers.platforms import PLATFORMS
from schemas.received import KeyWanted
from tests.fuzz.inside import INSIDE, unquoted
from tests.fuzz.samples import Genuine, genuine
from tests.fuzz.story import hear, play
from tests.handlers.platform_cases import SEALS, UNSIGNED_BODIES, make
from worker.key_formats import KeyFormatError, read_certificate, read_certificates, read_key_set
from worker.simulator.sale import Shot

SIZE_MAX_BYTES = 60_000


@dataclass(frozen=True, slots=True)
class Target:
    """One way in.

    Attributes:
        run: raises on what must never happen.
        seeds: inputs to begin with.
        words: for the mutator.
    """

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[str, ...]


NAMES = (*(f"{name}_{way}" for name in sorted(PLATFORMS) for way in ("says", "door")), "keys", *INSIDE)


def target(name: str, directory: Path) -> Target:
    """Make a target, with a trust of its own in `directory`."""
    if name == "keys":
        return _keys(directory)
    if name in INSIDE:
        return Target(*INSIDE[name](directory))
    platform, _, way = name.partition("_")
    return _MAKERS[way](genuine(platform, directory))


def _says(said: Genuine) -> Target:
    """Tell stories: what a platform says is JSON, and anything may stand in it."""

    def run(data: bytes) -> None:
        try:
            story = json.loads(data)
        except (ValueError, RecursionError):
            return
        play(said, story)

    # Each alone, and all of them in runs of three, so that there is something to fold.
    alone = [[chapter] for chapter in said.chapters]
    runs = [list(said.chapters[at : at + 3]) for at in range(len(said.chapters))]
    return Target(run, tuple(json.dumps(story).encode() for story in (*alone, *runs)), said.words)


def _door(said: Genuine) -> Target:
    """Post at the door: nothing is believed but what was genuine, and nothing breaks the reading of it."""
    name = said.case.platform.name
    known = [said.case.read(shot) for shot in said.shots]
    proofs = {_proof(said, shot) for shot in said.shots}

    def run(data: bytes) -> None:
        shot = _opened(data)
        hear(said.case, shot)
        try:
            answer = said.case.verify(shot)
        except Rejected:
            return
        if name in UNSIGNED_BODIES:
            assert isinstance(answer, KeyWanted) or _proof(said, shot) in proofs
        else:
            assert isinstance(answer, KeyWanted) or answer in known, "a forgery was believed"

    seeds = tuple(json.dumps({"headers": dict(s.headers), "body": s.body.decode()}).encode() for s in said.shots)
    return Target(run, seeds, (*said.words, *_header_words(said)))


def _keys(directory: Path) -> Target:
    """Read what a key server or a file gives: keys, or one clear error."""
    for platform in ("apple", "google", "amazon"):
        make(platform, directory / platform)
    sets = [path.read_bytes() for path in sorted(directory.rglob("*.json"))]
    certificates = [path.read_text() for path in sorted(directory.rglob("*.pem")) if "CERTIFICATE" in path.read_text()]
    written = [json.dumps(each).encode() for each in (dict(enumerate(certificates)), *certificates)]

    def run(data: bytes) -> None:
        for read in (read_key_set, read_certificate, read_certificates):
            with suppress(KeyFormatError), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what `cryptography` will refuse one day, and reads today
                read(unquoted(data))

    return Target(run, (*sets, *written), ("kty", "RSA", "kid", "use", "sig", "alg", "n", "e", "keys", "AQAB"))


_MAKERS: dict[str, Callable[[Genuine], Target]] = {"says": _says, "door": _door}


def _opened(data: bytes) -> Shot:
    """Take a POST apart that is written as `{"headers": {…}, "body": "…"}`; anything else is a body alone."""
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return Shot("fuzz", data)
    if not isinstance(value, dict) or not isinstance(value.get("body"), str):
        return Shot("fuzz", data)
    headers = value.get("headers")
    texts = {k: v for k, v in headers.items() if isinstance(v, str)} if isinstance(headers, dict) else {}
    return Shot("fuzz", value["body"].encode("utf-8", "surrogatepass"), texts)


def _proof(said: Genuine, shot: Shot) -> str:
    """Give what stands in the header that proves a POST, less what nobody compares."""
    headers = said.case.received(shot).headers
    return headers.get(SEALS.get(said.case.platform.name, ""), "").partition(" ")[2].strip()


def _header_words(said: Genuine) -> Iterator[str]:
    return iter(sorted({name for shot in said.shots for name in shot.headers} | {"Authorization", "Bearer"}))
