"""Sets up the local AWS with the stack deployed by the real CDK CLI, for functions on the real runtime beside it."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.endpoint import Certificate, Endpoint
from bench.reports import SentReport, report
from bench.rie import Function
from bench.tools import WORK, Build, Runtime, all_builds, runtime
from local.aws import LocalAws
from local.deploy import deploy

# How long each call takes, everywhere.
LATENCY_SECONDS = 0.020
# Everything that is reported may be rebooted: the work of rebooting is measured, not that of refusing.
CONTEXT = {"remediation.budget_percent": "100"}
_MOST_IN_A_GROUP = 6_758  # of SageMaker's own model
# The services that the function calls while it handles reports.
_SERVICES = ("sagemaker", "dynamodb", "ssm", "sns")


@dataclass(frozen=True, slots=True)
class Bench:
    """Holds the builds, and the certificate that the local endpoint shows them."""

    runtime: Runtime
    builds: Mapping[str, Build]
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Work:
    """Holds what invocations of a warm function took. `cpu_seconds` of `seconds` were work, the others waiting.

    `largest_item` is the largest ledger item that was written, `peak_bytes` the most resident memory so far.
    """

    calls: dict[str, int]
    seconds: float
    cpu_seconds: float
    writes: int
    reads: float
    largest_item: int
    log_bytes: int
    peak_bytes: int
    handed_back: int

    @property
    def total_calls(self) -> int:
        return sum(self.calls.values())


@dataclass(frozen=True, slots=True)
class BenchAccount:
    """Holds a deployed stack, and the TLS endpoint in front of it."""

    bench: Bench
    aws: LocalAws
    endpoint: Endpoint
    outputs: Mapping[str, str]
    variables: Mapping[str, str]

    def function(self, build: Build, *, cpu_share: float = 1) -> Function:
        """Return an execution environment that has not started yet."""
        return Function(self.bench.runtime, build, self.variables, cpu_share=cpu_share)

    def cluster(self, nodes: int) -> list[SentReport]:
        """Make a cluster and return one report for each of its nodes."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        groups = [
            {"name": f"workers-{number}", "count": min(_MOST_IN_A_GROUP, nodes - start)}
            for number, start in enumerate(range(0, nodes, _MOST_IN_A_GROUP))
        ]
        made = self.aws.admin(
            "POST", "/_local/hyperpod/clusters", {"name": name, "groups": groups, "reboot_seconds": 0.1}
        )
        return [report(name, node["instance_id"]) for node in made["nodes"]]

    def work(self, function: Function, events: Iterable[object]) -> Work:
        """Invoke the function with one event after another."""
        self.endpoint.forget()
        logged = function.log_bytes()
        done = [function.invoke(event) for event in events]
        return Work(
            calls=dict(self.endpoint.calls),
            seconds=sum(each.duration_ms for each in done) / 1000,
            cpu_seconds=sum(each.cpu_ms for each in done) / 1000,
            writes=self.endpoint.units.writes,
            reads=self.endpoint.units.reads,
            largest_item=self.endpoint.units.largest_item,
            log_bytes=function.log_bytes() - logged,
            peak_bytes=function.peak_memory_bytes(),
            handed_back=sum(len((each.answer or {}).get("batchItemFailures", ())) for each in done),
        )

    def delay_deployed(self) -> None:
        """Let each call of the deployed function, too, take LATENCY_SECONDS; the queues' own calls do not."""
        self.aws.faults(*({"service": each, "count": 10**9, "delay": LATENCY_SECONDS} for each in _SERVICES))


def prepare() -> Bench:
    """Make what is measured. Raises BenchError."""
    found = runtime()
    return Bench(found, all_builds(found.python), Certificate(WORK / "tls"))


@contextmanager
def world(
    bench: Bench, *, seconds: float, context: Mapping[str, str] | None = None, sweep_every: float | None = None
) -> Iterator[BenchAccount]:
    """Deploy the stack. Calls through the endpoint take `seconds`; without `sweep_every` the rule fires no sweep."""
    with LocalAws() as aws:
        outputs = deploy(aws, context={**CONTEXT, **(context or {})}, sweep_every=sweep_every)
        configured: Any = aws.client("lambda").get_function_configuration(FunctionName=outputs["FunctionName"])
        with Endpoint(bench.certificate, aws.port, seconds=seconds) as endpoint:
            account = {name: value for name, value in aws.exports.items() if not name.startswith("AWS_ENDPOINT")}
            variables = {
                **configured["Environment"]["Variables"],
                **account,
                "AWS_ENDPOINT_URL": endpoint.url,
                "AWS_CA_BUNDLE": str(bench.certificate.roots),
                "NO_PROXY": "localhost",
                "no_proxy": "localhost",
            }
            yield BenchAccount(bench, aws, endpoint, outputs, variables)
