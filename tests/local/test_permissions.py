"""Contracts of `local.patches.authorisation` and `secure_transport`: IAM is enforced."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import LocalAws
from tests.local.support import Queue

MakeQueue = Callable[..., Queue]
MakeUser = Callable[..., dict[str, str]]


def _allow(action: str, resource: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def _code(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return str(refused.value.response["Error"]["Code"])


def test_batch_calls_on_a_queue_take_the_single_calls_permission(
    aws: LocalAws, make_queue: MakeQueue, make_user: MakeUser
) -> None:
    """SendMessage, ChangeMessageVisibility and DeleteMessage suffice."""
    queue = make_queue()
    user = make_user(
        *(_allow(f"sqs:{name}Message", queue.arn) for name in ("Send", "Receive", "Delete")),
        _allow("sqs:ChangeMessageVisibility", queue.arn),
    )
    sqs = aws.client("sqs", **user)
    assert sqs.send_message_batch(QueueUrl=queue.url, Entries=[{"Id": "1", "MessageBody": "x"}])["Successful"]
    (message,) = sqs.receive_message(QueueUrl=queue.url)["Messages"]
    entry = {"Id": "1", "ReceiptHandle": message["ReceiptHandle"]}
    change = {**entry, "VisibilityTimeout": 60}
    assert sqs.change_message_visibility_batch(QueueUrl=queue.url, Entries=[change])["Successful"]
    assert sqs.delete_message_batch(QueueUrl=queue.url, Entries=[entry])["Successful"]


def test_batch_calls_without_the_single_calls_permission_are_denied(
    aws: LocalAws, make_queue: MakeQueue, make_user: MakeUser
) -> None:
    """There is no permission called SendMessageBatch."""
    queue = make_queue()
    sqs = aws.client("sqs", **make_user(_allow("sqs:SendMessageBatch")))
    code = _code(sqs.send_message_batch, QueueUrl=queue.url, Entries=[{"Id": "1", "MessageBody": "x"}])
    assert "AccessDenied" in code


def test_putting_events_is_allowed_by_their_source_and_detail_type(aws: LocalAws, make_user: MakeUser) -> None:
    """One that differs spoils the call."""
    keys = {"events:source": "team.app", "events:detail-type": "Done"}
    user = make_user({**_allow("events:PutEvents"), "Condition": {"StringEquals": keys}})
    events = aws.client("events", **user)
    entry = {"Source": "team.app", "DetailType": "Done", "Detail": "{}"}
    assert events.put_events(Entries=[entry, entry])["FailedEntryCount"] == 0
    for other in ({"Source": "aws.app"}, {"DetailType": "Begun"}):
        assert "AccessDenied" in _code(events.put_events, Entries=[entry, {**entry, **other}])


def test_publishing_a_batch_takes_the_permission_to_publish(aws: LocalAws, unique: str, make_user: MakeUser) -> None:
    """And nothing else."""
    topic = aws.client("sns").create_topic(Name=unique)["TopicArn"]
    sns = aws.client("sns", **make_user(_allow("sns:Publish", topic)))
    assert sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "1", "Message": "x"}])["Successful"]


def test_alarm_tags_are_allowed_by_the_alarms_arn(aws: LocalAws, unique: str, make_user: MakeUser) -> None:
    """A permission for a prefix of alarm names holds for these and no others."""
    names = [f"{prefix}-{unique}" for prefix in ("mine", "other")]
    arns = [f"arn:aws:cloudwatch:{aws.region}:{aws.account}:alarm:{name}" for name in names]
    for name in names:
        aws.client("cloudwatch").put_composite_alarm(
            AlarmName=name, AlarmRule="FALSE", Tags=[{"Key": "k", "Value": "v"}]
        )
    cloudwatch = aws.client(
        "cloudwatch", **make_user(_allow("cloudwatch:ListTagsForResource", arns[0].removesuffix(unique) + "*"))
    )
    assert cloudwatch.list_tags_for_resource(ResourceARN=arns[0])["Tags"] == [{"Key": "k", "Value": "v"}]
    assert "AccessDenied" in _code(cloudwatch.list_tags_for_resource, ResourceARN=arns[1])


def test_moving_letters_is_allowed_by_the_source_queues_arn(
    aws: LocalAws, make_queue: MakeQueue, make_user: MakeUser
) -> None:
    """With the permissions to take from it and to send to the other."""
    source, target = make_queue("source"), make_queue("target")
    source.set(RedrivePolicy={"deadLetterTargetArn": target.arn, "maxReceiveCount": 1})
    names = ("StartMessageMoveTask", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    statements = [_allow(f"sqs:{name}", target.arn) for name in names]
    sqs = aws.client("sqs", **make_user(*statements, _allow("sqs:SendMessage", source.arn)))
    assert sqs.start_message_move_task(SourceArn=target.arn, DestinationArn=source.arn)["TaskHandle"]
    assert "AccessDenied" in _code(sqs.start_message_move_task, SourceArn=source.arn, DestinationArn=target.arn)


def test_policies_that_enforce_tls_let_everyone_in_here(aws: LocalAws, make_queue: MakeQueue) -> None:
    """`aws:SecureTransport` is true, for callers and for deliveries between services."""
    queue, sns = make_queue(), aws.client("sns")
    topic = sns.create_topic(Name=queue.arn.rsplit(":", 1)[1])["TopicArn"]
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": queue.arn, "Condition": insecure}
    allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    statements = [deny, {**allow, "Resource": queue.arn}]
    queue.set(Policy={"Version": "2012-10-17", "Statement": statements})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn, Attributes={"RawMessageDelivery": "true"})
    sns.publish(TopicArn=topic, Message="delivered")
    queue.send("sent")
    assert [message["Body"] for message in queue.take(2)] == ["delivered", "sent"]
