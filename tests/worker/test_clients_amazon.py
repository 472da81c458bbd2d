"""How the Receipt Verification Service is asked, against a server on this machine."""

import pytest

from config.platforms import Amazon
from schemas.meaning import Lookup, Missing
from tests.worker.platform_api import Api, serving
from worker.clients.amazon import AmazonClient
from worker.fetch import FetchFailed, HttpFetch

SECRET = "2:smXBjZkWCxDMSBvQ/8oBVsOGBAQ="
RECEIPT = {"receiptId": "q1YqVr:3:11", "productType": "SUBSCRIPTION", "cancelReason": None}
KEY = "l3HL7XppEMhrOGDgur9-ulvqomrSg6qyODKmah72lJU=/q1YqVr+a/b=:3:11"


@pytest.fixture(name="api")
async def _api():
    async with serving() as api:
        api.answer = RECEIPT
        yield api


@pytest.fixture(name="client")
async def _client(api: Api):
    async with HttpFetch() as fetch:
        yield AmazonClient(Amazon(shared_secret=SECRET, api=api.url), fetch, clock=lambda: 1_794_000_000.0)


@pytest.mark.parametrize(("kind", "before"), [("rvs", ""), ("rvs_sandbox", "/sandbox")])
async def test_secret_user_and_receipt_are_one_segment_each(client: AmazonClient, api: Api, kind, before):
    """Slashes, pluses, colons and equal signs arrive as they were, and tests are asked of the sandbox."""
    answer = await client.ask(Lookup(kind, KEY))

    assert ("answered", RECEIPT) == (answer.outcome, answer.fact)
    path = (
        f"{before}/version/1.0/verifyReceiptId"
        "/developer/2%3AsmXBjZkWCxDMSBvQ%2F8oBVsOGBAQ%3D"
        "/user/l3HL7XppEMhrOGDgur9-ulvqomrSg6qyODKmah72lJU%3D"
        "/receiptId/q1YqVr%2Ba%2Fb%3D%3A3%3A11"
    )
    assert [path] == [asked.path for asked in api.asked]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, "missing"),
        (410, "missing"),
        (497, "missing"),
        (496, "refused"),
        (429, "throttled"),
        (500, "failed"),
        (405, "rejected"),
    ],
)
async def test_each_status_means_one_thing(client: AmazonClient, api: Api, status, outcome):
    """No such receipt or user is an answer; a wrong secret says nothing of the receipt, and needs an operator."""
    api.status = status
    answer = await client.ask(Lookup("rvs", KEY))

    assert (outcome, Missing(status) if outcome == "missing" else None) == (answer.outcome, answer.fact)


async def test_a_key_without_a_receipt_is_not_sent(client: AmazonClient, api: Api):
    """Half a key would ask for something else."""
    with pytest.raises(FetchFailed, match="key_not_allowed"):
        await client.ask(Lookup("rvs", "l3HL7XppEMhrOGDgur9"))
    assert [] == api.asked


def test_the_secret_is_in_no_repr():
    """What a log would show of the section holds no secret."""
    assert SECRET not in repr(Amazon(shared_secret=SECRET))
