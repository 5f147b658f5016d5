"""A real process is killed before each effect; then its message and the sweep come."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local.aws import PROJECT, LocalAws
from local.staging import SimulatedCluster
from node_remediation.model import Message
from node_remediation.remediate import Effect
from tests.e2e.system import System
from tests.ledger.function import batch, create_table, environment, report

# A lease, which is the function's minute and five seconds, has run out by then.
_LATER = 120.0  # seconds
# A quiet reboot sends nothing.
_SENDING = (Effect.LETTERS, Effect.NOTICES, Effect.MARK_SENT)
_BEFORE_THE_ANSWER_IS_KNOWN = (Effect.CALL, Effect.RECORD)


@dataclass
class Function:
    """The real function against real queues, topic and ledger of the local AWS, one process per invocation."""

    system: System
    environment: dict[str, str]

    def invoke(self, of: dict[str, Any] | None, *, later: float = 0, kill: Effect | None = None) -> Any:
        """Return what an invocation printed; None if it was killed."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.ledger.child"],
            cwd=PROJECT,
            input=json.dumps({"batch": of, "later": later, "kill": kill}),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if kill:
            assert done.returncode == -signal.SIGKILL, done.stderr
            return None
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def function() -> Iterator[Function]:
    with LocalAws() as aws:
        variables, outputs = environment(aws, create_table(aws))
        variables = {**aws.env, **variables, "PYTHONPATH": str(PROJECT / "lambda")}
        yield Function(System(aws, outputs, alarm_topic=""), variables)


def sick_node(function: Function, *, busy: bool) -> tuple[SimulatedCluster, Message]:
    """Make a cluster and a report of its first node, which the API refuses to reboot if it is busy."""
    cluster = function.system.cluster(10)
    if busy:
        function.system.set_node(cluster, cluster.nodes[0], in_use=True)
    return cluster, report(cluster.nodes[0], cluster.name)


def codes_told(function: Function, cluster: SimulatedCluster) -> tuple[set[str], set[str]]:
    """Return the codes in the dead-letter queue, and those on the topic."""
    letters = function.system.letters(count=0, ClusterName=cluster.name)
    topic = function.system.notifications(cluster.name, count=0)
    return (
        {letter["attributes"]["ErrorCode"] for letter in letters},
        {entry["ErrorCode"] for each in topic for entry in each["message"]["Failed"]},
    )


def test_each_effect_is_met_by_an_invocation_that_is_not_killed(function: Function) -> None:
    """The kill points below are the code's own list: an effect that is never met could not be killed at."""
    _, message = sick_node(function, busy=True)
    assert function.invoke(batch(message, 1))["effects"] == [effect.value for effect in Effect]


@pytest.mark.parametrize(
    ("killed_before", "busy"),
    [(effect, True) for effect in Effect] + [(effect, False) for effect in Effect if effect not in _SENDING],
)
def test_killed_invocation_is_carried_on_with(function: Function, killed_before: Effect, busy: bool) -> None:
    """At most one call, and people and machines know of a failure, wherever the process died."""
    cluster, message = sick_node(function, busy=busy)
    function.invoke(batch(message, 1), kill=killed_before)
    outcomes = function.invoke(batch(message, 2), later=_LATER)["outcomes"]
    function.invoke(None, later=_LATER + 1)

    calls = function.system.aws.admin("GET", "/_local/hyperpod/calls")["calls"]
    assert len([call for call in calls if call["cluster"] == cluster.name]) == (
        0 if killed_before is Effect.CALL else 1
    )
    code = "OutcomeUnknown" if killed_before in _BEFORE_THE_ANSWER_IS_KNOWN else "InstanceIdInUse" if busy else None
    assert codes_told(function, cluster) == (({code}, {code}) if code else (set(), set()))
    first_outcome = [["failed", code]] if busy else [["rebooted", None]]
    assert outcomes == (first_outcome if killed_before is Effect.SAVE else [["duplicate", None]])
