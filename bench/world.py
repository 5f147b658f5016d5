"""The local AWS with the stack deployed by the real CDK CLI, for functions on the real runtime beside it."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.builds import Build, all_builds, empty_build
from bench.endpoint import Certificate, Endpoint
from bench.reports import Report, report
from bench.rie import Function
from bench.tools import WORK, Runtime, runtime
from local.aws import LocalAws
from local.deploy import deploy

# Everything that is reported may be rebooted: what is measured is the work of rebooting, not of refusing.
CONTEXT = {"remediation.budget_percent": "100"}
_MOST_IN_A_GROUP = 6_758  # of SageMaker's own model


@dataclass(frozen=True, slots=True)
class Bench:
    """The builds, one that does nothing, and the certificate that the local endpoint shows them."""

    runtime: Runtime
    builds: Mapping[str, Build]
    empty: Build
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class World:
    """A deployed stack, and the TLS endpoint in front of it."""

    bench: Bench
    aws: LocalAws
    endpoint: Endpoint
    outputs: Mapping[str, str]
    variables: Mapping[str, str]

    def function(self, build: Build) -> Function:
        """An execution environment that has not started yet."""
        return Function(self.bench.runtime, build, self.variables)

    def cluster(self, nodes: int, *, protected: int = 0) -> list[Report]:
        """A new cluster, as one report for each of its nodes that may be rebooted."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        made = self.aws.admin(
            "POST",
            "/_local/hyperpod/clusters",
            {"name": name, "groups": _groups(nodes, protected), "reboot_seconds": 0.1},
        )
        ids = [node["instance_id"] for node in made["nodes"] if not node["group"].endswith("controller")]
        return [report(name, node) for node in ids]


def prepare() -> Bench:
    """Raises BenchError."""
    found = runtime()
    certificate = Certificate(WORK / "tls")
    builds = all_builds(found, certificate.root.read_text())
    return Bench(found, builds, empty_build(), certificate)


@contextmanager
def world(bench: Bench, *, seconds: float, context: Mapping[str, str] | None = None) -> Iterator[World]:
    """`seconds` is how long each call takes to be answered."""
    with LocalAws() as aws:
        outputs = deploy(aws, context={**CONTEXT, **(context or {})})
        configured: Any = aws.client("lambda").get_function_configuration(FunctionName=outputs["FunctionName"])
        with Endpoint(bench.certificate, aws.port, seconds=seconds) as endpoint:
            account = {name: value for name, value in aws.exports.items() if not name.startswith("AWS_ENDPOINT")}
            variables = {**configured["Environment"]["Variables"], **account, "AWS_ENDPOINT_URL": endpoint.url}
            variables = {**variables, "NO_PROXY": "localhost", "no_proxy": "localhost"}
            yield World(bench, aws, endpoint, outputs, variables)


def _groups(nodes: int, protected: int) -> list[dict[str, Any]]:
    groups = [
        {"name": f"workers-{number}", "count": min(_MOST_IN_A_GROUP, nodes - start)}
        for number, start in enumerate(range(0, nodes, _MOST_IN_A_GROUP))
    ]
    return [*groups, *([{"name": "controller", "count": protected}] if protected else [])]
