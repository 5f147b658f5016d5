"""Contracts of `local.patches.rule_targets` and `local.patches.event_time`: what happens to an event on the bus."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from local.aws import LocalAws, LocalAwsError
from tests.local.support import Queue

MakeQueue = Callable[..., Queue]
MakeRule = Callable[..., str]
_EVENTS = "events.amazonaws.com"


@pytest.fixture
def make_rule(aws: LocalAws, unique: str) -> MakeRule:
    """Makes a rule for the source `unique` with one target; returns its ARN."""
    client = aws.client("events")

    def make(target_arn: str, source: str = unique, **target: Any) -> str:
        rule: str = client.put_rule(Name=unique, EventPattern=json.dumps({"source": [source]}))["RuleArn"]
        client.put_targets(Rule=unique, Targets=[{"Id": "1", "Arn": target_arn, **target}])
        return rule

    return make


def _entry(source: str, **more: Any) -> dict[str, Any]:
    return {"Source": source, "DetailType": "test", "Detail": json.dumps({"n": 1}), **more}


def test_an_event_reaches_a_queue_that_allows_the_rule(
    aws: LocalAws, unique: str, make_queue: MakeQueue, make_rule: MakeRule
) -> None:
    """With the envelope that AWS documents."""
    queue = make_queue()
    queue.allow(_EVENTS, make_rule(queue.arn))
    aws.client("events").put_events(Entries=[_entry(unique)])
    event = json.loads(queue.take()[0]["Body"])
    assert (event["source"], event["detail-type"], event["detail"]) == (unique, "test", {"n": 1})
    assert (event["account"], event["region"]) == (aws.account, aws.region)


@pytest.mark.parametrize(
    ("refusal", "code"), [("no policy", "NO_PERMISSIONS"), ("other rule", "NO_PERMISSIONS"), ("missing", "NO_RESOURCE")]
)
def test_an_event_that_a_queue_does_not_take_goes_to_the_rules_dead_letter_queue(
    *, refusal: str, code: str, aws: LocalAws, unique: str, make_queue: MakeQueue, make_rule: MakeRule
) -> None:
    """With attributes that say which rule, which target and why."""
    queue, dead = make_queue(), make_queue("dead")
    target = f"{queue.arn}-missing" if refusal == "missing" else queue.arn
    rule = make_rule(target, DeadLetterConfig={"Arn": dead.arn})
    dead.allow(_EVENTS, rule)
    if refusal == "other rule":
        queue.allow(_EVENTS, f"{rule}-other")
    aws.client("events").put_events(Entries=[_entry(unique)])
    (message,) = dead.take()
    assert json.loads(message["Body"])["source"] == unique
    values = {name: attribute["StringValue"] for name, attribute in message["MessageAttributes"].items()}
    assert values.pop("ERROR_MESSAGE")
    assert values == {"RULE_ARN": rule, "TARGET_ARN": target, "ERROR_CODE": code}
    assert queue.count() == 0


def test_aws_sources_are_for_the_admin_api_only(
    aws: LocalAws, unique: str, make_queue: MakeQueue, make_rule: MakeRule
) -> None:
    """PutEvents refuses them as AWS does; `put_events` of the local AWS does not."""
    queue, source = make_queue(), f"aws.{unique}"
    queue.allow(_EVENTS, make_rule(queue.arn, source=source))
    answer = aws.client("events").put_events(Entries=[_entry(source)])
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"
    aws.put_events(_entry(source))
    assert json.loads(queue.take()[0]["Body"])["source"] == source
    assert queue.count() == 1


def test_an_event_has_the_time_that_its_sender_claims(
    aws: LocalAws, unique: str, make_queue: MakeQueue, make_rule: MakeRule
) -> None:
    """Entry by entry."""
    queue = make_queue()
    queue.allow(_EVENTS, make_rule(queue.arn))
    times = ["2026-01-01T10:00:00Z", "2025-06-01T00:00:00Z"]
    aws.put_events(*(_entry(unique, Time=time) for time in times), _entry(unique))
    delivered = [json.loads(message["Body"])["time"] for message in queue.take(3)]
    assert delivered[:2] == times
    assert delivered[2] > max(times)


def test_refused_admin_events_are_an_error(aws: LocalAws) -> None:
    """More than 10 entries are refused as by PutEvents."""
    with pytest.raises(LocalAwsError, match="10"):
        aws.put_events(*[_entry("x")] * 11)
