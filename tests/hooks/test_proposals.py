"""What all hooks share: whose proposals they take, and when a message is deleted."""

import subprocess
import sys
from pathlib import Path

import boto3
import pytest

import change_calendar
from tests.hooks.conftest import Calendar, Desk

HOOKS = sorted(Path(change_calendar.__file__).parent.glob("*[!s].py"))  # all but proposals.py


def looks(desk: Desk) -> int:
    return change_calendar.main(desk.options("--calendar", "ml-nights"))


def test_message_is_kept_until_its_answer_is_sent(
    desk: Desk, calendar: Calendar, capsys: pytest.CaptureFixture[str]
) -> None:
    """The intake queue denies the hook: it says so, and the proposal comes back."""
    desk.proposes(desk.cluster.nodes[0])
    desk.aws.faults({"service": "sqs", "action": "SendMessage", "body": "Approved", "status": 403, "code": "NoEntry"})
    assert looks(desk) == 1
    assert (desk.answers(), desk.waiting()) == ([], 1)
    assert "(NoEntry)" in capsys.readouterr().err.splitlines()[0]


def test_expired_proposal_is_not_answered_and_forgotten(
    desk: Desk, calendar: Calendar, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setting on_no_answer decides; an answer would be ignored."""
    desk.proposes(desk.cluster.nodes[0], minutes=-1)
    assert looks(desk) == 0
    assert (desk.answers(), desk.waiting(), calendar.asked) == ([], 0, [])
    assert capsys.readouterr().err.startswith(f"expired: {desk.cluster.nodes[0]} of {desk.cluster.name}, ")


def test_proposal_of_another_cluster_is_left_for_its_own_hook(desk: Desk, calendar: Calendar) -> None:
    """Draining a node of the same name elsewhere would be a disaster."""
    desk.proposes("i-0123456789abcdef0", cluster="ml-other")
    assert looks(desk) == 0
    assert (desk.answers(), desk.waiting(), calendar.asked) == ([], 1, [])


def test_proposals_of_one_message_each_become_a_message(desk: Desk, calendar: Calendar) -> None:
    """Each is answered at a time of its own, and once."""
    incidents = desk.proposes(*desk.cluster.nodes)
    assert looks(desk) == 0
    assert (desk.answers(), desk.waiting()) == ([], 3)
    assert looks(desk) == 0
    assert sorted(incident for _, incident, _ in desk.answers()) == sorted(incidents)
    assert desk.waiting() == 0


@pytest.mark.parametrize(
    "body", ["{", "7", '{"ClusterName": "ml-a", "Proposed": [{"NodeId": "i-1"}]}', '{"Message": "x"}']
)
def test_message_that_is_no_proposal_is_deleted_with_one_line(
    desk: Desk, calendar: Calendar, body: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would come back for ever."""
    boto3.client("sqs").send_message(QueueUrl=desk.queue_url, MessageBody=body)
    assert looks(desk) == 0
    assert (desk.answers(), desk.waiting()) == ([], 0)
    assert capsys.readouterr().err == f"no proposal, deleted: {body}\n"


def test_filter_policy_lets_no_other_news_in(desk: Desk, calendar: Calendar) -> None:
    """Failures and recoveries are for people."""
    desk.publishes({"ClusterName": desk.cluster.name, "Recovered": [{"NodeId": "i-1"}]}, "recovered")
    assert desk.waiting() == 0


@pytest.mark.parametrize("hook", HOOKS, ids=lambda path: path.name)
def test_hook_is_a_script_that_says_what_it_takes(hook: Path) -> None:
    """An operator runs it as it is."""
    shown = subprocess.run([sys.executable, hook, "--help"], capture_output=True, text=True, check=True).stdout
    assert shown.startswith(f"usage: {hook.name} ")
    for option in ("--queue-url", "--intake-url", "--cluster", "--every", "--once"):
        assert option in shown


@pytest.mark.parametrize("every", ["0", "-1", "soon", "3601"])
def test_wrong_interval_is_wrong_usage(desk: Desk, every: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line names the option and what it takes."""
    with pytest.raises(SystemExit) as ended:
        change_calendar.main(desk.options("--calendar", "ml-nights", f"--every={every}"))
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("argument --every: takes a whole number from 1 to 3600\n")
