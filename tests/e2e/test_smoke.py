"""`make smoke` against a stack that observes: what it proves, what it reports, and that it leaves nothing behind."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.aws import PROJECT, LocalAws
from local.deploy import deploy
from local.interrupts import INTERRUPTED
from smoke.checks import Run, Skipped, check_alarm, check_contributors, check_gone_node, check_return, count_confirmed
from smoke.stack import SmokeError, find
from tests.e2e.system import PATIENCE, System, eventually

_CHECKS = ["stack", "mode", "ledger", "alarm", "contributors", "gone-node", "redrive", "mail"]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A system of its own: the mode is the stack's."""
    with LocalAws() as aws:
        settings = {"mode": "observe", "batch_window": "1s", "notification_emails": "oncall@example.com"}
        outputs = deploy(aws, context={f"remediation.{key}": value for key, value in settings.items()})
        yield System(aws, outputs, alarm_topic="")


def start(system: System, *arguments: str) -> "subprocess.Popen[str]":
    heeded = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores Ctrl-C
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "smoke", "--no-wait", *arguments],
            cwd=PROJECT,
            env=system.aws.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, heeded)


def smoke(system: System, *arguments: str) -> tuple[int, list[str]]:
    """Run it; return its exit status and what it printed, without the lines of the clean-up."""
    process = start(system, *arguments)
    out, _ = process.communicate(timeout=2 * PATIENCE)
    assert "Traceback" not in out
    return process.returncode, out.splitlines()


def verdicts(lines: list[str]) -> dict[str, str]:
    """Return each check's verdict, in their order."""
    return {name: verdict for verdict, name in (line.split()[:2] for line in lines) if name != "clean-up"}


@contextmanager
def changed(change: Callable[[], object], back: Callable[[], object]) -> Iterator[None]:
    change()
    try:
        yield
    finally:
        back()


def assert_nothing_is_left(system: System) -> None:
    """Look for the run's alarm, queue, subscription and visible letters."""
    alarms = system.aws.client("cloudwatch").describe_alarms(AlarmNamePrefix="hyperpod-reboot-")["MetricAlarms"]
    topic = system.outputs["FailureTopicArn"]
    subscribed = system.aws.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    endpoints = [each["Endpoint"] for each in subscribed if "smoke" in each["Endpoint"]]
    queues = system.sqs.list_queues(QueueNamePrefix="hyperpod-smoke-").get("QueueUrls", [])
    assert (alarms, endpoints, queues) == ([], [], [])
    assert system.queued("DeadLetterQueueUrl")[""] == 0


def foreign_letter(system: System, cluster: str, *, age: timedelta = timedelta()) -> dict[str, Any]:
    written = (datetime.now(UTC) - age).isoformat()
    letter = {"id": cluster, "time": written, "detail": {"ClusterName": cluster, "NodeId": "i-0123456789abcdef0"}}
    system.sqs.send_message(QueueUrl=system.outputs["DeadLetterQueueUrl"], MessageBody=json.dumps(letter))
    return letter


def test_healthy_stack_passes_every_check_and_nothing_is_left_or_rebooted(system: System) -> None:
    """Other letters stay; the letters of an earlier run go."""
    cluster = system.cluster()
    foreign_letter(system, "hyperpod-smoke-earlier", age=timedelta(minutes=16))
    kept = foreign_letter(system, "ml-training")
    status, lines = smoke(system)
    assert verdicts(lines) == dict.fromkeys(_CHECKS, "PASS"), "\n".join(lines)
    assert any("ResourceNotFound" in line and cluster.name in line for line in lines)
    assert [letter["body"] for letter in system.letters()] == [json.dumps(kept)]
    assert_nothing_is_left(system)
    assert status == 0
    assert system.observer.logged_calls() == []


@pytest.mark.parametrize("value", ["active", json.dumps({f"ml-{number}": "observe" for number in range(30)})])
def test_mode_in_which_nodes_may_be_rebooted_begins_nothing(system: System, value: str) -> None:
    """Such a stack is refused in one line, with the command that changes the mode."""
    ssm, name, before = system.aws.client("ssm"), system.outputs["ModeParameterName"], system.aws.calls()
    with changed(
        lambda: ssm.put_parameter(Name=name, Type="String", Value=value, Overwrite=True),
        lambda: ssm.delete_parameter(Name=name),
    ):
        status, lines = smoke(system)
    assert status == 1
    assert verdicts(lines) == {"stack": "PASS", "begin": "FAIL"}
    assert f"--name {name} --value observe" in lines[-1]
    assert system.aws.calls().get("sqs:SendMessage") == before.get("sqs:SendMessage")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--stack", "NoSuchStack"), "there is no stack NoSuchStack in us-east-1"),
        (("--profile", "nobody"), "The config profile (nobody) could not be found"),
        (("--endpoint-url", "http://127.0.0.1:9"), "Could not connect"),
    ],
)
def test_stack_that_cannot_be_found_is_one_line(system: System, arguments: tuple[str, ...], says: str) -> None:
    """The line says what is missing."""
    status, [line] = smoke(system, *arguments)
    assert (status, line.split()[0]) == (1, "FAIL")
    assert says in line


def run_of(system: System, **settings: Any) -> Run:
    """Return a run of this process, for what would take 15 minutes or another deployment."""
    stack = find("HyperPodNodeRemediation", system.aws.region, system.aws.client)
    return Run(replace(stack, settings=replace(stack.settings, **settings)), patience=0)


def test_check_without_anything_to_check_is_skipped(system: System) -> None:
    """No cluster is allowed, no alarm is watched, or no letter was put back."""
    run = run_of(system, clusters=("none",), alarm_name_prefixes=())
    for check in (check_gone_node, check_alarm, check_contributors, check_return):
        with pytest.raises(Skipped):
            check(run)


def test_letter_of_the_redrive_is_taken_once_it_is_visible(system: System) -> None:
    """Before it came the check fails; then it is proved and taken."""
    run = run_of(system)
    run.returns_at = datetime.now(UTC)
    with pytest.raises(SmokeError, match="did not become visible"):
        check_return(run)
    returned = {"id": "L2", "detail": {"ClusterName": run.cluster, "Attempt": 2}}
    system.sqs.send_message(QueueUrl=system.outputs["DeadLetterQueueUrl"], MessageBody=json.dumps(returned))
    assert "Attempt 2" in check_return(run)
    assert system.queued("DeadLetterQueueUrl")[""] == 0


@pytest.mark.parametrize(
    ("subscriptions", "says"),
    [
        # As ListSubscriptionsByTopic lists an address that has not confirmed.
        ([{"Endpoint": "a@example.com", "SubscriptionArn": "PendingConfirmation"}], "told nothing: a@example.com"),
        ([], "no subscriber"),
    ],
)
def test_topic_that_tells_nobody_fails(subscriptions: list[dict[str, str]], says: str) -> None:
    """That it publishes is of no use to people then."""
    with pytest.raises(SmokeError, match=says):
        count_confirmed(subscriptions)


def test_failing_checks_are_reported_and_the_others_go_on(system: System) -> None:
    """The alarms' rule is disabled and the role may no longer ask for contributors."""
    events, iam = system.aws.client("events"), system.aws.client("iam")
    [rule] = [each["Name"] for each in events.list_rules()["Rules"] if "alarmName" in each.get("EventPattern", "")]
    role, policy = _role(system), "Remediation"
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    without = {**document, "Statement": [each for each in document["Statement"] if each["Sid"] != "ReadAlarms"]}

    def put(which: dict[str, Any]) -> None:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(which))

    with (
        changed(lambda: events.disable_rule(Name=rule), lambda: events.enable_rule(Name=rule)),
        changed(lambda: put(without), lambda: put(document)),
    ):
        status, lines = smoke(system, "--patience", "20")
    failed = [name for name, verdict in verdicts(lines).items() if verdict == "FAIL"]
    assert failed == ["alarm", "contributors"], "\n".join(lines)
    assert status == 1
    assert_nothing_is_left(system)


def _role(system: System) -> str:
    function = system.aws.client("lambda").get_function_configuration(FunctionName=system.outputs["FunctionName"])
    return str(function["Role"]).rsplit("/", 1)[-1]


def test_interrupted_run_leaves_nothing(system: System) -> None:
    """Ctrl-C comes while the alarm exists: it goes, and so does the letter that it makes."""
    cloudwatch = system.aws.client("cloudwatch")
    process = start(system)
    eventually(lambda: cloudwatch.describe_alarms(AlarmNamePrefix="hyperpod-reboot-smoke-")["MetricAlarms"])
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == INTERRUPTED, out
    assert "Traceback" not in out
    assert_nothing_is_left(system)
