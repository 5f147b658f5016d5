"""A simulated HyperPod in this process, with a clock of its own, and real boto3 clients that talk to it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import boto3
import botocore.config
import pytest
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.exceptions import ClientError

from local.hyperpod.admin import HyperPodAdmin
from local.hyperpod.simulator import Simulator
from local.hyperpod.world import AccountRegion

START = 1_800_000_000.0


@lru_cache
def _session() -> Any:
    """One for all: it reads the service model once. Its clients have hooks of their own."""
    return boto3.session.Session()


@dataclass
class SimulatedHyperPod:
    """The simulation as a test holds it: its clock, its bus, its admin API and a client."""

    now: float = START
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.simulator = Simulator(clock=lambda: self.now, account=lambda: AccountRegion("000000000000", "us-east-1"))
        self.simulator.install(self.events.append)
        self._admin = HyperPodAdmin(self.simulator)
        self.client = self._client()

    def admin(self, method: str, path: str, body: object = None) -> Any:
        """The value of an admin request that must succeed."""
        status, value = self.admin_reply(method, path, body)
        assert status == 200, value
        return value

    def admin_reply(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        payload = b"" if body is None else json.dumps(body).encode()
        status, value = self._admin.serve(method, f"/_local/hyperpod/{path}", payload)
        return status, json.loads(json.dumps(value))

    def create(self, name: str = "ml-a", **options: Any) -> dict[str, Any]:
        """A cluster's description; two nodes unless the options say otherwise."""
        if "groups" not in options:
            options.setdefault("nodes", 2)
        created: dict[str, Any] = self.admin("POST", "clusters", {"name": name, **options})
        return created

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything that falls due in it."""
        self.now += seconds
        self.simulator.tick()

    def health_told(self) -> list[tuple[str, str]]:
        """(instance ID, HealthStatus) of every event on the bus."""
        details = [json.loads(event["Detail"]) for event in self.events]
        return [(detail["InstanceId"], detail["HealthSummary"]["HealthStatus"]) for detail in details]

    def node(self, **options: Any) -> dict[str, Any]:
        """The first node of a new cluster."""
        return dict(self.create(**options)["nodes"][0])

    def ask(self, verb: str, node: dict[str, Any], **what: Any) -> dict[str, Any]:
        """Break, heal, replace or set a node; its description."""
        asked: dict[str, Any] = self.admin("POST", f"nodes/{verb}", {"node": node["instance_id"], **what})
        return asked

    def reboot(self, *nodes: dict[str, Any]) -> dict[str, Any]:
        """The answer to a reboot by instance IDs."""
        ids = [node["instance_id"] for node in nodes]
        answer = self.client.batch_reboot_cluster_nodes(ClusterName="ml-a", NodeIds=ids)
        del answer["ResponseMetadata"]
        return dict(answer)

    def failure(self, node: dict[str, Any]) -> str:
        """The ErrorCode of a reboot, or nothing if it started."""
        failed = self.reboot(node)["Failed"]
        return str(failed[0]["ErrorCode"]) if failed else ""

    def details(self, **id_: str) -> dict[str, Any]:
        return dict(self.client.describe_cluster_node(ClusterName="ml-a", **id_)["NodeDetails"])

    def status(self, node: dict[str, Any]) -> tuple[str, str]:
        described = self.details(NodeId=node["instance_id"])["InstanceStatus"]
        return described["Status"], described["Message"]

    def shown(self, node: dict[str, Any]) -> dict[str, Any]:
        """The node as the admin API shows it."""
        nodes = self.admin("GET", "clusters/ml-a")["nodes"]
        return next(dict(other) for other in nodes if other["instance_id"] == node["instance_id"])

    def raw(self, operation: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """A request that no AWS client would send."""
        status, _, answer = self.simulator.serve(operation, body)
        return status, json.loads(answer)

    def _client(self) -> Any:
        # botocore itself checks types and required fields; whatever it would refuse must reach the simulation.
        config = botocore.config.Config(parameter_validation=False, retries={"total_max_attempts": 1})
        client = _session().client(
            "sagemaker", "us-east-1", aws_access_key_id="test", aws_secret_access_key="test", config=config
        )
        client.meta.events.register("before-send.sagemaker", self._send)
        return client

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        target = request.headers["X-Amz-Target"]
        operation = (target.decode() if isinstance(target, bytes) else target).removeprefix("SageMaker.")
        body = request.body.encode() if isinstance(request.body, str) else request.body
        status, headers, answer = self.simulator.serve(operation, body)
        received: Any = HeadersDict(headers)
        return AWSResponse(request.url, status, received, _RawAnswer(answer))


@dataclass
class _RawAnswer:
    """What botocore reads an answer from."""

    content: bytes

    def stream(self) -> Iterator[bytes]:
        yield self.content


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    """Return code and message of the error that the call must raise."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]
