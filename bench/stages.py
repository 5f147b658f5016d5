"""Where a build's init goes: its imports and clients timed one after another, in a new process each time."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from bench.builds import IN_TURN, OURS, Build
from bench.tools import BenchError, Runtime
from bench.world import Bench

ROUNDS = 7
# What each stage imports. The handler makes all clients when it is imported, and all else is there by then.
_BOTH = {
    "botocore": ("botocore.session", "botocore.config", "botocore.httpsession"),
    "Powertools: logger, metrics": ("aws_lambda_powertools", "aws_lambda_powertools.metrics"),
}
_NAIVE_ONLY = {
    "boto3": ("boto3",),
    "Powertools: tracer, parser, batch": (
        "aws_xray_sdk.core",
        "aws_lambda_powertools.utilities.batch",
        "aws_lambda_powertools.utilities.parser.models",
    ),
}
_OWN = "the function's own modules"
_CLIENTS = "clients"
_PROGRAM = """
import importlib, json, sys, time
took = {}
for stage, modules in json.loads(sys.argv[1]).items():
    started = time.perf_counter()
    for module in modules:
        importlib.import_module(module)
    took[stage] = (time.perf_counter() - started) * 1000
print(json.dumps(took))
"""


@dataclass(frozen=True, slots=True)
class Stages:
    """Milliseconds by stage, in the order in which they come, of one process of a build."""

    build: str
    took_ms: dict[str, float]


def measure(bench: Bench, variables: Mapping[str, str]) -> tuple[Stages, ...]:
    """All builds that differ here in turn, in every round."""
    builds = [build for name, build in bench.builds.items() if name != IN_TURN]
    return tuple(_stages(bench.runtime, build, variables) for _ in range(ROUNDS) for build in builds)


def _stages(runtime: Runtime, build: Build, variables: Mapping[str, str]) -> Stages:
    stages = {**_BOTH, **({} if build.name == OURS else _NAIVE_ONLY)}
    stages |= {_OWN: ("node_remediation.wiring",), _CLIENTS: (build.handler.rpartition(".")[0],)}
    environment = {**variables, "PYTHONPATH": str(build.trusting), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(runtime.python.path), "-S", "-c", _PROGRAM, json.dumps(stages)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise BenchError(f"{build.name}: {ran.stderr.strip()[-300:]}")
    return Stages(build.name, json.loads(ran.stdout.splitlines()[-1]))
