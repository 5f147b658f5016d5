"""Runs the demonstration as its viewer does: it shows what happens when all is well, and notices when nothing is."""

import io
import json
import time
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from local.aws import PROJECT, LocalAws
from local.demo.captured import CapturedOrigin, read_capture
from local.demo.command import main

_DOES_NOTHING = "def lambda_handler(event, context):\n    return {'batchItemFailures': []}\n"


@pytest.fixture
def screen() -> Console:
    """Make a console like a pipe: 80 columns, no terminal."""
    return Console(file=io.StringIO(), width=80, highlight=False, emoji=False)


def shown(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def do_nothing(aws: LocalAws, outputs: Mapping[str, str]) -> None:
    """Replace the function by one that takes every message and does nothing about it."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("node_remediation/__init__.py", "")
        archive.writestr("node_remediation/handler.py", _DOES_NOTHING)
    aws.client("lambda").update_function_code(FunctionName=outputs["FunctionName"], ZipFile=package.getvalue())


def test_demo_shows_that_everything_is_as_it_must_be(screen: Console) -> None:
    """Reboots, guards, mail, dead letters, the redrive and each end are seen; every claim holds, the status is 0."""
    assert main([], console=screen) == 0
    text = shown(screen)
    assert "✗" not in text
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "nothing happened to any other node" in "".join(text.splitlines()[-3:])
    for line in (
        "  1 ✓ HyperPod reports a node unhealthy",
        "30 nodes: 30 rebooted in ",
        "InstanceIdInUse → DLQ and topic",
        "InstanceIdNotFound → DLQ and topic",
        "InternalServerError → DLQ and topic",
        "i-12345678abcdefghi  ValidationException → DLQ and topic",
        "deferred: muted by alarm-mute-rule:maintenance",
        "12 nodes: 8 rebooted in ",
        "4 refused: ClusterBudgetExceeded → DLQ and topic",
        "budget 8 of 39 nodes in 30s, 8 spent",
        "in: 50 node health events, 50 contributor state changes",
        "deferred: HyperPod repairs the node itself:",
        "refused: ProtectedNode → DLQ and topic",
        "refused: Paused → DLQ and topic",
        " 158 events in",
        "  45 nodes rebooted in ",
        "E-mail: 5 messages, shortened",
        "In the dead-letter queue (DLQ): 10 messages",
        "--value paused",
        "--value active",
        "aws sqs start-message-move-task",
        "45 recovered, after ",
        "$ cdk deploy ",
        "retrying → rebooted → recovered",
        "rebooted x2 → not rebooted again (RebootLimitReached) →",
        "rebooted → unverified",
        "rebooted → superseded",
        "repairing → not_recovered",
        " 4 recovered, after ",
        " ✓ 45 nodes were rebooted, each once",
        " ✓ the budget let 8 of 12 nodes be rebooted and refused the other 4",
        " ✓ one node's 100 reports were one reboot and no message",
        " ✓ 2 were left alone",
        " ✓ redrive: those in use, over the budget or paused are rebooted now",
        " ✓ redrive: the controller is refused again, the 3 others fail again",
        " ✓ redrive: the 4 letters that are back stay invisible for 15 minutes",
        " ✓ afterwards: one came back at once, one slowly",
        " ✓ afterwards: one was rebooted again after its cooldown, then given up",
        " ✓ afterwards: a sick one of status Running was not called recovered",
        " ✓ afterwards: one was replaced",
        " ✓ afterwards: a busy one was tried again by itself",
        " ✓ afterwards: one was left to HyperPod's own repair",
        " ✓ afterwards: one whose repair is stuck was reported",
        " ✓ A person approves a reboot",
        "proposed → rebooted → recovered",
        "refused: Vetoed → DLQ and topic",
        "    draining: ip-10-1-0-",
        "    resumed: ip-10-1-0-",
        " ✓ asked: one was approved and rebooted, one was vetoed and refused",
        " ✓ asked: a hook drained a node, approved, and resumed it afterwards",
        " ✓ TimeToRecovery has a value for each that recovered",
        " events came to exactly one outcome",
    ):
        assert line in text
    page = (PROJECT / "build" / "night.html").read_text(encoding="utf-8")
    assert "The night as a page: build/night.html" in text
    for shown_there in ("mean; the longest", "not recovered", "ClusterBudgetExceeded", "letter and notification"):
        assert shown_there in page
    # One mail is shown in full, that of the node that was given up: a command or ARN may be shortened, no line is gone.
    assert text.count("In full: the mail to oncall@example.com") == 1
    assert "not rebooted again: RebootLimitReached" in " ".join(text.split())


def test_demo_of_a_function_that_does_nothing_fails_soon_and_says_what_is_missing(screen: Console) -> None:
    """Events that lead to nothing are crosses, the exit status is 1, and it does not take long."""
    sabotaged_at: list[float] = []

    def sabotage(aws: LocalAws, outputs: Mapping[str, str]) -> None:
        do_nothing(aws, outputs)
        sabotaged_at.append(time.monotonic())

    assert main([], console=screen, saboteur=sabotage, patience=3) == 1
    assert time.monotonic() - sabotaged_at[0] < 30
    text = shown(screen)
    for line in (
        " ✗ 45 nodes were rebooted, each once",
        "was rebooted 0 times, not 1",
        "SageMaker answered nothing, not InstanceIdInUse",
        "is named in 0 mails",
        " ✗ the budget let 8 of 12 nodes be rebooted",
        " ✗ 2 more were refused, ProtectedNode and Paused",
        " ✗ one node's 100 reports were one reboot",
        " ✗ 2 were left alone",
        " ✗ each of the 158 events came to exactly one outcome",
    ):
        assert line in text
    assert "there is no letter of the node in use to redrive" in text


def test_example_of_the_readme_is_played_now_on_a_node_made_for_it(screen: Console) -> None:
    """A health event of another time and account ends in a reboot of its node, which then is well."""
    assert main(["--event", str(PROJECT / "docs/node-health.json")], console=screen) == 0
    text = shown(screen)
    assert "111122223333, us-west-2 in the file, 000000000000, us-east-1 here" in " ".join(text.split())
    assert "ml-training, made for it" in text
    assert "rebooted: i-0123456789abcdef0" in text
    assert "recovered: i-0123456789abcdef0" in text
    assert "BatchRebootClusterNodes was called for i-0123456789abcdef0: the reboot started." in " ".join(text.split())


def test_captured_event_is_moved_to_this_account_and_region_wherever_it_names_another(tmp_path: Path) -> None:
    """In the envelope, in ARNs, and in the JSON inside an SNS notification; nothing else changes."""
    arn = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:hyperpod-reboot-xid"
    inner = {
        "AlarmName": "hyperpod-reboot-xid",
        "NewStateValue": "ALARM",
        "AWSAccountId": "111122223333",
        "AlarmArn": arn,
    }
    topic = "arn:aws:sns:eu-west-1:111122223333:alarms"
    notification = {"Type": "Notification", "TopicArn": topic, "Message": json.dumps(inner | {"Note": "111122223333"})}
    file = tmp_path / "notification.json"
    file.write_text(json.dumps(notification))
    capture = read_capture(file)
    assert capture.origin == CapturedOrigin("111122223333", "eu-west-1")
    here = capture.here(datetime.now(UTC), CapturedOrigin("000000000000", "us-east-1"))
    assert here["TopicArn"] == "arn:aws:sns:us-east-1:000000000000:alarms"
    assert json.loads(here["Message"]) == inner | {
        "AWSAccountId": "000000000000",
        "AlarmArn": "arn:aws:cloudwatch:us-east-1:000000000000:alarm:hyperpod-reboot-xid",
        "Note": "111122223333",
    }


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b'{"source": "aws.sagemaker"}', b"\xff"])
def test_file_that_holds_no_event_is_one_line_and_wrong_usage(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file, junk and an incomplete event end before anything is started."""
    file = tmp_path / "event.json"
    if content is not None:
        file.write_bytes(content)
    assert main(["--event", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"demo: {file}")
    assert err.count("\n") == 1
