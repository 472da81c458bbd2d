"""Confirm an SNS subscription by visiting its address: only where the app's configuration says so.

The address comes out of a notification, so `handlers/sns.py` has already held it to the strict form (an SNS host of
the topic's own region, this token and this topic, nothing else): https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.confirm.html
"""

import asyncio

import structlog

from schemas.meaning import Confirm
from worker.fetch import Fetched, FetchFailed, HttpFetch

log = structlog.get_logger()


def visit(confirm: Confirm) -> bool:
    """Visit the address once, from a thread without an event loop; tell whether the answer was 200.

    No redirect is followed, the answer's body is not read beyond its cap, and neither is logged: both hold the token.
    """
    try:
        answer = asyncio.run(_fetch(confirm.url))
    except FetchFailed as failed:
        log.warning("confirm.failed", topic=confirm.topic, reason=failed.reason)
        return False
    log.info("confirm.visited", topic=confirm.topic, status=answer.status)
    return answer.status == 200


async def _fetch(url: str) -> Fetched:
    async with HttpFetch() as fetch:
        return await fetch(url)
