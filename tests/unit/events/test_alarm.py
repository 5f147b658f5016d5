"""CloudWatch alarms in the three forms that they arrive in; payloads without a sample follow the documentation."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.events.alarm import (
    Series,
    children_of,
    find_in_series,
    read_described,
    refusal_text,
    series_of,
)
from node_remediation.events.fields import ClusterName
from node_remediation.model import LONGEST_TEXT, Alarm, Composite, IdKind, Node, Outcome, Report, Trigger
from tests.unit.events.payloads import (
    ALARM_ARN,
    CHILD_ARN,
    NODE,
    NOW,
    alarm_event,
    composite,
    composite_event,
    home_of,
    instance_id,
    metric,
    no_report,
    pairs,
    report,
    sample,
    sns_action,
    unmuted,
)

SQL = 'SELECT MAX(x) FROM SCHEMA("n", InstanceId) GROUP BY InstanceId'
SERIES = {"InstanceId": NODE, "ClusterName": "eks-a"}
SNS_TRIGGER = Trigger(
    "aws.cloudwatch",
    "CloudWatch Alarm SNS Action",
    "m-1",
    NOW - timedelta(seconds=29, milliseconds=750),
    "alarm hyperpod-reboot-xid: Threshold Crossed",
)


def outcome(event: object) -> tuple[str, str | None]:
    found = no_report(event)
    return found.outcome.value, found.code


def contributor_event(state: str = "ALARM", **attributes: Any) -> dict[str, Any]:
    event = alarm_event({"expression": SQL}, state=state, alarmContributor={"id": "c", "attributes": attributes})
    return event | {"detail-type": "CloudWatch Alarm Contributor State Change"}


def test_sns_alarm_is_read_whole() -> None:
    """Its dimensions are a list of name and value; the cluster may be an EKS name."""
    dimensions = pairs(ClusterName="eks-a", InstanceId=NODE, NodeName=f"hyperpod-{NODE}")
    found = report(sns_action({"MetricName": "n", "Dimensions": dimensions}))
    assert found == Report(
        trigger=SNS_TRIGGER,
        node=Node(IdKind.NODE_ID, NODE),
        cluster="eks-a",
        alarm=Alarm("hyperpod-reboot-xid", ALARM_ARN),
    )
    assert found.source == "alarm:hyperpod-reboot-xid"


def test_alarm_without_a_reason_is_quoted_by_its_name() -> None:
    """A reason is read back from a letter as it was written, so it ends with no blank."""
    assert report(sns_action(NewStateReason=None)).trigger.reason == "alarm hyperpod-reboot-xid:"


def test_sns_metric_math_alarm_names_its_one_node() -> None:
    """Trigger.Metrics replaces Trigger.Dimensions."""
    metrics = [
        {"Id": "e1", "Expression": "m1+m2", "ReturnData": True},
        {"Id": "m1", "MetricStat": {"Metric": {"Dimensions": pairs(InstanceId=NODE), "MetricName": "a"}}},
        {"Id": "m2", "MetricStat": {"Metric": {"Dimensions": pairs(InstanceId=NODE), "MetricName": "b"}}},
    ]
    assert report(sns_action({"Metrics": metrics})).node == Node(IdKind.NODE_ID, NODE)
    metrics[2]["MetricStat"]["Metric"]["Dimensions"] = pairs(InstanceId=instance_id(2))  # type: ignore[index]
    assert outcome(sns_action({"Metrics": metrics})) == ("refused", "AmbiguousNodes")


def test_sns_composite_alarm_is_read_whole() -> None:
    """TriggeringChildren name the alarms that set it off, each once."""
    children = [{"Arn": CHILD_ARN, "State": {"Value": "ALARM"}}, {"Arn": CHILD_ARN}, {"Arn": None}, "junk"]
    event = sns_action(AlarmRule="ALARM(child)", TriggeringChildren=children)
    del event["Trigger"]
    assert composite(event) == Composite(
        trigger=SNS_TRIGGER, alarm=Alarm("hyperpod-reboot-xid", ALARM_ARN), children=(CHILD_ARN,)
    )


# Nodes and clusters


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
    """Dimensions may have the names that other tools write."""
    assert report(alarm_event(metric(**dimensions))).node == node
    assert report(sns_action({"Dimensions": pairs(**dimensions)})).node == node


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
    """Container Insights calls the EKS cluster ClusterName."""
    found = report(alarm_event(metric(InstanceId=NODE, **dimensions)))
    assert (found.cluster, found.cluster_is_hyperpod) == cluster


def test_hyperpod_name_of_one_metric_wins_over_another_metrics_eks_name() -> None:
    """The two metrics of one alarm may name the same cluster differently."""
    found = report(
        alarm_event(metric(InstanceId=NODE, ClusterName="e"), metric(InstanceId=NODE, HyperPodClusterName="h"))
    )
    assert (found.cluster, found.cluster_is_hyperpod) == ("h", True)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ([metric(InstanceId=NODE), metric(InstanceId=instance_id(2))], ("refused", "AmbiguousNodes")),
        (
            [metric(InstanceId=NODE, ClusterName="a"), metric(InstanceId=NODE, ClusterName="b")],
            ("refused", "AmbiguousNodes"),
        ),
        ([metric(ClusterName="eks-a")], ("refused", "NodeNotResolved")),
        ([metric(NodeName="hyperpod-")], ("refused", "NodeNotResolved")),
        ([], ("refused", "NodeNotResolved")),
        ([{"expression": "SUM(METRICS())"}], ("refused", "NodeNotResolved")),
        ([{"expression": SQL}], ("ignored", None)),
        ([{"expression": SQL.replace("GROUP BY", "group\n by")}], ("ignored", None)),
        ([{"expression": f"SELECT {'x' * 2_000} {SQL}"}], ("ignored", None)),
        ([{"expression": SQL}, metric(InstanceId=NODE), metric(InstanceId="i-2")], ("refused", "AmbiguousNodes")),
    ],
)
def test_alarm_that_names_no_single_node_is_no_report(
    metrics: list[dict[str, Any]], expected: tuple[str, str | None]
) -> None:
    """Nothing is guessed; only the parent of a multi-series alarm needs no answer, as its series report."""
    assert outcome(alarm_event(*metrics)) == expected


def test_parent_of_an_alarm_with_several_series_is_ignored_in_each_form() -> None:
    """SQL with GROUP BY and PromQL both make series that report by themselves."""
    assert outcome(sns_action({"Metrics": [{"Expression": SQL}]})) == ("ignored", None)
    assert outcome(sns_action({"EvaluationCriteria": {"PromQLCriteria": {"Query": "up"}}})) == ("ignored", None)
    promql = {"evaluationCriteria": {"promQLCriteria": {"query": "up"}}}
    assert outcome(alarm_event(configuration=promql)) == ("ignored", None)


# Series


def test_contributor_names_its_node_and_its_series() -> None:
    """There is one contributor event per series, with attributes in place of dimensions."""
    found = report(contributor_event(**SERIES))
    assert (found.node, found.cluster, found.healthy) == (Node(IdKind.NODE_ID, NODE), "eks-a", False)
    series = f'{{"ClusterName":"eks-a","InstanceId":"{NODE}"}}'
    assert found.alarm == Alarm("hyperpod-reboot-xid", ALARM_ARN, by_series=True, series=series)
    assert found.source == f"alarm:hyperpod-reboot-xid#{series}"


def test_sns_contributor_is_the_same_series_as_its_event() -> None:
    """Either form complains and withdraws for the other."""
    event = sns_action(
        {"Metrics": [{"Expression": SQL}]},
        AlarmContributorId="c",
        AlarmContributorAttributes=dict(reversed(SERIES.items())),
    )
    assert report(event).source == report(contributor_event("OK", **SERIES)).source


@pytest.mark.parametrize(
    "event",
    [
        contributor_event(),
        unmuted(sample("alarm-contributor")),
        sns_action({"Metrics": [{"Expression": SQL}]}, AlarmContributorId="c", AlarmContributorAttributes={}),
    ],
)
def test_contributor_without_node_is_refused(event: dict[str, Any]) -> None:
    """It is no parent: none of its other series speaks for it."""
    found = no_report(event, home=home_of(event))
    assert (found.outcome, found.code) == (Outcome.REFUSED, "NodeNotResolved")
    assert found.alarm
    assert found.alarm.by_series


attributes = st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5)


@given(one=attributes, other=attributes)
def test_series_have_the_same_name_only_with_the_same_attributes(one: dict[str, str], other: dict[str, str]) -> None:
    """Their order does not matter."""
    assert series_of(one) == series_of(dict(reversed(one.items())))
    assert (series_of(one) == series_of(other)) == (one == other)


def test_series_too_long_to_keep_is_named_by_a_hash() -> None:
    """Two of them stay apart, and each stays the same."""
    longest = {"a": "x" * (LONGEST_TEXT - len('{"a":""}'))}
    too_long = [{"a": "x" * LONGEST_TEXT + end} for end in ("1", "2")]
    assert json.loads(series_of(longest)) == longest
    assert series_of(too_long[0]) == series_of(dict(too_long[0]))
    assert len({series_of(each) for each in too_long}) == 2
    assert all(len(series_of(each)) == len("sha256:") + 64 for each in too_long)


# States


@pytest.mark.parametrize("metrics", [[], [metric(InstanceId=NODE), metric(InstanceId=instance_id(2))]])
def test_ok_alarm_that_names_no_single_node_is_ignored(metrics: list[dict[str, Any]]) -> None:
    """It asks for nothing."""
    assert outcome(alarm_event(*metrics, state="OK")) == ("ignored", None)


def test_ok_alarm_reports_the_node_well() -> None:
    """A change to OK withdraws, in each form."""
    assert report(alarm_event(metric(InstanceId=NODE), state="OK")).healthy
    assert report(sns_action(NewStateValue="OK")).healthy
    assert report(contributor_event("OK", **SERIES)).healthy
    assert composite(composite_event(CHILD_ARN, state="OK")).healthy
    assert composite(sns_action(NewStateValue="OK", AlarmRule="r", TriggeringChildren=[{"Arn": CHILD_ARN}])).healthy


@pytest.mark.parametrize("state", ["INSUFFICIENT_DATA", "alarm", "NEW"])
@pytest.mark.parametrize("event", [alarm_event(metric(InstanceId=NODE)), composite_event(CHILD_ARN)])
def test_any_other_state_is_ignored(state: str, event: dict[str, Any]) -> None:
    """Missing data is no fault of the node's."""
    event["detail"]["state"]["value"] = state
    assert outcome(event) == ("ignored", None)
    assert outcome(sns_action(NewStateValue=state)) == ("ignored", None)


# Mutes

MUTE = {"mutedByArn": "arn:rule", "muteWindowEnd": "2026-11-23T04:00:00.000+0000"}
MUTED_UNTIL = datetime(2026, 11, 23, 4, tzinfo=UTC)


def test_muted_alarm_keeps_its_node_and_its_mute_windows_end() -> None:
    """The report waits for the end, and the alarm is asked then."""
    found = report(alarm_event(metric(InstanceId=NODE), muteDetail=MUTE))
    assert (found.muted, found.muted_until) == ("muted by arn:rule", MUTED_UNTIL)


def test_muted_composite_alarm_keeps_its_children_and_its_mute_windows_end() -> None:
    """Its nodes are looked up however it is muted."""
    found = composite(composite_event(CHILD_ARN, muteDetail=MUTE))
    assert (found.children, found.muted, found.muted_until) == ((CHILD_ARN,), "muted by arn:rule", MUTED_UNTIL)


def test_muted_alarm_that_is_ok_waits_for_nothing() -> None:
    """It withdraws now."""
    for found in (
        report(alarm_event(metric(InstanceId=NODE), state="OK", muteDetail=MUTE)),
        composite(composite_event(CHILD_ARN, state="OK", muteDetail=MUTE)),
    ):
        assert (found.healthy, found.muted, found.muted_until) == (True, "muted by arn:rule", None)


@pytest.mark.parametrize("mute", [{"mutedByArn": None}, "yes", [1], {}, [], "", False])
def test_odd_mute_detail_mutes_without_an_end(mute: object) -> None:
    """Any value but null means that the alarm is muted."""
    found = report(alarm_event(metric(InstanceId=NODE), muteDetail=mute))
    assert (found.muted, found.muted_until) == ("muted by a mute rule", None)


@pytest.mark.parametrize("mute", [MUTE, {}])
@pytest.mark.parametrize("event", [alarm_event(), composite_event(), contributor_event(TableName="t")])
def test_muted_alarm_without_node_is_deferred(event: dict[str, Any], mute: object) -> None:
    """The mute is judged before anything else."""
    event["detail"]["muteDetail"] = mute
    assert outcome(event) == ("deferred", None)


def test_null_mute_detail_does_not_mute() -> None:
    """Fields of events may be null."""
    assert report(alarm_event(metric(InstanceId=NODE), muteDetail=None)).muted is None


@pytest.mark.parametrize(
    ("end", "until"),
    [
        ("9999-12-31T23:59:59.9999Z", NOW + timedelta(days=366)),
        (1e300, None),
        ("later", None),
        (None, None),
        ("2026-11-23T01:00:00Z", datetime(2026, 11, 23, 1, tzinfo=UTC)),
    ],
)
def test_end_of_a_mute_window_is_bounded(end: object, until: datetime | None) -> None:
    """A time that cannot be stored or added to would spoil the node's item."""
    assert report(alarm_event(metric(InstanceId=NODE), muteDetail={"muteWindowEnd": end})).muted_until == until


def test_suppressed_alarm_is_muted_without_an_end() -> None:
    """A composite alarm's actions can be held back; EventBridge gets the change all the same."""
    event = sample("alarm-composite-suppressed")
    del event["detail"]["muteDetail"]
    found = composite(event, home=home_of(event))
    assert (found.muted, found.muted_until) == (
        "suppressed by WaitPeriod: Actions suppressed by WaitPeriod",
        None,
    )


# Composite alarms


@pytest.mark.parametrize("data", [None, "", "junk", "[]", '{"triggeringAlarms": null}', "[" * 100_000, 5])
def test_composite_alarm_without_readable_children_is_refused(data: object) -> None:
    """A person should know of a composite alarm that leads nowhere; if it is OK, it asks for nothing."""
    for state, expected in (("ALARM", ("refused", "NodeNotResolved")), ("OK", ("ignored", None))):
        event = composite_event(state=state)
        event["detail"]["state"]["reasonData"] = data
        assert outcome(event) == expected
    assert children_of(data if isinstance(data, str) else None) == ()


def test_composite_alarm_names_more_children_than_fit_in_a_kept_string() -> None:
    """Reason data is read whole, however long."""
    children = tuple(f"{CHILD_ARN}-{number}" for number in range(100))
    assert composite(composite_event(*children)).children == children


@pytest.mark.parametrize("event", [alarm_event(metric(InstanceId=NODE)), composite_event(CHILD_ARN)])
def test_archive_replay_is_marked(event: dict[str, Any]) -> None:
    """EventBridge marks what it plays again."""
    read = composite if "alarmRule" in event["detail"]["configuration"] else report
    assert read(event | {"replay-name": "tuesday"}).replay == "tuesday"
    assert read(event).replay is None


# Tags


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"hyperpod:cluster": "ml-a", "n": 1}, (("hyperpod:cluster", "ml-a"),)),
        ([{"key": "hyperpod:cluster", "value": "ml-a"}, 5], (("hyperpod:cluster", "ml-a"),)),
        ([{"Key": "hyperpod:cluster", "Value": "ml-a"}], (("hyperpod:cluster", "ml-a"),)),
        ({f"key-{number}": "v" for number in range(1_000)}, tuple((f"key-{number}", "v") for number in range(50))),
        ([], ()),
        (None, None),
        ("junk", None),
    ],
)
def test_tags_in_the_event_are_kept(tags: object, expected: object) -> None:
    """None means that the event does not carry them: only then are they looked up."""
    found = report(alarm_event(metric(InstanceId=NODE), alarmTags=tags))
    assert found.alarm == Alarm("hyperpod-reboot-xid", ALARM_ARN, expected)  # type: ignore[arg-type]


# What look-ups read


def test_described_alarm_names_its_node() -> None:
    """DescribeAlarms writes dimensions as Name and Value."""
    one = {"Dimensions": [{"Name": "InstanceId", "Value": NODE}, {"Name": "HyperPodClusterName", "Value": "ml-a"}]}
    several = {"Metrics": [{"Id": "m", "MetricStat": {"Metric": one}}, {"Id": "e", "Expression": "m"}]}
    for alarm in (one, several):
        assert find_in_series(read_described(alarm)) == (Node(IdKind.NODE_ID, NODE), ("ml-a", True))
    assert find_in_series(read_described({"Dimensions": None})) == "NodeNotResolved"
    assert read_described({"Metrics": [{"Expression": SQL}]}).grouped


@pytest.mark.parametrize("prefix", ["", "@resource."])
@pytest.mark.parametrize("label", ["instance", "node", "Hostname", "host.id", "k8s.node.name"])
@pytest.mark.parametrize("value", [NODE, f"hyperpod-{NODE}", f"hyperpod-{NODE}:9100"])
def test_label_that_holds_an_instance_id_names_the_node(prefix: str, label: str, value: str) -> None:
    """Prometheus and OpenTelemetry have labels where CloudWatch has dimensions."""
    labels = {f"{prefix}{label}": value, "job": "node", "instance" if label == "node" else "node": "10.1.2.3:9100"}
    found = find_in_series(Series((labels | {"k8s.cluster.name": "eks-a"},)))
    assert found == (Node(IdKind.NODE_ID, NODE), ClusterName("eks-a"))


def test_labels_that_name_no_instance_or_two_name_no_node() -> None:
    """An exporter's own host is not the node that it tells about; a dimension says more than any label."""
    other = "i-0bbbbbbbbbbbbbbbb"
    assert find_in_series(Series(({"instance": "10.1.2.3:9100", "node": "ip-10-1-2-3"},))) == "NodeNotResolved"
    assert find_in_series(Series(({"instance": other, "node": NODE},))) == "AmbiguousNodes"
    found = find_in_series(Series(({"instance": other, "InstanceId": NODE},)))
    assert found == (Node(IdKind.NODE_ID, NODE), ClusterName())


def test_refusal_names_the_alarm_and_what_is_wrong() -> None:
    """The person who made the alarm has to change it."""
    assert refusal_text("a", "AmbiguousNodes").startswith("alarm a names more than one node or cluster")
    assert refusal_text("a", "NodeNotResolved").startswith("alarm a names no node")
