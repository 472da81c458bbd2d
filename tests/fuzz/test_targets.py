"""The fuzz targets work, without the fuzzer: they take every seed, what a mutator makes of them, and are able to fail.

Real: the targets, the mutator, the simulators. Double: the fuzzer's own mutation of bytes, here it drops the last one.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.mutate import Mutator
from tests.fuzz.samples import Genuine, genuine
from tests.fuzz.story import play
from tests.fuzz.targets import NAMES, SIZE_MAX_BYTES, target

pytestmark = pytest.mark.unit

MUTATIONS = 200


def shortened(data: bytes, _size_max: int) -> bytes:
    """Mutate bytes as little as one can."""
    return data[:-1]


@pytest.fixture(name="said", scope="module")
def _said(tmp_path_factory: pytest.TempPathFactory) -> Genuine:
    return genuine("stripe", tmp_path_factory.mktemp("said"))


@pytest.mark.parametrize("name", NAMES)
def test_a_target_takes_whatever_it_is_given(name: str, tmp_path: Path) -> None:
    """Every seed, many mutations of them, and bytes that are no JSON break no law."""
    fuzzed = target(name, tmp_path)
    mutator = Mutator(fuzzed.words, fuzzed.seeds, shortened)
    for data in (*fuzzed.seeds, b"", b"\xff", b"[" * 5000, b"null", b'{"body": 7}', b'{"body": "", "headers": []}'):
        fuzzed.run(data)
    for number in range(MUTATIONS):
        seed, other = (fuzzed.seeds[(number * step) % len(fuzzed.seeds)] for step in (1, 7))
        changed = mutator.mutate(seed, SIZE_MAX_BYTES, number)
        fuzzed.run(mutator.cross(changed, other, SIZE_MAX_BYTES, number))


def test_a_mutation_is_json_and_another(said: Genuine) -> None:
    """What a mutator makes of JSON is JSON, the same for the same seed, and nearly always something else."""
    mutator = Mutator(said.words, [], shortened)
    whole = json.dumps(said.chapters[0]).encode()

    made = [mutator.mutate(whole, SIZE_MAX_BYTES, seed) for seed in range(100)]

    assert made == [mutator.mutate(whole, SIZE_MAX_BYTES, seed) for seed in range(100)]
    assert len(set(made) - {whole}) > 75
    assert whole == json.dumps(json.loads(whole)).encode()
    assert [] == [each for each in made if json.dumps(json.loads(each)).encode() != each]


def test_what_is_too_long_or_no_json_is_not_mutated_as_json(said: Genuine) -> None:
    """A mutation that grew too long is the input again, and broken JSON is left to the fuzzer's own mutation."""
    mutator = Mutator(said.words, [], shortened)
    whole = json.dumps(said.chapters[0]).encode()

    assert whole == mutator.mutate(whole, 10, 1)
    assert b"{" == mutator.mutate(b"{{", SIZE_MAX_BYTES, 1)
    assert b"{{" == mutator.cross(b"{{", whole, SIZE_MAX_BYTES, 1)


class Broken:
    """A platform that breaks one promise: the answer to everything is what it was made with."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Answer, or raise."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [KeyError("id"), None, "ignored", 7.5], ids=repr)
def test_a_broken_promise_is_noticed(said: Genuine, answer: Any) -> None:
    """A platform that raises anything else than its refusal, or answers anything else than a meaning, is found out."""
    broken = replace(said.case, platform=replace(said.case.platform, normalize=Broken(answer)))

    with pytest.raises((AssertionError, KeyError)):
        play(replace(said, case=broken), [said.chapters[0]])
