"""What every platform promises, in one suite over all of `PLATFORMS`.

Real: verification, reading and meaning, and the cryptography of the simulators that make the notifications. Double:
nothing. No network and no clock; `platform_cases.py` finds everything that belongs to a platform by its name.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.errors import Malformed, Rejected
from handlers.platforms import PLATFORMS
from schemas.entry import EntryKind, Said
from schemas.meaning import Confirm, Ignored, Lookup, Meaning, Missing, Quarantined
from schemas.received import Identity, KeyWanted
from tests.effort import law
from tests.handlers.json_edits import ANY_JSON, edits_of
from tests.handlers.platform_cases import (
    EMPTIED,
    NOW,
    SEALS,
    UNSIGNED_BODIES,
    Case,
    both_trusted,
    make,
    sale_of,
    shots_of,
    unwrap,
    wrap,
)
from worker.simulator.sale import Shot

pytestmark = pytest.mark.contract

ENDS = {EntryKind.REFUND_SUCCEEDED, EntryKind.REVOKED}
ANSWERS = ANY_JSON | st.builds(Missing, st.sampled_from([400, 404, 410]))
"""Whatever a look-up may answer: there is no such thing, or any JSON."""


@pytest.fixture(scope="module", params=sorted(PLATFORMS), name="case")
def _case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make(request.param, tmp_path_factory.mktemp("trust") / request.param)


@pytest.fixture(scope="module", name="other")
def _other(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Make a second trust of the same platform, for the same app."""
    return make(case.platform.name, tmp_path_factory.mktemp("other") / case.platform.name)


@pytest.fixture(scope="module", name="shots")
def _shots(case: Case) -> list[Shot]:
    return shots_of(case)


def test_every_platform_is_known_by_its_own_name() -> None:
    """The list of platforms goes by the names that they give themselves."""
    assert {name: name for name in PLATFORMS} == {name: platform.name for name, platform in PLATFORMS.items()}


# --- Who is believed


def test_genuine_notifications_are_believed(case: Case, shots: list[Shot]) -> None:
    """Whatever the simulator says genuinely is verified to a payload, and no key is missing."""
    for shot in shots:
        assert not isinstance(case.verify(shot), KeyWanted), shot.type


def test_every_forgery_is_refused(case: Case, shots: list[Shot]) -> None:
    """No forgery is believed: it is refused for a reason with a status, or names a key that nobody has."""
    for shot in shots:
        for name, forged in case.simulator.forge(shot, NOW):
            answer = answer_to(case, forged)
            if isinstance(answer, Rejected):
                assert answer.status_hint in {400, 401, 403}, name
                assert re.fullmatch(r"[a-z0-9_]+", answer.reason), name
            else:
                assert isinstance(answer, KeyWanted), name
                assert answer.name not in case.keys, name


def test_nothing_is_believed_under_another_trust(case: Case, other: Case, shots: list[Shot]) -> None:
    """What one key signed proves nothing to an app that trusts another."""
    for shot in shots:
        assert not believed(other, shot), shot.type


@law
@given(data=st.data())
def test_no_byte_of_what_is_signed_can_change(case: Case, shots: list[Shot], data: st.DataObject) -> None:
    """A body with one byte changed is not believed, unless it is read as exactly the same."""
    if case.platform.name in UNSIGNED_BODIES:
        return
    shot = data.draw(st.sampled_from(shots))
    changed = replace(shot, body=flipped(shot.body, data))

    assert not believed(case, changed, but=case.read(shot))


@law
@given(data=st.data())
def test_no_byte_of_the_proof_can_change(case: Case, shots: list[Shot], data: st.DataObject) -> None:
    """A header that carries the proof is not believed with one byte changed, unless it means the same."""
    header = SEALS.get(case.platform.name)
    if header is None:
        return
    shot = data.draw(st.sampled_from(shots))
    headers = case.received(shot).headers
    changed = flipped(headers[header].encode(), data).decode("latin-1")

    assert not believed(case, replace(shot, headers={**headers, header: changed}), but=case.read(shot))


@given(body=st.binary(max_size=200), seal=st.text(max_size=200))
def test_anything_at_the_door_is_refused_without_a_crash(case: Case, body: bytes, seal: str) -> None:
    """Arbitrary bytes and headers end in `Rejected`, never in another exception."""
    shot = Shot("noise", body, {SEALS.get(case.platform.name, "x"): seal})

    assert not believed(case, shot)


def test_headers_are_not_enough(case: Case, shots: list[Shot]) -> None:
    """Without any header, what a header proves is not proved; what the body proves still is."""
    for shot in shots:
        assert believed(case, replace(shot, headers={})) is (case.platform.name not in SEALS)


# --- How it is read


def test_reading_again_gives_what_was_verified(case: Case, shots: list[Shot]) -> None:
    """The worker that reads the stored bytes sees exactly what the door believed."""
    for shot in shots:
        assert case.verify(shot) == case.read(shot)


@given(data=st.data())
def test_a_truncated_body_is_refused(case: Case, shots: list[Shot], data: st.DataObject) -> None:
    """No beginning of a notification is a notification."""
    shot = data.draw(st.sampled_from(shots))
    cut = replace(shot, body=shot.body[: data.draw(st.integers(0, len(shot.body) - 1))])

    refused_when_read(case, cut)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"1",
        b'"text"',
        b"[]",
        b"[{}]",
        b"NaN",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\u0000"}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"notification=1&type=REFUND",
        b"<xml/>",
        b"[" * 100_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"9" * 10_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_of_another_kind_is_refused(case: Case, shots: list[Shot], body: bytes) -> None:
    """What is not the platform's JSON is malformed, whoever vouches for it."""
    refused_when_read(case, replace(shots[0], body=body))


def test_an_object_that_says_nothing_is_not_believed(case: Case, shots: list[Shot]) -> None:
    """An empty object is no notification of this app, even if it is well-formed."""
    assert not believed(case, replace(shots[0], body=b"{}"))


def test_a_duplicate_key_is_refused(case: Case, shots: list[Shot]) -> None:
    """A body that says something twice is malformed: two readers might believe different halves."""
    for shot in shots:
        refused_when_read(case, replace(shot, body=shot.body.replace(b"{", b'{"said": 1, "said": 2, ', 1)))


# --- What it is called and what it means


def test_a_notification_keeps_its_name(case: Case, shots: list[Shot]) -> None:
    """The same bytes are named the same each time, in production or in the sandbox if the platform says which."""
    for shot in shots:
        identity = case.identify(shot)
        assert identity == case.identify(shot) == case.platform.identify(case.read(shot))
        assert identity.id
        assert identity.type
        assert (identity.environment is not None) is case.platform.tells_environment


def test_two_notifications_never_share_a_name(case: Case) -> None:
    """Every notification has a name of its own, even two that say the same at the same moment."""
    identities = [case.identify(shot) for shot in shots_of(case) + shots_of(case)]

    for one, another in combinations(identities, 2):
        assert (one.scope, one.id) != (another.scope, another.id)


@pytest.mark.parametrize("subscription", [True, False], ids=["plan", "level pack"])
def test_purchases_and_refunds_have_a_meaning(case: Case, subscription: bool) -> None:  # noqa: FBT001 - a parameter
    """A purchase and a refund each become entries about a purchase, and the refund takes something away."""
    sale = sale_of(case.platform.name, subscription=subscription)

    bought = meaning(case, case.simulator.purchase(sale, NOW))
    refunded = meaning(case, case.simulator.refund(sale, NOW))

    assert isinstance(bought, Meaning)
    assert isinstance(refunded, Meaning)
    assert ENDS & {said.kind for said in refunded.said}
    assert all(names_something(said) for said in (*bought.said, *refunded.said))


@pytest.mark.parametrize("subscription", [True, False], ids=["plan", "level pack"])
def test_platform_and_backend_together_say_who_bought_what(case: Case, subscription: bool) -> None:  # noqa: FBT001 - a parameter
    """What the notification leaves out, the app's backend tells: user and product are known in the end."""
    sale = sale_of(case.platform.name, subscription=subscription)
    told = case.backend(sale)
    bought = meaning(case, case.simulator.purchase(sale, NOW))
    assert isinstance(bought, Meaning)
    facts = [said.facts for said in bought.said]

    if told is None:
        assert sale.user_id in {fact.user_id for fact in facts}
        assert sale.product_id in {fact.product_id for fact in facts}
    else:
        assert case.platform.name == told["platform"]
        expected = (sale.purchase_id, sale.product_id, sale.user_id)
        assert expected == (told["purchase_id"], told["product_id"], told["user_id"])


@law
@given(data=st.data())
def test_every_notification_has_some_meaning(case: Case, shots: list[Shot], data: st.DataObject) -> None:
    """Whatever JSON stands in a notification, and whatever a look-up answers, it ends in a value or `Malformed`."""
    name = case.platform.name
    shot = data.draw(st.sampled_from(shots))
    says = data.draw(ANY_JSON | edits_of(unwrap(name, shot)))
    try:
        payload = case.read(wrap(name, shot, says))
        identity = case.platform.identify(payload)
        needs = case.platform.needs(payload)
        facts: dict[Lookup, Any] = {need: data.draw(ANSWERS) for need in needs if data.draw(st.booleans())}
        found = case.platform.normalize(payload, facts, settings=case.settings)
    except Malformed:
        return

    assert isinstance(identity, Identity)
    assert isinstance(found, Meaning | Ignored | Quarantined | Confirm)
    if isinstance(found, Meaning):
        assert found.said
        assert all(names_something(said) for said in found.said)


@law
@given(facts=st.lists(ANSWERS, min_size=4, max_size=4))
def test_a_look_up_may_answer_anything(case: Case, shots: list[Shot], facts: list[Any]) -> None:
    """A genuine notification keeps some meaning whatever its look-ups answer."""
    for shot in shots:
        payload = case.read(shot)
        answers = dict(zip(case.platform.needs(payload), facts, strict=False))

        found = case.platform.normalize(payload, answers, settings=case.settings)

        assert isinstance(found, Meaning | Ignored | Quarantined)
        assert not isinstance(found, Meaning) or not gone(answers) & set(found.unlearned)


# --- Whose secrets


def test_two_credentials_hold_at_once(case: Case, other: Case) -> None:
    """While credentials are rotated, what the old one signs and what the new one signs are both believed."""
    both = both_trusted(old=case, new=other)

    for signer in (case, other):
        for shot in shots_of(signer):
            assert believed(both, shot), shot.type


def test_a_section_without_its_secret_is_off(case: Case) -> None:
    """Nothing is ever verified against an empty key: such a section is not enabled, and believes nothing."""
    section = type(case.settings)
    emptied = case.settings.model_copy(update=EMPTIED[case.platform.name])

    assert case.settings.enabled is True
    assert section().enabled is False
    assert emptied.enabled is False
    for nothing in (section(), emptied):
        assert not believed(
            case.trusting(nothing), case.simulator.purchase(sale_of(case.platform.name, subscription=True), NOW)
        )


def believed(case: Case, shot: Shot, *, but: Any = None) -> bool:
    """Tell whether a shot is believed to say anything except `but`."""
    answer = answer_to(case, shot)
    return not isinstance(answer, Rejected | KeyWanted) and answer != but


def answer_to(case: Case, shot: Shot) -> Any:
    """Verify, and give back what comes of it: a payload, a key that is missing, or the refusal."""
    try:
        return case.verify(shot)
    except Rejected as refused:
        return refused


def refused_when_read(case: Case, shot: Shot) -> None:
    """Expect `Malformed` of reading, and some refusal of verifying."""
    with pytest.raises(Malformed):
        case.read(shot)
    assert not believed(case, shot)


def flipped(raw: bytes, data: st.DataObject) -> bytes:
    """Change one byte, mostly by a single bit."""
    at = data.draw(st.integers(0, len(raw) - 1))
    bits = data.draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]) | st.integers(1, 255))
    return raw[:at] + bytes([raw[at] ^ bits]) + raw[at + 1 :]


def meaning(case: Case, shot: Shot) -> Any:
    """Verify, and say what it means without any look-up."""
    return case.platform.normalize(case.verify(shot), {}, settings=case.settings)


def gone(answers: Mapping[Lookup, Any]) -> set[Lookup]:
    """List what was asked for and is not there: such an answer is final, and nobody asks again."""
    return {lookup for lookup, answer in answers.items() if isinstance(answer, Missing)}


def names_something(said: Said) -> bool:
    """Tell whether an entry can be found by anything."""
    subject = said.subject
    return any((subject.purchase_id, *subject.aliases, *subject.lineage, *subject.kin))
