"""Follows every kind of input from where it enters to the call that it leads to, or to why it leads to none."""

import json
from typing import Any

import pytest

from local.staging import SimulatedCluster
from tests.e2e import events
from tests.e2e.system import System, eventually


def rebooted_by(system: System, cluster: SimulatedCluster, *nodes: str) -> None:
    """Wait until the outcomes are in the log, then see that exactly these nodes were rebooted, once each."""
    system.outcomes(count=len(nodes), cluster=cluster.name, outcome="rebooted")
    assert sorted(system.reboots(cluster)) == sorted(nodes)
    assert system.letters(count=0, ClusterName=cluster.name) == []
    assert system.notifications(cluster.name, count=0) == []


def test_node_health_event_reboots_its_node(system: System) -> None:
    """The simulated HyperPod reports a broken node as AWS documents it; the call names just that node."""
    cluster = system.cluster()
    system.aws.admin("POST", "/_local/hyperpod/nodes/break", {"cluster": cluster.name, "node": cluster.nodes[0]})
    rebooted_by(system, cluster, cluster.nodes[0])
    assert [call["node_ids"] for call in system.calls(cluster)] == [[cluster.nodes[0]]]


def test_healthy_event_after_the_reboot_clears(system: System) -> None:
    """The node comes back and HyperPod says so: that is an outcome too, and ends the incident."""
    # Events have whole seconds: in the same one as the reboot, Healthy would say nothing about it.
    cluster = system.cluster(reboot_seconds=1.2)
    system.aws.admin("POST", "/_local/hyperpod/nodes/break", {"cluster": cluster.name, "node": cluster.nodes[0]})
    [line] = system.outcomes(cluster=cluster.name, node=cluster.nodes[0], outcome="cleared")
    assert [end["incident"] for end in system.changes(cluster=cluster.name, state="recovered")] == [line["incident"]]
    assert len(system.calls(cluster)) == 1


def test_unknown_health_status_is_ignored(system: System) -> None:
    """Only Unhealthy asks for anything."""
    cluster = system.cluster()
    system.put(events.health(cluster.name, cluster.nodes[0], "Degraded"))
    [line] = system.outcomes(cluster=cluster.name, outcome="ignored")
    assert line["reason"] == "health status Degraded"
    assert system.calls(cluster) == []


def test_health_event_with_null_fields_reboots(system: System) -> None:
    """Captured events carry nulls where the documentation shows text."""
    cluster = system.cluster()
    event = events.health(
        cluster.name, cluster.nodes[0], HealthStatusReason=None, RepairAction=None, Recommendation=None
    )
    event["detail"] |= {"EventTime": None, "Tags": None}
    system.put(event)
    rebooted_by(system, cluster, cluster.nodes[0])


def test_unhealthy_instance_event_reboots_by_instance_id(system: System) -> None:
    """A cluster event whose Description says that the instance is unhealthy."""
    cluster = system.cluster()
    system.put(events.unhealthy_instance(cluster.name, cluster.nodes[0]))
    rebooted_by(system, cluster, cluster.nodes[0])


def test_unhealthy_instance_event_without_instance_id_reboots_by_logical_id(system: System) -> None:
    """Where InstanceId is null, the logical ID is what the call uses."""
    cluster = system.cluster()
    system.put(events.unhealthy_instance(cluster.name, None, cluster.logical_ids[1]))
    rebooted_by(system, cluster, cluster.nodes[1])
    assert system.calls(cluster)[0]["logical_ids"] == [cluster.logical_ids[1]]


@pytest.mark.parametrize(
    "name", ["cluster-event-create-failed", "cluster-event-lifecycle-started", "cluster-state-change"]
)
def test_other_cluster_events_never_reach_the_function(system: System, name: str) -> None:
    """An event that the rules do not match leaves no trace; one put after it does."""
    cluster, before = system.cluster(), len(system.log_lines())
    event = events.sample(name)
    event["detail"].get("EventDetails", event["detail"])["ClusterName"] = cluster.name
    system.put(event)
    system.put(events.health(cluster.name, cluster.nodes[0], "Marker"))
    system.outcomes(cluster=cluster.name, outcome="ignored", reason="health status Marker")
    assert len(system.log_lines()) == before + 1


def test_sweep_on_the_intake_queue_is_ignored(system: System) -> None:
    """The clock invokes the function; a message that claims to be the clock asks for nothing."""
    sweep = {"source": "hyperpod.node-remediation", "detail-type": "HyperPod Node Remediation Sweep"}
    system.send(sweep | {"id": "not-the-clock", "time": events.now()})
    [line] = system.outcomes(event_id="not-the-clock")
    assert line["outcome"] == "ignored"


def put_alarm(system: System, name: str, cluster: SimulatedCluster, **options: Any) -> None:
    system.aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="ContainerInsights",
        MetricName="hyperpod_node_health_status_unschedulable_pending_reboot",
        Dimensions=[
            {"Name": "ClusterName", "Value": cluster.eks},
            {"Name": "InstanceId", "Value": cluster.nodes[0]},
            {"Name": "NodeName", "Value": f"hyperpod-{cluster.nodes[0]}"},
        ],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        **options,
    )


def set_state(system: System, name: str, value: str = "ALARM") -> None:
    system.aws.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=value, StateReason="set by a test")


def test_alarm_reboots_the_node_of_its_dimensions_in_the_cluster_behind_its_eks_name(system: System) -> None:
    """An alarm's change reaches EventBridge; ContainerInsights names the EKS cluster, the call the HyperPod one."""
    cluster = system.cluster()
    put_alarm(system, f"hyperpod-reboot-{cluster.name}", cluster)
    set_state(system, f"hyperpod-reboot-{cluster.name}")
    rebooted_by(system, cluster, cluster.nodes[0])


def test_alarm_that_turns_ok_clears(system: System) -> None:
    """Into OK asks for nothing."""
    cluster = system.cluster()
    system.put(events.alarm({"HyperPodClusterName": cluster.name, "InstanceId": cluster.nodes[0]}, state="OK"))
    system.outcomes(cluster=cluster.name, outcome="cleared")
    assert system.calls(cluster) == []


def test_alarm_with_another_prefix_never_reaches_the_function(system: System) -> None:
    """The rule lets in only the configured prefixes."""
    cluster, before = system.cluster(), len(system.log_lines())
    put_alarm(system, f"other-{cluster.name}", cluster)
    set_state(system, f"other-{cluster.name}")
    system.put(events.health(cluster.name, cluster.nodes[0], "Marker"))
    system.outcomes(cluster=cluster.name, outcome="ignored")
    assert len(system.log_lines()) == before + 1


def test_contributors_of_one_alarm_share_a_call(system: System) -> None:
    """Three series of a multi-series alarm are three nodes in one call; the parent event is ignored."""
    cluster = system.cluster(3)
    parent = events.alarm(None, name="hyperpod-reboot-by-node")
    parent["detail"]["configuration"]["metrics"] = events.contributor(cluster.name, "i-0")["detail"]["configuration"][
        "metrics"
    ]
    system.put(parent, *(events.contributor(cluster.name, node) for node in cluster.nodes))
    rebooted_by(system, cluster, *cluster.nodes)
    assert [len(call["node_ids"]) for call in system.calls(cluster)] == [3]
    eventually(lambda: [line for line in system.log_lines() if "several series" in line.get("reason", "")])


def test_metric_math_alarm_of_one_node_reboots_it(system: System) -> None:
    """All metrics name the same node."""
    cluster = system.cluster()
    named = {"HyperPodClusterName": cluster.name, "InstanceId": cluster.nodes[0]}
    system.put(events.metric_math(named, named))
    rebooted_by(system, cluster, cluster.nodes[0])


def test_composite_alarm_reboots_the_node_of_the_child_in_alarm(system: System) -> None:
    """The composite names no node; its child, which no prefix matches, does."""
    cluster = system.cluster()
    put_alarm(system, f"child-{cluster.name}", cluster)
    system.aws.client("cloudwatch").put_composite_alarm(
        AlarmName=f"hyperpod-reboot-any-{cluster.name}", AlarmRule=f'ALARM("child-{cluster.name}")'
    )
    set_state(system, f"child-{cluster.name}")
    rebooted_by(system, cluster, cluster.nodes[0])


def test_muted_and_suppressed_alarms_are_deferred(system: System) -> None:
    """Nothing is rebooted and no one is told; the log says by what it was muted."""
    cluster = system.cluster()
    muted = events.alarm({"HyperPodClusterName": cluster.name, "InstanceId": cluster.nodes[0]})
    muted["detail"]["muteDetail"] = {"mutedByArn": "arn:aws:cloudwatch:us-east-1:000000000000:alarm-mute-rule:window"}
    suppressed = events.alarm({"HyperPodClusterName": cluster.name, "InstanceId": cluster.nodes[1]})
    suppressed["detail"]["state"]["actionsSuppressedBy"] = "Alarm"
    system.put(muted, suppressed)
    system.outcomes(count=2, cluster=cluster.name, outcome="deferred")
    assert system.calls(cluster) == []
    assert system.letters(count=0, ClusterName=cluster.name) == []
    assert system.notifications(cluster.name, count=0) == []


def test_alarm_as_direct_lambda_action_reboots(system: System) -> None:
    """An alarm may have the function as its action; Lambda's own permission lets it in by its prefix."""
    cluster = system.cluster()
    function = system.aws.client("lambda").get_function(FunctionName=system.outputs["FunctionName"])
    arn = function["Configuration"]["FunctionArn"]
    put_alarm(system, f"hyperpod-reboot-direct-{cluster.name}", cluster, AlarmActions=[arn])
    set_state(system, f"hyperpod-reboot-direct-{cluster.name}")
    # It also comes through the bus: whichever is second has nothing new to say.
    lines = system.outcomes(count=2, cluster=cluster.name, node=cluster.nodes[0])
    assert sorted(line["outcome"] for line in lines) == ["duplicate", "rebooted"]
    assert {line["source"] for line in lines} == {"aws.cloudwatch"}
    assert system.reboots(cluster) == [cluster.nodes[0]]


@pytest.mark.parametrize("raw", [False, True])
def test_alarm_through_a_topic_reboots(system: System, raw: bool) -> None:
    """Topics of alarm_topic_arns feed the queue with envelopes; a raw message reads the same."""
    cluster = system.cluster()
    message = json.dumps(events.sns_alarm(cluster.eks, cluster.nodes[0]))
    if raw:
        system.send(message)
    else:
        system.aws.client("sns").publish(TopicArn=system.alarm_topic, Message=message)
    rebooted_by(system, cluster, cluster.nodes[0])


def test_alarm_of_another_prefix_through_a_topic_is_ignored(system: System) -> None:
    """A topic brings whatever was published to it; only the prefixes decide what is acted on."""
    cluster = system.cluster()
    system.aws.client("sns").publish(
        TopicArn=system.alarm_topic,
        Message=json.dumps(events.sns_alarm(cluster.eks, cluster.nodes[0], name=f"cpu-{cluster.name}")),
    )
    reason = f"alarm cpu-{cluster.name} matches none of the setting alarm_name_prefixes"
    system.outcomes(outcome="ignored", reason=reason)
    assert system.calls(cluster) == []


def test_request_reboots_both_kinds_of_id_in_the_fewest_calls(system: System) -> None:
    """Sixty instance IDs and two logical IDs of one request are three calls and one."""
    cluster = system.cluster(62)
    system.send(events.request(cluster.name, *cluster.nodes[:60], logical_ids=cluster.logical_ids[60:]))
    rebooted_by(system, cluster, *cluster.nodes)
    assert [len(call["node_ids"] or call["logical_ids"]) for call in system.calls(cluster)] == [25, 25, 10, 2]


def test_event_as_direct_payload_reboots_and_answers_with_a_summary(system: System) -> None:
    """A script may invoke the function with one event and read what became of it."""
    cluster = system.cluster()
    answer = system.invoke(events.health(cluster.name, cluster.nodes[0]))
    [report] = answer["reports"]
    assert (report["node"], report["outcome"]) == (cluster.nodes[0], "rebooted")
    assert system.reboots(cluster) == [cluster.nodes[0]]
    assert system.changes(cluster=cluster.name, state="rebooted")[0]["incident"] == report["incident"]
