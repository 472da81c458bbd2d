"""Who publishes keys to tests of trust, and who asks: a `fetch` that answers from a list, a clock, an app."""

import asyncio
from types import SimpleNamespace

from config.platforms import Amazon

CERT_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem"
SHOP = Amazon(package_name="com.acme.weather", topic_arns=("arn:aws:sns:us-east-1:123456789012:acme",))


def app(apple=None, google=None, amazon=None):
    """Give an app with the sections that are told."""
    return SimpleNamespace(apple=apple, google=google, amazon=amazon)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        """Read the clock."""
        return self.now


class Publisher:
    """Answer each fetch with what is next, the last one for ever, and count."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.was_asked = asyncio.Event()

    async def __call__(self, url):
        """Answer after giving others their turn."""
        self.asked.append(url)
        self.was_asked.set()
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def itself(payload):
    """Identify a payload by all that it is."""
    return payload
