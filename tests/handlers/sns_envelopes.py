"""SNS envelopes as AWS documents them, unsigned: each test signs what it needs."""

import json
from collections.abc import Mapping
from typing import Any

from handlers import sns

ARN = "arn:aws:sns:us-east-2:123456789012:acme-appstore"
TOPIC = sns.parse_topic(ARN)
HOST = "https://sns.us-east-2.amazonaws.com"
CERT_URL = f"{HOST}/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem"
SIGNED_AT_MS = 1_548_909_424_321
TOKEN = "2336412f37fb687f5d51e6e241dbca538a2ea55b6c8c10ab12a3a1f57e3f9d7e"

NOTIFICATION = {
    "Type": "Notification",
    "MessageId": "4d4dc071-ddbf-465d-bba8-08f81c89da64",
    "TopicArn": ARN,
    "Subject": "My subject",
    "Message": "My Test Message",
    "Timestamp": "2019-01-31T04:37:04.321Z",
    "SignatureVersion": "2",
    "Signature": "",
    "SigningCertURL": CERT_URL,
    "UnsubscribeURL": f"{HOST}/?Action=Unsubscribe&SubscriptionArn={ARN}:c9135db0-26c4-47ec-8998-413945fb5a96",
}
CONFIRMATION = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "3d891288-136d-417f-bc05-901c108273ee",
    "Token": TOKEN,
    "TopicArn": ARN,
    "Message": f"You have chosen to subscribe to the topic {ARN}.\nTo confirm, visit the SubscribeURL.",
    "SubscribeURL": f"{HOST}/?Action=ConfirmSubscription&TopicArn={ARN}&Token={TOKEN}",
    "Timestamp": "2019-01-31T04:37:04.321Z",
    "SignatureVersion": "2",
    "Signature": "",
    "SigningCertURL": CERT_URL,
}
UNSUBSCRIBED = {**CONFIRMATION, "Type": "UnsubscribeConfirmation"}


def parse(envelope: Mapping[str, Any]) -> sns.Envelope:
    """Read an envelope as it would arrive."""
    return sns.parse(json.dumps(envelope).encode())
