"""Asks the guards of the deployed system: what is refused, deferred or duplicate, and what a redrive makes of it."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from local.aws import LocalAws
from local.deploy import deploy
from local.staging import SimulatedCluster
from tests.e2e import events
from tests.e2e.stories import LOST_ANSWER
from tests.e2e.system import System, eventually

_BUDGET_WINDOW = 45.0  # seconds; long enough for a storm to be over within it on a slow machine


@pytest.fixture(scope="module")
def guarded() -> Iterator[System]:
    """A system with the default guards, but a budget window short enough to wait for."""
    with LocalAws() as aws:
        outputs = deploy(
            aws,
            context={
                "remediation.batch_window": "1s",
                "remediation.budget_window": f"{_BUDGET_WINDOW:.0f}s",
                "remediation.cooldown": f"{_BUDGET_WINDOW:.0f}s",
                "remediation.max_report_age": "1m",
                "remediation.notification_emails": "oncall@example.com",
            },
        )
        yield System(aws, outputs, alarm_topic="")


def refusals(system: System, cluster: SimulatedCluster, *, count: int = 1) -> list[tuple[str, str]]:
    """Return node and code of each letter of a cluster, once there are `count`."""
    letters = system.letters(count=count, ClusterName=cluster.name)
    details = [json.loads(letter["body"])["detail"] for letter in letters]
    return [(detail.get("NodeId") or detail["NodeLogicalId"], detail["ErrorCode"]) for detail in details]


def set_mode(system: System, value: str | None, *, at_once: bool = True) -> None:
    """Set the mode as an operator does; `at_once` makes new function instances, which remember no mode."""
    ssm, name = system.aws.client("ssm"), system.outputs["ModeParameterName"]
    if value is None:
        ssm.delete_parameter(Name=name)
    else:
        ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
    if at_once:
        function = system.outputs["FunctionName"]
        system.aws.client("lambda").update_function_configuration(FunctionName=function, Timeout=60)


def test_storm_of_reports_of_one_node_is_one_reboot(guarded: System) -> None:
    """Fifty reports of the same node, each an event of its own: one reboot, 49 duplicates, no mail."""
    cluster = guarded.cluster(10)
    guarded.put(*(events.health(cluster.name, cluster.nodes[0]) for _ in range(50)))
    lines = guarded.outcomes(count=50, cluster=cluster.name, node=cluster.nodes[0])
    ended = Counter(line["outcome"] for line in lines if line["outcome"] != "cleared")
    assert ended["rebooted"] == 1
    assert guarded.reboots(cluster) == [cluster.nodes[0]]
    assert guarded.letters(count=0, ClusterName=cluster.name) == []


def test_budget_stops_a_storm_and_a_redrive_goes_on_when_it_is_free(guarded: System) -> None:
    """Of 50 sick nodes of 100 exactly 20 are rebooted and 30 refused; when the window has passed, a redrive goes on.

    Meanwhile a report waits in the queue for longer than max_report_age, and is refused as stale.
    """
    cluster, waiting = guarded.cluster(100), guarded.cluster(10)
    late = json.dumps(events.request(waiting.name, waiting.nodes[0]))
    guarded.sqs.send_message(QueueUrl=guarded.outputs["IntakeQueueUrl"], MessageBody=late, DelaySeconds=65)

    guarded.put(*(events.health(cluster.name, node) for node in cluster.nodes[:50]))
    guarded.outcomes(count=20, cluster=cluster.name, outcome="rebooted")
    [line, *_] = guarded.outcomes(count=30, cluster=cluster.name, outcome="refused")
    assert line["reason"] == f"budget 20 of 100 nodes in {_BUDGET_WINDOW:.0f}s, 20 spent"
    assert len(guarded.reboots(cluster)) == len(set(guarded.reboots(cluster))) == 20
    last = max(call["time"] for call in guarded.calls(cluster))
    eventually(lambda: time.time() > last + _BUDGET_WINDOW, patience=2 * _BUDGET_WINDOW)

    guarded.redrive()
    guarded.outcomes(count=40, cluster=cluster.name, outcome="rebooted")
    assert len(guarded.reboots(cluster)) == len(set(guarded.reboots(cluster))) == 40
    told = guarded.notifications(cluster.name)
    assert {entry["ErrorCode"] for each in told for entry in each["message"]["Refused"]} == {"ClusterBudgetExceeded"}

    assert refusals(guarded, waiting) == [(waiting.nodes[0], "StaleReport")]


def test_refused_node_is_one_mail_however_often_it_is_reported(guarded: System) -> None:
    """A node that flaps while it is refused for the same code: one letter, the other reports are duplicates."""
    cluster = guarded.cluster(groups=[{"name": "head-nodes", "count": 1}, {"name": "workers", "count": 4}], nodes=None)
    [head] = cluster.nodes[:1]
    guarded.put(events.health(cluster.name, head))
    guarded.outcomes(cluster=cluster.name, outcome="refused", code="ProtectedNode")
    guarded.put(*(events.health(cluster.name, head) | {"time": events.now()} for _ in range(3)))
    lines = guarded.outcomes(count=3, cluster=cluster.name, outcome="duplicate")
    assert "ProtectedNode" in {line.get("code") for line in lines}
    assert refusals(guarded, cluster) == [(head, "ProtectedNode")]
    assert guarded.calls(cluster) == []


def test_slurm_controller_is_spared_and_its_workers_are_not(guarded: System) -> None:
    """The node type says what the group's name does not."""
    groups = [
        {"name": "brain", "count": 1, "slurm_node_type": "Controller"},
        {"name": "workers", "count": 9, "slurm_node_type": "Compute"},
    ]
    cluster = guarded.cluster(groups=groups, nodes=None, orchestrator="slurm")
    guarded.put(*(events.health(cluster.name, node) for node in cluster.nodes[:2]))
    guarded.outcomes(cluster=cluster.name, outcome="rebooted")
    assert refusals(guarded, cluster) == [(cluster.nodes[0], "ProtectedNode")]
    assert guarded.reboots(cluster) == [cluster.nodes[1]]
    [mail] = guarded.mail(cluster.name)
    assert "interrupts the whole cluster" in mail["message"]


def test_slurm_controller_that_was_just_replaced_is_spared(guarded: System) -> None:
    """The new instance is looked up anew, whatever was known of the cluster's controllers a moment ago."""
    groups = [
        {"name": "brain", "count": 1, "slurm_node_type": "Controller"},
        {"name": "workers", "count": 9, "slurm_node_type": "Compute"},
    ]
    cluster = guarded.cluster(groups=groups, nodes=None, orchestrator="slurm")
    guarded.put(events.health(cluster.name, cluster.nodes[1]))
    guarded.outcomes(cluster=cluster.name, outcome="rebooted")
    replace = {"cluster": cluster.name, "node": cluster.nodes[0]}
    guarded.aws.admin("POST", "/_local/hyperpod/nodes/replace", replace)
    nodes = guarded.aws.admin("GET", f"/_local/hyperpod/clusters/{cluster.name}")["nodes"]
    [new] = {node["instance_id"] for node in nodes} - set(cluster.nodes)
    guarded.put(events.health(cluster.name, new))
    assert refusals(guarded, cluster) == [(new, "ProtectedNode")]
    assert guarded.reboots(cluster) == [cluster.nodes[1]]


def test_automatic_cluster_is_left_to_hyperpod(guarded: System) -> None:
    """HyperPod said what it is going to do; that binds an operator's alarm and a request about the node too."""
    cluster = guarded.cluster(10, node_recovery="Automatic")
    guarded.put(events.health(cluster.name, cluster.nodes[0], RepairAction="Replace"))
    guarded.outcomes(cluster=cluster.name, outcome="deferred")
    assert [line["node"] for line in guarded.changes(cluster=cluster.name, state="repairing")] == [cluster.nodes[0]]
    guarded.put(events.alarm({"HyperPodClusterName": cluster.name, "InstanceId": cluster.nodes[0]}))
    guarded.outcomes(cluster=cluster.name, outcome="duplicate")
    assert guarded.letters(count=0, ClusterName=cluster.name) == []
    assert guarded.notifications(cluster.name, count=0) == []
    guarded.send(events.request(cluster.name, cluster.nodes[0]))
    assert refusals(guarded, cluster) == [(cluster.nodes[0], "UnderRepair")]
    assert guarded.calls(cluster) == []


def test_advised_replacement_is_refused_where_hyperpod_does_not_repair(guarded: System) -> None:
    """With node recovery None, Replace is for people to decide; Reboot is done."""
    cluster = guarded.cluster(10)
    guarded.put(
        events.health(cluster.name, cluster.nodes[0], RepairAction="Replace"),
        events.health(cluster.name, cluster.nodes[1], RepairAction="Reboot"),
    )
    guarded.outcomes(cluster=cluster.name, outcome="rebooted", node=cluster.nodes[1])
    assert refusals(guarded, cluster) == [(cluster.nodes[0], "ReplacementAdvised")]


def test_node_that_recovered_since_is_left_alone(guarded: System) -> None:
    """A late report, and a letter redriven late, of a node that has been reported healthy since, are cleared."""
    cluster = guarded.cluster(10)
    guarded.set_node(cluster, cluster.nodes[0], in_use=True)
    late = events.health(cluster.name, cluster.nodes[1])
    guarded.put(events.health(cluster.name, cluster.nodes[0]))
    guarded.outcomes(cluster=cluster.name, outcome="failed", node=cluster.nodes[0])
    for node in cluster.nodes[:2]:
        guarded.aws.admin("POST", "/_local/hyperpod/nodes/heal", {"cluster": cluster.name, "node": node})
    guarded.outcomes(count=2, cluster=cluster.name, outcome="cleared")
    guarded.set_node(cluster, cluster.nodes[0], in_use=False)
    guarded.put(late)
    guarded.redrive()
    guarded.outcomes(count=4, cluster=cluster.name, outcome="cleared")
    assert guarded.reboots(cluster) == []


def test_request_within_the_cooldown_is_refused_not_swallowed(guarded: System) -> None:
    """A person asked, so a person gets an answer."""
    cluster = guarded.cluster(10)
    guarded.put(events.health(cluster.name, cluster.nodes[0]))
    guarded.outcomes(cluster=cluster.name, outcome="rebooted")
    guarded.send(events.request(cluster.name, cluster.nodes[0]))
    assert refusals(guarded, cluster) == [(cluster.nodes[0], "CoolingDown")]


def test_both_ids_of_a_node_are_one_node(guarded: System) -> None:
    """Reported by its instance ID and by its logical ID, at once or one after the other, it is rebooted once."""
    cluster = guarded.cluster(10)
    guarded.put(
        events.health(cluster.name, cluster.nodes[0]),
        events.unhealthy_instance(cluster.name, None, cluster.logical_ids[0]),
        events.unhealthy_instance(cluster.name, None, cluster.logical_ids[1]),
    )
    guarded.outcomes(cluster=cluster.name, outcome="duplicate")
    guarded.outcomes(cluster=cluster.name, outcome="rebooted", node=cluster.logical_ids[1])
    guarded.put(events.health(cluster.name, cluster.nodes[1]) | {"time": events.now()})
    guarded.outcomes(cluster=cluster.name, outcome="duplicate", node=cluster.nodes[1])
    assert sorted(guarded.reboots(cluster)) == sorted(cluster.nodes[:2])


def test_clusters_arn_shares_the_cooldown_of_its_name(guarded: System) -> None:
    """An alarm that names the cluster by its ARN, and a request that does, are about the node that was rebooted."""
    cluster = guarded.cluster(10)
    guarded.put(events.health(cluster.name, cluster.nodes[0]))
    guarded.outcomes(cluster=cluster.name, outcome="rebooted")
    alarm = events.alarm(
        {"HyperPodClusterName": cluster.arn, "InstanceId": cluster.nodes[0]}, name="hyperpod-reboot-by-arn"
    )
    alarm["time"] = alarm["detail"]["state"]["timestamp"] = events.now()
    guarded.put(alarm)
    guarded.outcomes(cluster=cluster.name, outcome="duplicate", node=cluster.nodes[0])
    guarded.send(events.request(cluster.arn, cluster.nodes[0]))
    assert refusals(guarded, cluster) == [(cluster.nodes[0], "CoolingDown")]
    assert guarded.reboots(cluster) == [cluster.nodes[0]]


def test_archive_replay_is_stale(guarded: System) -> None:
    """An event that happened once is not acted on again because an archive is replayed."""
    cluster = guarded.cluster(10)
    guarded.send(events.health(cluster.name, cluster.nodes[0]) | {"replay-name": "drill"})
    assert refusals(guarded, cluster) == [(cluster.nodes[0], "StaleReport")]


def test_lost_answer_counts_as_a_reboot(guarded: System) -> None:
    """The call was carried out and its answer lost: people are told, and nothing calls again within the cooldown."""
    cluster = guarded.cluster(10)
    guarded.aws.faults(LOST_ANSWER | {"body": cluster.name})
    guarded.put(events.health(cluster.name, cluster.nodes[0]))
    assert refusals(guarded, cluster) == [(cluster.nodes[0], "OutcomeUnknown")]
    guarded.put(events.health(cluster.name, cluster.nodes[0]) | {"time": events.now()})
    guarded.outcomes(cluster=cluster.name, outcome="duplicate", node=cluster.nodes[0])
    assert guarded.reboots(cluster) == [cluster.nodes[0]]


def test_pause_observe_and_resume(guarded: System) -> None:
    """Resumed, a redrive works at once, although the function remembers the pause for up to a minute.

    Observe says what would be done; nonsense means paused.
    """
    cluster = guarded.cluster(10)
    set_mode(guarded, "paused")
    guarded.put(events.health(cluster.name, cluster.nodes[0]))
    guarded.outcomes(cluster=cluster.name, outcome="refused", code="Paused")
    set_mode(guarded, "observe")
    guarded.put(events.health(cluster.name, cluster.nodes[1]))
    guarded.outcomes(cluster=cluster.name, outcome="observed", node=cluster.nodes[1])
    set_mode(guarded, "actve")
    guarded.put(events.health(cluster.name, cluster.nodes[2]))
    guarded.outcomes(count=2, cluster=cluster.name, outcome="refused", code="Paused")
    assert guarded.calls(cluster) == []
    observed = [entry for each in guarded.notifications(cluster.name) for entry in each["message"]["Observed"]]
    assert [entry["NodeId"] for entry in observed] == [cluster.nodes[1]]
    set_mode(guarded, None, at_once=False)
    guarded.redrive()
    guarded.outcomes(count=2, cluster=cluster.name, outcome="rebooted")
    assert sorted(guarded.reboots(cluster)) == sorted([cluster.nodes[0], cluster.nodes[2]])


def test_pause_of_one_cluster_ends_by_itself_and_says_so(guarded: System) -> None:
    """The other cluster's nodes are rebooted meanwhile. After the end, told in one mail, a redrive reboots the node."""
    cluster, other = guarded.cluster(10), guarded.cluster(10)
    end = f"{datetime.now(UTC) + timedelta(seconds=40):%Y-%m-%dT%H:%M:%SZ}"
    set_mode(guarded, json.dumps({cluster.name: f"paused until {end}", f"{other.name}/login": "paused"}))
    guarded.put(events.health(cluster.name, cluster.nodes[0]), events.health(other.name, other.nodes[0]))
    [line] = guarded.outcomes(cluster=cluster.name, outcome="refused", code="Paused")
    assert line["reason"].startswith(f"the mode of {cluster.name} is paused: nothing is rebooted until ")
    guarded.outcomes(cluster=other.name, outcome="rebooted")

    def told() -> list[dict[str, str]]:
        return [entry for each in guarded.notifications(cluster.name) for entry in each["message"].get("Resumed", ())]

    [entry] = eventually(told, patience=120)
    assert (entry["Pattern"], entry["Mode"], entry["Until"]) == (cluster.name, "paused", end)
    guarded.redrive()
    guarded.outcomes(cluster=cluster.name, outcome="rebooted", node=cluster.nodes[0])
    assert (guarded.reboots(cluster), guarded.reboots(other)) == ([cluster.nodes[0]], [other.nodes[0]])
    set_mode(guarded, None)
    assert len(told()) == 1
    [mail] = [each for each in guarded.mail(cluster.name) if "RESUMED" in each["subject"]]
    assert "active again since" in mail["message"]
