"""Runs examples/hooks/slurm_drain.py as an operator does, against a stand-in for scontrol."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from local.aws import PROJECT, LocalAws
from local.demo.acting import SimulatedNode
from local.demo.looking import Readings
from local.schedulers import StandIn, scontrol
from local.staging import make_hook_queue

_SCRIPT = PROJECT / "examples/hooks/slurm_drain.py"
_SECONDS_TO_END = 10


class DrainHook:
    """Answers proposals for one Slurm cluster, on one of whose nodes a job runs. `said` is what the script printed."""

    def __init__(self, aws: LocalAws, outputs: Mapping[str, str], node: SimulatedNode) -> None:
        self._aws, self._outputs, self.node = aws, outputs, node
        self.said: list[str] = []

    def __enter__(self) -> Self:
        self._scratch = tempfile.TemporaryDirectory()
        sagemaker = self._aws.client("sagemaker")
        details = sagemaker.describe_cluster_node(ClusterName=self.node.cluster.name, NodeId=self.node.id)
        self._host = details["NodeDetails"]["PrivateDnsHostname"].partition(".")[0]
        self._scontrol = StandIn(Path(self._scratch.name), "scontrol", {self._host: scontrol.IDLE})
        self._scontrol.change(self._host, base="ALLOCATED")
        options = {
            "--queue-url": make_hook_queue(self._aws, self._outputs["FailureTopicArn"], self.node.cluster.name),
            "--intake-url": self._outputs["IntakeQueueUrl"],
            "--cluster": self.node.cluster.name,
            "--every": "1",
        }
        command = [sys.executable, str(_SCRIPT), *(word for pair in options.items() for word in pair)]
        environment = self._aws.env | self._scontrol.environment
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            errors = self._process.communicate(timeout=_SECONDS_TO_END)[1]
        except subprocess.TimeoutExpired:
            self._process.kill()
            errors = self._process.communicate()[1]
        self.said = errors.splitlines()
        self._scratch.cleanup()

    def follow(self, seen: Readings) -> None:
        """Let the job end once the node is drained, and let Slurm see that the node has rebooted."""
        if self._scontrol.node(self._host)["drain"]:
            self._scontrol.change(self._host, base="IDLE")
        if seen.started(self.node.id) and self.node.id in seen.well:
            self._scontrol.change(self._host, booted_at=scontrol.now())

    def problems(self) -> Iterator[str]:
        """Yield what the script has not, or not yet, done."""
        states = [call.split()[2] for call in self._scontrol.calls]
        if states != ["state=drain", "state=resume"]:
            yield f"scontrol was asked for {', '.join(states) or 'nothing'}, not for state=drain, then state=resume"
