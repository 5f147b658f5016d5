"""A local AWS with topic, queues and a simulated HyperPod; hooks find it by their environment, as any script does."""

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.aws import LocalAws
from local.schedulers import StandIn, kubectl, scontrol
from local.staging import SimulatedCluster, make_hook_queue


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as running:
        yield running


@dataclass
class Desk:
    """A topic, a hook's own queue that is subscribed to it, the intake queue, and a cluster; each of its own."""

    aws: LocalAws
    cluster: SimulatedCluster
    topic: str
    queue_url: str
    intake_url: str

    @classmethod
    def make(cls, aws: LocalAws, **plan: Any) -> "Desk":
        name = f"ml-{uuid.uuid4().hex[:8]}"
        topic = boto3.client("sns").create_topic(Name=name)["TopicArn"]
        intake = boto3.client("sqs").create_queue(QueueName=f"{name}-intake")["QueueUrl"]
        cluster = SimulatedCluster.make(aws, name, **{"nodes": 3} | plan)
        return cls(aws, cluster, topic, make_hook_queue(aws, topic, name), intake)

    def proposes(self, *nodes: str, minutes: float = 15, cluster: str = "", kind: str = "proposed") -> list[str]:
        """Publish proposals in one message, as the function does; return their incidents."""
        expires = f"{datetime.now(UTC) + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"
        proposals = [
            {
                "NodeId" if node.startswith("i-") else "NodeLogicalId": node,
                "IncidentId": str(uuid.uuid4()),
                "Reason": "Xid 79",
                "Expires": expires,
            }
            for node in nodes
        ]
        self.publishes({"ClusterName": cluster or self.cluster.name, "Failed": [], "Proposed": proposals}, kind)
        return [each["IncidentId"] for each in proposals]

    def publishes(self, notice: dict[str, Any], kind: str) -> None:
        attributes = {"ClusterName": self.cluster.name, "Kind": kind}
        boto3.client("sns").publish(
            TopicArn=self.topic,
            Message=json.dumps({"default": json.dumps(notice), "email": "for people"}),
            MessageStructure="json",
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )

    def options(self, *more: str) -> list[str]:
        """Return the hook's options for one look."""
        urls = ["--queue-url", self.queue_url, "--intake-url", self.intake_url]
        return [*urls, "--cluster", self.cluster.name, "--every", "1", "--once", *more]

    def answers(self) -> list[tuple[str, str, str]]:
        """Take the answers: kind, incident and reason of each."""
        found = []
        sqs = boto3.client("sqs")
        while messages := sqs.receive_message(QueueUrl=self.intake_url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                event = json.loads(message["Body"])
                assert event["source"] == "hyperpod.node-remediation"
                detail = event["detail"]
                kind = event["detail-type"].removeprefix("HyperPod Node Reboot ")
                found.append((kind, detail["IncidentId"], detail["Reason"]))
                sqs.delete_message(QueueUrl=self.intake_url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def waiting(self) -> int:
        """Return the number of messages in the hook's queue, visible or not."""
        found = boto3.client("sqs").get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["All"])["Attributes"]
        return int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])

    def host(self, node: str) -> str:
        """Return the node's name in Slurm."""
        details = boto3.client("sagemaker").describe_cluster_node(ClusterName=self.cluster.name, NodeId=node)
        return details["NodeDetails"]["PrivateDnsHostname"].partition(".")[0]


@pytest.fixture(scope="module", autouse=True)
def shell(aws: LocalAws) -> Iterator[None]:
    """Turn this process to the local AWS, as `make local` turns a shell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        for name, value in aws.exports.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def desk(aws: LocalAws) -> Desk:
    """A desk for a cluster on EKS whose nodes have logical IDs."""
    return Desk.make(aws)


@pytest.fixture
def slurm(aws: LocalAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Desk, StandIn]:
    """A desk for a Slurm cluster, whose nodes are idle, and its scontrol."""
    desk = Desk.make(aws, orchestrator="slurm")
    standin = StandIn(tmp_path, "scontrol", {desk.host(node): scontrol.IDLE for node in desk.cluster.nodes})
    monkeypatch.setenv("PATH", standin.environment["PATH"])
    return desk, standin


@pytest.fixture
def kubernetes(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Desk, StandIn]:
    """A desk for a cluster on EKS, whose nodes have a pod each, and its kubectl."""
    standin = StandIn(tmp_path, "kubectl", {f"hyperpod-{node}": kubectl.READY for node in desk.cluster.nodes})
    monkeypatch.setenv("PATH", standin.environment["PATH"])
    return desk, standin


@dataclass
class Calendar:
    """Answers GetCalendarState, as it is told to, and keeps what was asked."""

    answer: dict[str, Any]
    asked: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calendar]:
    """A stand-in for Systems Manager; the local AWS has no change calendars."""
    told = Calendar({"State": "OPEN"})

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["X-Amz-Target"] == "AmazonSSM.GetCalendarState"
            told.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = json.dumps(told.answer).encode()
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002  http.server names it so
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", f"http://127.0.0.1:{server.server_port}")
    yield told
    server.shutdown()
    thread.join()
    server.server_close()
