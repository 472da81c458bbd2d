"""How the Play Developer API is asked, against a server on this machine that answers in every way."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as make_ec_key
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from config.platforms import Google
from schemas.meaning import Lookup, Missing
from tests.worker.platform_api import ACCESS_TOKEN, ACCOUNT_KEY, EMAIL, Api, serving, write_key
from worker.clients.google import GoogleClient
from worker.clients.google_key import KeyFileError, read_service_account
from worker.fetch import FetchFailed, HttpFetch

NOW = 1_794_000_000.0
APPLICATION = "/androidpublisher/v3/applications/com.acme.app"
ANNUAL_PLAN = Lookup("subscriptionsv2", "kfpjhbgn.AO-J1Ox/annual")
SUBSCRIPTION = {"kind": "androidpublisher#subscriptionPurchaseV2", "lineItems": [{"productId": "pro.annual"}]}


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: float = NOW

    def __call__(self) -> float:
        """Read it."""
        return self.now


@pytest.fixture(name="api")
async def _api():
    async with serving() as api:
        api.answer = SUBSCRIPTION
        yield api


@pytest.fixture(name="clock")
def _clock():
    return Clock()


@pytest.fixture(name="client")
async def _client(api: Api, clock: Clock, tmp_path: Path):
    section = Google(
        package_name="com.acme.app", service_account_key=str(write_key(tmp_path / "key.json", api)), api=api.url
    )
    async with HttpFetch() as fetch:
        yield GoogleClient(section, fetch, clock=clock)


@pytest.mark.parametrize(
    ("lookup", "path"),
    [
        (ANNUAL_PLAN, f"{APPLICATION}/purchases/subscriptionsv2/tokens/kfpjhbgn.AO-J1Ox%2Fannual"),
        (Lookup("productsv2", "coins+100"), f"{APPLICATION}/purchases/productsv2/tokens/coins%2B100"),
        (Lookup("orders", "GPA.3345-1234..0"), f"{APPLICATION}/orders/GPA.3345-1234..0"),
    ],
)
async def test_each_kind_has_its_address(client: GoogleClient, api: Api, lookup, path):
    """A key is one segment of the path, whatever is in it, and the token goes in a header."""
    answer = await client.ask(lookup)

    assert ("answered", SUBSCRIPTION) == (answer.outcome, answer.fact)
    assert ["GET", path] == [api.asked[0].verb, api.asked[0].path]
    assert f"Bearer {ACCESS_TOKEN}" == api.asked[0].headers["Authorization"]


async def test_a_token_is_traded_for_a_signed_assertion(client: GoogleClient, api: Api):
    """The grant carries claims that our key signed: who, what for, to whom, and for an hour at most."""
    await client.ask(ANNUAL_PLAN)
    form = parse_qs(api.granted[0].body)
    signed, _, signature = form["assertion"][0].rpartition(".")
    header, claims = (json.loads(_decode(part)) for part in signed.split("."))

    ACCOUNT_KEY.public_key().verify(_decode(signature), signed.encode(), PKCS1v15(), SHA256())
    assert ["urn:ietf:params:oauth:grant-type:jwt-bearer"] == form["grant_type"]
    assert {"alg": "RS256", "typ": "JWT", "kid": "key-of-march"} == header
    assert {
        "iss": EMAIL,
        "scope": "https://www.googleapis.com/auth/androidpublisher",
        "aud": f"{api.url}/token",
        "iat": NOW,
        "exp": NOW + 3600,
    } == claims


async def test_a_token_is_kept_until_shortly_before_it_expires(client: GoogleClient, api: Api, clock: Clock):
    """One grant serves an hour's questions, and the next one comes before Google would refuse."""
    await client.ask(ANNUAL_PLAN)
    clock.now += 3_400
    await client.ask(ANNUAL_PLAN)
    assert 1 == len(api.granted)

    clock.now += 100
    await client.ask(ANNUAL_PLAN)
    assert 2 == len(api.granted)


async def test_a_token_that_was_taken_back_is_replaced_once(client: GoogleClient, api: Api):
    """A kept token that is refused is traded anew before anybody is alarmed; a new one that is refused alarms."""
    await client.ask(ANNUAL_PLAN)
    api.status = 401
    answer = await client.ask(ANNUAL_PLAN)

    assert ("refused", 401) == (answer.outcome, answer.status)
    assert (2, 3) == (len(api.granted), len(api.asked))


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (404, {}, "missing"),
        (410, {}, "missing"),
        (400, {}, "rejected"),
        (302, {}, "rejected"),
        (403, {"error": {"code": 403, "errors": [{"reason": "permissionDenied"}]}}, "refused"),
        (403, {"error": {"code": 403, "errors": [{"reason": "rateLimitExceeded"}]}}, "throttled"),
        (403, {"error": {"code": 403, "errors": ["rateLimitExceeded"]}}, "refused"),
        (403, {"error": "rateLimitExceeded"}, "refused"),
        (403, b"<html>", "refused"),
        (429, {}, "throttled"),
        (503, {}, "failed"),
        (200, b"<html>", "failed"),
        (200, [], "failed"),
        (200, b'{"orderId": 1, "orderId": 2}', "failed"),
    ],
)
async def test_each_status_means_one_thing(client: GoogleClient, api: Api, status, body, outcome):
    """Gone is an answer; refused needs an operator; busy and broken pass; a page that is no JSON teaches nothing."""
    api.status, api.answer = status, body
    answer = await client.ask(ANNUAL_PLAN)

    assert (outcome, status) == (answer.outcome, answer.status)
    assert (Missing(status) if outcome == "missing" else None) == answer.fact


@pytest.mark.parametrize(
    ("status", "token", "outcome", "reason"),
    [
        (400, {"error": "invalid_grant"}, "refused", "token_status_400"),
        (401, {"error": "invalid_client"}, "refused", "token_status_401"),
        (404, {}, "refused", "token_status_404"),
        (503, {}, "failed", "token_status_503"),
        (200, {"access_token": "split\r\nX-Evil: 1", "expires_in": 3599}, "failed", "token_unreadable"),
        (200, {"access_token": ACCESS_TOKEN}, "failed", "token_unreadable"),
        (200, b"soon", "failed", "token_not_json"),
    ],
)
async def test_without_a_token_nothing_is_asked(client: GoogleClient, api: Api, status, token, outcome, reason):
    """What the token endpoint says is never taken for an answer about a purchase."""
    api.token_status, api.token = status, token
    answer = await client.ask(ANNUAL_PLAN)

    assert (outcome, reason, None, []) == (answer.outcome, answer.reason, answer.fact, api.asked)


@pytest.mark.parametrize("key", ["", ".", ".."])
async def test_no_key_names_another_place(client: GoogleClient, api: Api, key):
    """What a path would resolve away is not sent."""
    with pytest.raises(FetchFailed, match="key_not_allowed"):
        await client.ask(Lookup("orders", key))
    assert ([], []) == (api.asked, api.granted)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"type": "authorized_user"}, "is not the JSON key of a service account"),
        ({"client_email": None}, "has no client_email"),
        ({"private_key_id": 7}, "has no private_key_id"),
        ({"private_key": "-----BEGIN"}, "cannot be read"),
        ({"token_uri": "http://oauth2.googleapis.com/token"}, "is not https://"),
        ({"token_uri": "http://127.0.0.1/token"}, "is not https://"),
    ],
)
def test_only_the_key_of_a_service_account_is_taken(tmp_path: Path, changes, says):
    """A key file that is another thing is named as such, and nothing of what is in it."""
    file = write_key(tmp_path / "key.json", **changes)
    with pytest.raises(KeyFileError, match=says) as refused:
        read_service_account(file, api="https://androidpublisher.googleapis.com")
    assert "BEGIN" not in str(refused.value)


def test_only_rsa_signs(tmp_path: Path):
    """Google takes RS256 and nothing else."""
    curve = make_ec_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(KeyFileError, match="is not RSA"):
        read_service_account(write_key(tmp_path / "key.json", private_key=curve), api="https://a.example")


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file"), (b"BEGIN", "is not JSON"), (b" " * 70_000, "too large")]
)
def test_a_file_that_is_no_key_is_named_as_such(tmp_path: Path, content, says):
    """Absent, garbage or endless: each is said."""
    file = tmp_path / "key.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(KeyFileError, match=says):
        read_service_account(file, api="https://a.example")


def test_a_key_on_https_is_taken_and_tells_nothing(tmp_path: Path):
    """Google's own token address is taken, and the private key is not in what a log would show."""
    account = read_service_account(write_key(tmp_path / "key.json"), api="https://androidpublisher.googleapis.com")

    assert "https://oauth2.googleapis.com/token" == account.token_uri
    assert "RSAPrivateKey" not in repr(account)


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
