"""Contract of `local.patches.mail`: what an e-mail subscriber gets can be read."""

import json
from typing import Any

import pytest

from local.aws import LocalAws


@pytest.fixture
def topic(aws: LocalAws, unique: str) -> str:
    """A topic's ARN."""
    arn: str = aws.client("sns").create_topic(Name=unique)["TopicArn"]
    return arn


def _subscribe(aws: LocalAws, topic: str, protocol: str, endpoint: str, **attributes: str) -> None:
    aws.client("sns").subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint, Attributes=attributes)


def _mail(aws: LocalAws, topic: str) -> list[dict[str, Any]]:
    return [mail for mail in aws.mail() if mail["topic_arn"] == topic]


def test_an_email_subscriber_gets_the_text_meant_for_e_mail(aws: LocalAws, topic: str) -> None:
    """Of a message structure, `email`, with the subject; the topic's other protocols get the default."""
    _subscribe(aws, topic, "email", "ops@example.com")
    message = json.dumps({"default": '{"Failed": []}', "email": "Two nodes failed."})
    aws.client("sns").publish(TopicArn=topic, Message=message, MessageStructure="json", Subject="HyperPod")
    (mail,) = _mail(aws, topic)
    assert (mail["to"], mail["subject"], mail["message"]) == ("ops@example.com", "HyperPod", "Two nodes failed.")


def test_without_a_text_for_e_mail_the_default_is_sent(aws: LocalAws, topic: str) -> None:
    """Also each entry of a batch; without a subject AWS writes its own."""
    _subscribe(aws, topic, "email", "ops@example.com")
    entries = [
        {"Id": "1", "Message": json.dumps({"default": "one"}), "MessageStructure": "json"},
        {"Id": "2", "Message": "two", "Subject": "second"},
    ]
    aws.client("sns").publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    sent = [(mail["subject"], mail["message"]) for mail in _mail(aws, topic)]
    assert sent == [("AWS Notification Message", "one"), ("second", "two")]


def test_an_email_subscriber_gets_only_what_the_filter_policy_lets_through(aws: LocalAws, topic: str) -> None:
    """Message attributes decide, a String.Array by any of its values."""
    policy = json.dumps({"ErrorCodes": ["InstanceIdInUse"]})
    _subscribe(aws, topic, "email", "ops@example.com", FilterPolicy=policy)
    for codes in (["InstanceIdInUse", "Paused"], ["Paused"]):
        value = {"DataType": "String.Array", "StringValue": json.dumps(codes)}
        aws.client("sns").publish(TopicArn=topic, Message=",".join(codes), MessageAttributes={"ErrorCodes": value})
    assert [mail["message"] for mail in _mail(aws, topic)] == ["InstanceIdInUse,Paused"]
    aws.admin("DELETE", "/_local/mail")
    assert _mail(aws, topic) == []
