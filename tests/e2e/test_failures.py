"""Follows every error code and odd input to the dead-letter queue and the topic: nothing that went in is missing."""

import json
from typing import Any

import pytest

from local.staging import SimulatedCluster
from tests.e2e import events
from tests.e2e.system import System, eventually


def reported(
    system: System, cluster: SimulatedCluster, *, count: int = 1
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the letters' details, and the lists of all notifications put together."""
    letters = system.letters(count=count, ClusterName=cluster.name)
    lists: dict[str, Any] = {}

    def all_told() -> bool:
        lists.clear()
        for each in system.notifications(cluster.name):
            for key, value in each["message"].items():
                if isinstance(value, list):
                    lists.setdefault(key, []).extend(value)
        return sum(map(len, lists.values())) >= count

    eventually(all_told)
    return [json.loads(letter["body"])["detail"] for letter in letters], lists


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ({"in_use": True}, "InstanceIdInUse"),
        ({"gone": True}, "InstanceIdNotFound"),
        ({"status": "ShuttingDown"}, "InvalidInstanceStatus"),
        ({"fail": {"code": "InternalServerError", "message": "An internal error occurred."}}, "InternalServerError"),
    ],
)
@pytest.mark.parametrize("logical", [False, True])
def test_failed_entry_reaches_queue_and_topic_verbatim(
    system: System,
    script: dict[str, Any],
    code: str,
    logical: bool,
) -> None:
    """Machines and people get the API's own entry; the node's neighbour is rebooted."""
    cluster = system.cluster()
    system.set_node(cluster, cluster.nodes[0], **script)
    ids = cluster.logical_ids if logical else cluster.nodes
    system.send(events.request(cluster.name, logical_ids=ids) if logical else events.request(cluster.name, *ids))
    [letter], lists = reported(system, cluster)
    [call] = system.calls(cluster)
    [entry] = call["answer"]["FailedNodeLogicalIds" if logical else "Failed"]
    assert entry["ErrorCode"] == code
    assert lists["FailedNodeLogicalIds" if logical else "Failed"] == [entry]
    assert entry.items() <= letter.items()
    assert letter["Attempt"] == 1
    assert letter["Retryable"] is (code != "InstanceIdNotFound")
    assert system.reboots(cluster) == [cluster.nodes[1]]


def test_node_listed_as_rebooted_and_twice_as_failed_is_one_failure_and_one_reboot(system: System) -> None:
    """It counts as rebooted, so that a later report within the cooldown is a duplicate; the failure is told once."""
    cluster = system.cluster()
    failure = {"code": "InternalServerError", "times": 1, "listed": 2, "rebooted": True}
    system.set_node(cluster, cluster.nodes[0], fail=failure)
    system.put(events.health(cluster.name, cluster.nodes[0]))
    [letter], lists = reported(system, cluster)
    assert letter["ErrorCode"] == "InternalServerError"
    assert [entry["NodeId"] for entry in lists["Failed"]] == [cluster.nodes[0]]
    system.put(events.health(cluster.name, cluster.nodes[0]) | {"time": events.now()})
    system.outcomes(cluster=cluster.name, outcome="duplicate")
    assert system.reboots(cluster) == [cluster.nodes[0]]


def test_letter_is_whole(system: System) -> None:
    """One message per node with everything that a script needs, and the attributes that filters match."""
    cluster = system.cluster()
    system.set_node(cluster, cluster.nodes[0], in_use=True)
    [time] = system.put(events.health(cluster.name, cluster.nodes[0]))
    [letter] = system.letters(ClusterName=cluster.name)
    assert letter["attributes"] == {"ClusterName": cluster.name, "ErrorCode": "InstanceIdInUse", "Kind": "failed"}
    body = json.loads(letter["body"])
    assert (body["version"], body["source"], body["detail-type"], body["account"], body["region"]) == (
        "1",
        "hyperpod.node-remediation",
        "HyperPod Node Reboot Failed",
        "000000000000",
        "us-east-1",
    )
    trigger = body["detail"]["Trigger"]
    assert trigger["Source"] == "aws.sagemaker"
    assert trigger["DetailType"] == "SageMaker HyperPod Cluster Node Health Event"
    assert trigger["Time"][:19] == time[:19]
    assert "NvidiaErrorTerminate" in trigger["Reason"]
    [line] = system.outcomes(cluster=cluster.name, outcome="failed")
    assert body["detail"]["IncidentId"] == line["incident"]


def test_person_gets_a_mail_to_act_on(system: System) -> None:
    """The mail names cluster, node, what AWS and HyperPod said, what to do now, and the command that tries again."""
    cluster = system.cluster()
    system.set_node(cluster, cluster.nodes[0], in_use=True)
    system.put(events.health(cluster.name, cluster.nodes[0]))
    [mail] = system.mail(cluster.name)
    assert mail["to"] == "oncall@example.com"
    node = cluster.nodes[0]
    assert mail["subject"] == f"[us-east-1] {cluster.name} {node}: NODE IS BUSY, wait and try again"
    for needed in (
        "InstanceIdInUse: ",
        "NvidiaErrorTerminate",
        "Please Replace the Faulty Node.",
        "DO NOW",
        "aws sqs send-message",
        system.outputs["IntakeQueueUrl"],
        f'"NodeIds": ["{node}"]',
        system.outputs["DeadLetterQueueUrl"],
    ):
        assert needed in mail["message"]


def test_malformed_id_is_reported_and_does_not_spoil_its_neighbours(system: System) -> None:
    """The API rejects the whole call that holds the documented sample's ID: it is alone in it."""
    cluster = system.cluster(5)
    neighbours = cluster.nodes[:3]
    system.send(events.request(cluster.name, neighbours[0], "i-12345678abcdefghi", *neighbours[1:]))
    [letter], lists = reported(system, cluster)
    assert (letter["NodeId"], letter["ErrorCode"]) == ("i-12345678abcdefghi", "ValidationException")
    assert [entry["NodeId"] for entry in lists["Failed"]] == ["i-12345678abcdefghi"]
    assert sorted(system.reboots(cluster)) == sorted(neighbours)


def test_logical_ids_on_a_cluster_without_them_all_fail_in_three_calls(system: System) -> None:
    """The cluster's fault, not an ID's: halving stops after both halves are rejected in the same words."""
    cluster = system.cluster(8, continuous=False)
    ids = tuple(f"logical-{number}" for number in range(8))
    system.send(events.request(cluster.name, logical_ids=ids))
    letters, _ = reported(system, cluster, count=8)
    assert {letter["ErrorCode"] for letter in letters} == {"ValidationException"}
    assert sorted(letter["NodeLogicalId"] for letter in letters) == sorted(ids)
    assert len(system.calls(cluster)) == 3


def test_unknown_cluster_fails_its_nodes(system: System) -> None:
    """ResourceNotFound is the API's answer, and what people get."""
    name = "ml-no-such-cluster"
    system.put(events.health(name, "i-0123456789abcdef0"))
    [letter] = system.letters(ClusterName=name)
    assert json.loads(letter["body"])["detail"]["ErrorCode"] == "ResourceNotFound"
    [told] = system.notifications(name)
    assert told["attributes"] == {
        "ClusterName": name,
        "Kind": "failed",
        "ErrorCodes": '["ResourceNotFound"]',
    }


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 500, "code": "InternalFailure"}, "OutcomeUnknown"),
        ({"status": 503, "code": "ServiceUnavailable", "after": True}, "OutcomeUnknown"),
        ({"reset": True, "after": True}, "OutcomeUnknown"),
        ({"delay": 9.0, "after": True}, "OutcomeUnknown"),
        ({"status": 400, "code": "AccessDeniedException"}, "AccessDeniedException"),
    ],
    ids=["500", "503 after it was done", "lost answer", "time-out", "denied"],
)
def test_call_that_fails_as_a_whole_is_reported_and_never_repeated(
    system: System, fault: dict[str, Any], code: str
) -> None:
    """A lost answer is a question for people: nothing calls again by itself."""
    cluster = system.cluster()
    system.aws.faults(
        {"service": "sagemaker", "action": "BatchRebootClusterNodes", "body": cluster.name, "count": 5} | fault
    )
    system.put(events.health(cluster.name, cluster.nodes[0]))
    [letter], lists = reported(system, cluster)
    left = system.aws.admin("GET", "/_local/faults")
    system.aws.admin("DELETE", "/_local/faults")
    assert letter["ErrorCode"] == code
    assert [entry["ErrorCode"] for entry in lists["Failed"]] == [code]
    assert [each["count"] for each in left] == [4]
    assert len(system.reboots(cluster)) == (1 if fault.get("after") else 0)


def throttle(system: System, cluster: SimulatedCluster, *, times: int) -> None:
    fault = {"service": "sagemaker", "action": "BatchRebootClusterNodes", "body": cluster.name}
    system.aws.faults(fault | {"count": times, "status": 400, "code": "ThrottlingException"})


def test_throttled_call_is_tried_again_at_once(system: System) -> None:
    """Turned away twice, the same call goes through the third time; no letter is needed."""
    cluster = system.cluster()
    throttle(system, cluster, times=2)
    system.put(events.health(cluster.name, cluster.nodes[0]))
    system.outcomes(cluster=cluster.name, outcome="rebooted")
    assert system.letters(count=0, ClusterName=cluster.name) == []


@pytest.mark.parametrize("body", ["{not json", "[]", '{"detail": {}}', "plain words"])
def test_unreadable_body_is_in_the_queue_as_it_came_and_people_know(system: System, body: str) -> None:
    """It is not changed, as it could not be read."""
    body = f"{body} " * (1 + body.startswith("plain"))
    system.send(body)
    letters = eventually(lambda: [letter for letter in system.letters(Kind="unreadable") if letter["body"] == body])
    assert letters[0]["attributes"]["ErrorCode"] == "Unreadable"
    eventually(lambda: any(told["attributes"]["Kind"] == "unreadable" for told in system.notifications(None)))


def test_malformed_request_says_what_is_wrong(system: System) -> None:
    """The mail's one line names the field and what it takes."""
    system.send(events.request("ml-x") | {"detail": {"ClusterName": "ml-x", "NodeIds": "i-0123456789abcdef0"}})
    system.mail("detail.NodeIds: takes a list of IDs, each a string")


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (events.alarm({"HyperPodClusterName": "ml-x"}, name="hyperpod-reboot-no-node"), "NodeNotResolved"),
        (events.alarm({"InstanceId": "i-0123456789abcdef0"}, name="hyperpod-reboot-nowhere"), "ClusterNotResolved"),
        (
            events.metric_math({"InstanceId": "i-0123456789abcdef0"}, {"InstanceId": "i-0123456789abcdef1"}),
            "AmbiguousNodes",
        ),
    ],
)
def test_alarm_that_does_not_say_what_to_reboot_is_refused_with_the_original(
    system: System, event: dict[str, Any], code: str
) -> None:
    """The event itself is in the dead-letter queue, as it came: only it says what there is to act on."""
    system.put(event)
    [letter] = system.letters(ErrorCode=code)
    assert letter["attributes"]["Kind"] == "refused"
    assert json.loads(letter["body"])["detail"] == event["detail"]
    eventually(lambda: any(code in told["attributes"]["ErrorCodes"] for told in system.notifications(None)))


def test_cluster_that_is_not_allowed_is_refused(system: System) -> None:
    """The setting clusters names ml-*; no rule takes another cluster's event, so it is put on the intake queue."""
    cluster = system.cluster(name="research-1")
    system.send(events.health(cluster.name, cluster.nodes[0]))
    [letter] = system.letters(ClusterName=cluster.name)
    assert json.loads(letter["body"])["detail-type"] == "HyperPod Node Reboot Refused"
    [told] = system.notifications(cluster.name)
    assert [entry["ErrorCode"] for entry in told["message"]["Refused"]] == ["ClusterNotAllowed"]
    assert system.calls(cluster) == []


def test_event_of_another_account_is_refused_and_nothing_is_called(system: System) -> None:
    """Its cluster has the name of one of ours; only its account tells that it is another's."""
    cluster = system.cluster()
    event = events.health(cluster.name, cluster.nodes[0]) | {"account": "111122223333"}
    system.send(event)
    [letter] = system.letters(ErrorCode="ForeignEvent")
    assert json.loads(letter["body"]) == event
    assert letter["attributes"] == {"ClusterName": cluster.name, "ErrorCode": "ForeignEvent", "Kind": "refused"}
    [told] = system.notifications(cluster.name)
    assert [entry["ErrorCode"] for entry in told["message"]["Refused"]] == ["ForeignEvent"]
    assert system.calls(cluster) == []


def test_redriven_letter_is_a_new_attempt_and_one_that_fails_again_is_invisible(system: System) -> None:
    """The node that is free now is rebooted; the letter of the other one is not there to be moved once more."""
    system.letters(count=0)  # takes those of other tests off the queue
    cluster = system.cluster()
    for node in cluster.nodes:
        system.set_node(cluster, node, in_use=True)
    system.send(events.request(cluster.name, *cluster.nodes))
    system.outcomes(count=2, cluster=cluster.name, outcome="failed")
    system.set_node(cluster, cluster.nodes[0], in_use=False)
    system.redrive()
    system.outcomes(cluster=cluster.name, outcome="rebooted", node=cluster.nodes[0])
    system.outcomes(count=2, cluster=cluster.name, outcome="failed", node=cluster.nodes[1])
    told = [entry["NodeId"] for each in system.notifications(cluster.name) for entry in each["message"]["Failed"]]
    assert sorted(told) == sorted([*cluster.nodes, cluster.nodes[1]])
    assert system.letters(count=0, ClusterName=cluster.name) == []
    assert system.queued("DeadLetterQueueUrl")["Delayed"] == 1
    assert system.reboots(cluster) == [cluster.nodes[0]]
