"""CloudWatch alarms in the three forms that they arrive in; payloads without a sample follow the documentation."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from node_remediation import events
from node_remediation.events import Reading
from node_remediation.events.alarm import children_of
from node_remediation.model import Alarm, Composite, IdKind, Node, Outcome, Report, Settled, Trigger
from tests.unit.fakes import NOW, instance_id, sample, unmuted

NODE = instance_id(1)
ARN = "arn:aws:cloudwatch:us-west-2:111122223333:alarm:hyperpod-xid"
CHILD = "arn:aws:cloudwatch:us-west-2:111122223333:alarm:child"
SQL = 'SELECT MAX(x) FROM SCHEMA("n", InstanceId) GROUP BY InstanceId'


def read(event: object, sent: datetime = NOW) -> Reading:
    readings = events.read(json.dumps(event), message_id="m-1", sent=sent)
    assert len(readings) == 1
    return readings[0]


def report(event: object) -> Report:
    reading = read(event)
    assert isinstance(reading, Report)
    return reading


def settled(event: object) -> tuple[str, str | None]:
    reading = read(event)
    assert isinstance(reading, Settled)
    return reading.outcome.value, reading.code


def stat(**dimensions: str) -> dict[str, Any]:
    return {"id": "m", "metricStat": {"metric": {"name": "n", "dimensions": dimensions}, "period": 60}}


def change(*metrics: dict[str, Any], state: str = "ALARM", **detail: Any) -> dict[str, Any]:
    """An alarm's change of state as EventBridge delivers it."""
    return {
        "id": "event-1",
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "time": NOW.isoformat(),
        "resources": [ARN],
        "detail": {
            "alarmName": "hyperpod-xid",
            "state": {"value": state, "reason": "crossed", "timestamp": NOW.isoformat()},
            "configuration": {"metrics": list(metrics)},
        }
        | detail,
    }


def pairs(**dimensions: str) -> list[dict[str, str]]:
    return [{"value": value, "name": name} for name, value in dimensions.items()]


def sns(trigger: object = None, **fields: Any) -> dict[str, Any]:
    """What an alarm publishes to a topic."""
    return {
        "AlarmName": "hyperpod-xid",
        "AlarmDescription": None,
        "AWSAccountId": "111122223333",
        "NewStateValue": "ALARM",
        "NewStateReason": "Threshold Crossed",
        "StateChangeTime": "2026-11-23T02:13:37.250+0000",
        "Region": "US West (Oregon)",
        "AlarmArn": ARN,
        "OldStateValue": "OK",
        "Trigger": trigger if trigger is not None else {"MetricName": "n", "Dimensions": pairs(InstanceId=NODE)},
    } | fields


def envelope(message: object) -> dict[str, Any]:
    """An SNS envelope, as a subscription without raw delivery puts it on a queue."""
    return {
        "Type": "Notification",
        "MessageId": "sns-1",
        "TopicArn": "arn:aws:sns:us-west-2:111122223333:alarms",
        "Subject": 'ALARM: "hyperpod-xid" in US West (Oregon)',
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-11-23T02:13:38.000Z",
        "SignatureVersion": "1",
    }


def test_sns_alarm_is_read_whole() -> None:
    """Dimensions are a list of name and value; the cluster may be an EKS name."""
    trigger = {
        "MetricName": "n",
        "Dimensions": pairs(ClusterName="eks-a", InstanceId=NODE, NodeName=f"hyperpod-{NODE}"),
    }
    assert read(sns(trigger)) == Report(
        trigger=Trigger(
            "aws.cloudwatch",
            "CloudWatch Alarm SNS Action",
            "m-1",
            NOW - timedelta(seconds=29, milliseconds=750),
            "alarm hyperpod-xid: Threshold Crossed",
        ),
        node=Node(IdKind.NODE_ID, NODE),
        cluster="eks-a",
        alarm=Alarm("hyperpod-xid", ARN),
    )


def test_sns_envelope_lends_its_id_and_time() -> None:
    """Wrapped or raw, the same alarm is the same report, known by the SNS message's own ID."""
    wrapped, raw = report(envelope(sns())), report(sns())
    assert wrapped.trigger.event_id == "sns-1"
    assert (wrapped.node, wrapped.alarm, wrapped.trigger.time) == (raw.node, raw.alarm, raw.trigger.time)
    late = report(envelope(sns(StateChangeTime=None)))
    assert late.trigger.time == NOW - timedelta(seconds=29)


def test_eventbridge_event_in_an_sns_envelope_is_read_as_itself() -> None:
    """A topic may be a rule's target."""
    assert read(envelope(change(stat(InstanceId=NODE)))) == read(change(stat(InstanceId=NODE)))


def test_sns_metric_math_alarm_names_its_one_node() -> None:
    """Trigger.Metrics stands where Trigger.Dimensions would."""
    metrics = [
        {"Id": "e1", "Expression": "m1+m2", "ReturnData": True},
        {"Id": "m1", "MetricStat": {"Metric": {"Dimensions": pairs(InstanceId=NODE), "MetricName": "a"}}},
        {"Id": "m2", "MetricStat": {"Metric": {"Dimensions": pairs(InstanceId=NODE), "MetricName": "b"}}},
    ]
    assert report(sns({"Metrics": metrics})).node == Node(IdKind.NODE_ID, NODE)
    metrics[2]["MetricStat"]["Metric"]["Dimensions"] = pairs(InstanceId=instance_id(2))  # type: ignore[index]
    assert settled(sns({"Metrics": metrics})) == ("refused", "AmbiguousNodes")


def test_sns_contributor_alarm_names_its_series() -> None:
    """AlarmContributorAttributes name the node; the query that groups does not matter then."""
    attributes = {"InstanceId": NODE, "HyperPodClusterName": "ml-a"}
    fields = {"AlarmContributorId": "c", "AlarmContributorAttributes": attributes}
    found = report(sns({"Metrics": [{"Expression": SQL}]}, **fields))
    assert (found.node, found.cluster, found.cluster_is_hyperpod) == (Node(IdKind.NODE_ID, NODE), "ml-a", True)


def test_sns_parent_of_contributors_is_ignored() -> None:
    """The parent of a multi-series alarm names no node; its contributors speak."""
    assert settled(sns({"Metrics": [{"Expression": SQL}]})) == ("ignored", None)


def test_sns_composite_alarm_is_read_whole() -> None:
    """TriggeringChildren name the alarms that set it off, each once."""
    children = [{"Arn": CHILD, "State": {"Value": "ALARM"}}, {"Arn": CHILD}, {"Arn": None}, "junk"]
    event = sns(AlarmRule="ALARM(child)", TriggeringChildren=children)
    del event["Trigger"]
    assert read(event) == Composite(
        trigger=Trigger(
            "aws.cloudwatch",
            "CloudWatch Alarm SNS Action",
            "m-1",
            NOW - timedelta(seconds=29, milliseconds=750),
            "alarm hyperpod-xid: Threshold Crossed",
        ),
        alarm=Alarm("hyperpod-xid", ARN),
        children=(CHILD,),
    )


def test_composite_alarm_names_its_children() -> None:
    """The documented composite, neither muted nor suppressed."""
    reading = read(unmuted(sample("alarm-composite-suppressed")))
    assert isinstance(reading, Composite)
    assert reading.children == ("arn:aws:cloudwatch:us-east-1:123456789012:alarm:ServerCpuTooHigh",)
    assert not reading.healthy


@pytest.mark.parametrize("data", [None, "", "junk", "[]", '{"triggeringAlarms": null}', "[" * 100_000, 5])
def test_composite_alarm_without_readable_children_is_refused(data: object) -> None:
    """A person should know of a composite alarm that leads nowhere."""
    event = change(configuration={"alarmRule": "ALARM(child)"})
    event["detail"]["state"]["reasonData"] = data
    assert settled(event) == ("refused", "NodeNotResolved")
    assert children_of(data if isinstance(data, str) else None) == ()


@pytest.mark.parametrize(
    ("dimensions", "node"),
    [
        ({"InstanceId": NODE}, Node(IdKind.NODE_ID, NODE)),
        ({"instance_id": NODE}, Node(IdKind.NODE_ID, NODE)),
        ({"NodeId": NODE}, Node(IdKind.NODE_ID, NODE)),
        ({"node_id": f" {NODE} "}, Node(IdKind.NODE_ID, NODE)),
        ({"NodeName": f"hyperpod-{NODE}"}, Node(IdKind.NODE_ID, NODE)),
        ({"node_name": f"hyperpod-{NODE}"}, Node(IdKind.NODE_ID, NODE)),
        ({"InstanceId": "eks-thing", "NodeName": f"hyperpod-{NODE}"}, Node(IdKind.NODE_ID, NODE)),
        ({"InstanceId": instance_id(3), "NodeId": NODE}, Node(IdKind.NODE_ID, instance_id(3))),
        ({"NodeLogicalId": "group-1"}, Node(IdKind.LOGICAL_ID, "group-1")),
        ({"node_logical_id": "group-1"}, Node(IdKind.LOGICAL_ID, "group-1")),
        ({"InstanceId": "eks-thing", "NodeLogicalId": "group-1"}, Node(IdKind.LOGICAL_ID, "group-1")),
        ({"NodeName": "hyperpod-odd", "InstanceId": "odder"}, Node(IdKind.NODE_ID, "odder")),
        ({"NodeName": "hyperpod-odd"}, Node(IdKind.NODE_ID, "odd")),
    ],
)
def test_node_is_the_first_instance_id_else_logical_else_first_present(dimensions: dict[str, str], node: Node) -> None:
    """The order of the design, with the forms that other tools write."""
    assert report(change(stat(**dimensions))).node == node
    assert report(sns({"Dimensions": pairs(**dimensions)})).node == node


@pytest.mark.parametrize(
    ("dimensions", "cluster"),
    [
        ({"ClusterName": "eks-a"}, ("eks-a", False)),
        ({"cluster_name": "eks-a"}, ("eks-a", False)),
        ({"HyperPodClusterName": "ml-a", "ClusterName": "eks-a"}, ("ml-a", True)),
        ({"hyperpod_cluster_name": "ml-a"}, ("ml-a", True)),
        ({"hyper_pod_cluster_name": "ml-a"}, ("ml-a", True)),
        ({}, (None, False)),
    ],
)
def test_hyperpod_cluster_name_wins(dimensions: dict[str, str], cluster: tuple[str | None, bool]) -> None:
    """ContainerInsights calls the EKS cluster ClusterName."""
    found = report(change(stat(InstanceId=NODE, **dimensions)))
    assert (found.cluster, found.cluster_is_hyperpod) == cluster


@pytest.mark.parametrize(
    ("metrics", "outcome"),
    [
        ([stat(InstanceId=NODE), stat(InstanceId=instance_id(2))], ("refused", "AmbiguousNodes")),
        (
            [stat(InstanceId=NODE, ClusterName="a"), stat(InstanceId=NODE, ClusterName="b")],
            ("refused", "AmbiguousNodes"),
        ),
        ([stat(ClusterName="eks-a")], ("refused", "NodeNotResolved")),
        ([], ("refused", "NodeNotResolved")),
        ([{"expression": "SUM(METRICS())"}], ("refused", "NodeNotResolved")),
        ([{"expression": SQL}], ("ignored", None)),
        ([{"expression": SQL.replace("GROUP BY", "group\n by")}], ("ignored", None)),
    ],
)
def test_alarm_that_names_no_single_node_is_settled(
    metrics: list[dict[str, Any]], outcome: tuple[str, str | None]
) -> None:
    """Nothing is guessed; only the parent of a multi-series alarm is nobody's concern."""
    assert settled(change(*metrics)) == outcome


def test_hyperpod_name_settles_which_of_two_clusters_is_meant() -> None:
    """One metric may carry the EKS name, the other the HyperPod name."""
    found = report(change(stat(InstanceId=NODE, ClusterName="e"), stat(InstanceId=NODE, HyperPodClusterName="h")))
    assert (found.cluster, found.cluster_is_hyperpod) == ("h", True)


@pytest.mark.parametrize("metrics", [[], [stat(InstanceId=NODE), stat(InstanceId=instance_id(2))]])
def test_ok_alarm_that_names_no_single_node_is_ignored(metrics: list[dict[str, Any]]) -> None:
    """Good news about nobody in particular needs nobody."""
    assert settled(change(*metrics, state="OK")) == ("ignored", None)


def test_ok_alarm_says_that_the_node_is_well() -> None:
    """Into OK clears, in each form."""
    assert report(change(stat(InstanceId=NODE), state="OK")).healthy
    assert report(sns(NewStateValue="OK")).healthy
    composite = read(sns(NewStateValue="OK", AlarmRule="r", TriggeringChildren=[{"Arn": CHILD}]))
    assert isinstance(composite, Composite)
    assert composite.healthy


@pytest.mark.parametrize("state", ["INSUFFICIENT_DATA", "alarm", "NEW"])
def test_any_other_state_is_ignored(state: str) -> None:
    """Missing data is no fault of the node's."""
    assert settled(change(stat(InstanceId=NODE), state=state)) == ("ignored", None)
    assert settled(sns(NewStateValue=state)) == ("ignored", None)


def test_contributor_names_its_node() -> None:
    """One contributor event per series, its attributes in place of dimensions."""
    event = change(
        {"expression": SQL}, alarmContributor={"id": "c", "attributes": {"InstanceId": NODE, "ClusterName": "eks-a"}}
    ) | {"detail-type": "CloudWatch Alarm Contributor State Change"}
    found = report(event)
    assert (found.node, found.cluster, found.healthy) == (Node(IdKind.NODE_ID, NODE), "eks-a", False)


def test_contributor_without_node_is_refused() -> None:
    """The documented contributor, unmuted, is a table of a database."""
    event = unmuted(sample("alarm-contributor"))
    assert settled(event) == ("refused", "NodeNotResolved")


@pytest.mark.parametrize("mute", [{"mutedByArn": "arn:rule"}, {"mutedByArn": None}, "yes", [1], {}, [], "", False])
def test_muted_alarm_is_marked(mute: object) -> None:
    """Whatever the mute detail looks like, it is there."""
    rule = "arn:rule" if mute == {"mutedByArn": "arn:rule"} else "a mute rule"
    assert report(change(stat(InstanceId=NODE), muteDetail=mute)).muted == f"muted by {rule}"
    assert settled(change(muteDetail=mute)) == ("deferred", None)


def test_null_mute_detail_does_not_mute() -> None:
    """Fields of events may be null."""
    assert report(change(stat(InstanceId=NODE), muteDetail=None)).muted is None


@pytest.mark.parametrize("event", [change(stat(InstanceId=NODE)), unmuted(sample("alarm-composite-suppressed"))])
def test_archive_replay_is_marked(event: dict[str, Any]) -> None:
    """EventBridge marks what it plays again, and nothing else is marked."""
    for marked, replay in ((event, None), (event | {"replay-name": "tuesday"}, "tuesday")):
        reading = read(marked)
        assert isinstance(reading, Report | Composite)
        assert reading.replay == replay


def test_suppressed_alarm_is_marked() -> None:
    """A composite alarm's actions can be held back; EventBridge gets the change all the same."""
    event = sample("alarm-composite-suppressed")
    del event["detail"]["muteDetail"]
    reading = read(event)
    assert isinstance(reading, Settled)
    assert reading.outcome is Outcome.DEFERRED
    assert reading.reason == "suppressed by WaitPeriod: Actions suppressed by WaitPeriod"


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"hyperpod:cluster": "ml-a", "n": 1}, (("hyperpod:cluster", "ml-a"),)),
        ([{"key": "hyperpod:cluster", "value": "ml-a"}, 5], (("hyperpod:cluster", "ml-a"),)),
        ([{"Key": "hyperpod:cluster", "Value": "ml-a"}], (("hyperpod:cluster", "ml-a"),)),
        ([], ()),
        (None, None),
        ("junk", None),
    ],
)
def test_tags_in_the_event_are_kept(tags: object, expected: object) -> None:
    """None means that the event does not carry them: only then they are looked up."""
    found = report(change(stat(InstanceId=NODE), alarmTags=tags))
    assert found.alarm == Alarm("hyperpod-xid", ARN, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("timestamp", "time"),
    [
        ("2026-11-23T02:13:07.000+0000", NOW - timedelta(minutes=1)),
        ("2026-11-22T03:14:07+01:00", NOW - timedelta(days=1)),
        ("2026-11-22T02:14:06Z", NOW),
        ("2026-11-24T02:14:08Z", NOW),
        ("2026-11-23T02:13:07", NOW - timedelta(minutes=1)),
        (None, NOW),
        ("yesterday", NOW),
        ("0001-01-01T00:00:00+23:00", NOW),
        ([], NOW),
        (True, NOW),
        (int(NOW.timestamp()) - 60, NOW - timedelta(minutes=1)),
        (int(NOW.timestamp() * 1000) - 60_000, NOW - timedelta(minutes=1)),
        (float("nan"), NOW),
        (float("inf"), NOW),
        (10**400, NOW),
    ],
)
def test_time_is_the_alarms_unless_it_is_none_or_over_a_day_off(timestamp: object, time: datetime) -> None:
    """A claimed time that cannot be right is not believed: the envelope's counts."""
    event = change(stat(InstanceId=NODE))
    event["detail"]["state"]["timestamp"] = timestamp
    assert report(event).trigger.time == time
    assert report(sns(StateChangeTime=timestamp)).trigger.time == time


def test_muted_documented_samples_read_the_same_without_their_mute() -> None:
    """Muting marks a report and changes nothing else of it."""
    for name in ("alarm-metric-math", "alarm-single-metric"):
        assert report(unmuted(sample(name))).muted is None
        assert report(unmuted(sample(name))).node == report(sample(name)).node
