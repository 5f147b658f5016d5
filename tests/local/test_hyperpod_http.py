"""The simulated HyperPod inside the local AWS: over HTTP, with real time and enforced permissions."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import LocalAws
from local.hyperpod.simulator import DETAIL_TYPE
from tests.local.support import Queue


@pytest.fixture
def cluster(aws: LocalAws, unique: str) -> Iterator[dict[str, Any]]:
    """A cluster of two whose nodes reboot at once."""
    asked = {"name": unique, "nodes": 2, "reboot_seconds": 0.05}
    yield aws.admin("POST", "/_local/hyperpod/clusters", asked)
    aws.admin("DELETE", f"/_local/hyperpod/clusters/{unique}")


@pytest.fixture
def health_queue(aws: LocalAws, unique: str, make_queue: Callable[..., Queue]) -> Iterator[Queue]:
    """A queue that gets this cluster's health events through a rule."""
    queue, events = make_queue(), aws.client("events")
    pattern = {"source": ["aws.sagemaker"], "detail-type": [DETAIL_TYPE], "detail": {"ClusterName": [unique]}}
    rule = events.put_rule(Name=unique, EventPattern=json.dumps(pattern))["RuleArn"]
    queue.allow("events.amazonaws.com", rule)
    events.put_targets(Rule=unique, Targets=[{"Id": "queue", "Arn": queue.arn}])
    yield queue
    events.remove_targets(Rule=unique, Ids=["queue"])
    events.delete_rule(Name=unique)


def test_a_reboot_ends_with_a_healthy_event_though_nobody_looks(
    aws: LocalAws, cluster: dict[str, Any], health_queue: Queue
) -> None:
    """It lasts in real time."""
    node = cluster["nodes"][0]["instance_id"]
    aws.admin("POST", "/_local/hyperpod/nodes/break", {"node": node})
    answer = aws.client("sagemaker").batch_reboot_cluster_nodes(ClusterName=cluster["name"], NodeIds=[node])
    assert answer["Successful"] == [node]
    events = [json.loads(message["Body"]) for message in health_queue.take(2)]
    told = {event["detail"]["HealthSummary"]["HealthStatus"]: event for event in events}
    assert set(told) == {"Unhealthy", "Healthy"}
    assert told["Healthy"]["source"] == "aws.sagemaker"
    assert told["Healthy"]["resources"] == [cluster["arn"]]
    assert told["Healthy"]["detail"]["InstanceId"] == node
    (entry,) = [each for each in aws.admin("GET", "/_local/hyperpod/reboots") if each["node"] == node]
    assert entry["finished"] >= entry["started"] + 0.05


def test_who_may_reboot_one_cluster_may_not_reboot_another(
    aws: LocalAws, cluster: dict[str, Any], make_user: Callable[..., dict[str, str]]
) -> None:
    action = "sagemaker:BatchRebootClusterNodes"
    user = make_user({"Effect": "Allow", "Action": action, "Resource": cluster["arn"]})
    client, node = aws.client("sagemaker", **user), cluster["nodes"][0]["instance_id"]
    assert client.batch_reboot_cluster_nodes(ClusterName=cluster["name"], NodeIds=[node])["Successful"] == [node]
    with pytest.raises(ClientError, match="AccessDenied"):
        client.batch_reboot_cluster_nodes(ClusterName="some-other-cluster", NodeIds=[node])
    with pytest.raises(ClientError, match="AccessDenied"):
        client.describe_cluster(ClusterName=cluster["name"])


def test_the_call_log_says_which_role_called(aws: LocalAws, cluster: dict[str, Any], unique: str) -> None:
    iam, node = aws.client("iam"), cluster["nodes"][0]["instance_id"]
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=unique, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    allow = {"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_role_policy(RoleName=unique, PolicyName="only", PolicyDocument=policy)
    session = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="tester")["Credentials"]
    keys = {"key": session["AccessKeyId"], "secret": session["SecretAccessKey"], "token": session["SessionToken"]}
    aws.client("sagemaker", **keys).batch_reboot_cluster_nodes(ClusterName=cluster["name"], NodeIds=[node])
    (call,) = [c for c in aws.admin("GET", "/_local/hyperpod/calls")["calls"] if c["cluster"] == cluster["name"]]
    assert call["principal"] == f"arn:aws:sts::{aws.account}:assumed-role/{unique}/tester"
