"""`local.demo`: what it shows is folded between words, however narrow the terminal is."""

import io
import json

import pytest
from rich.console import Console

from local.demo.acting import mode_command
from local.demo.expectations import Verdict
from local.demo.looking import BusEvent, Email, Readings
from local.demo.script import Clusters, plan_endings, plan_night, plan_redrive
from local.demo.view import Screen, Work, scene_rows, shell
from local.observing import DeadLetter, LogLine, Reason, RebootCall, TopicEntry
from local.staging import SimulatedCluster

_OUTPUTS = {"ModeParameterName": "/hyperpod-node-remediation/HyperPodNodeRemediation/mode"}
_ARN = "arn:aws:sqs:us-east-1:000000000000:HyperPodNodeRemediation-QueuesDeadLettersF0D5D2AD-97B5AF020263E"
_REASON = "no source that complained has said that the node is well: status Running; HyperPod: has said nothing since"


def _cluster(name: str, nodes: int) -> SimulatedCluster:
    ids = tuple(f"i-{number:017x}" for number in range(nodes))
    logical_ids = tuple(f"f26b0638-6b76-4fab-9e5b-{number:012x}" for number in range(nodes))
    return SimulatedCluster(
        name, f"arn:aws:sagemaker:us-east-1:000000000000:cluster/{name}", f"{name}-eks", ids, logical_ids
    )


_CLUSTERS = Clusters(
    _cluster("ml-training", 200), _cluster("ml-research", 40), _cluster("ml-managed", 16), _cluster("s", 9)
)
_NIGHT = plan_night(_CLUSTERS, _OUTPUTS)
_NODES = list(dict.fromkeys(one.node for step in _NIGHT.steps for one in step.expected))
_SEEN = Readings(
    events=[BusEvent(1.0, node, "CloudWatch Alarm State Change", False, json.dumps(node)) for node in _NODES],
    calls=[
        RebootCall(2.0, "ml-training", tuple(_NODES), tuple(_NODES[::2]), {_NODES[1]: Reason("Code", _REASON)}, True)
    ],
    letters=[DeadLetter((None, node, "Code"), Reason("Code", _REASON), "refused") for node in _NODES],
    told=[TopicEntry((None, node, "Code"), "Failed") for node in _NODES],
    log=[
        LogLine({"node": node, "state": state, "code": "NotRecovered", "reason": _REASON})
        for node in _NODES
        for state in ("rebooted", "unverified")
    ],
    recoveries=[2.0, 3.0],
)


def _shown(width: int) -> str:
    """Show every part once, with no piece of work, whose seconds differ."""
    screen = Screen(Console(file=io.StringIO(), width=width, highlight=False, emoji=False))
    for scene in (*_NIGHT.scenes, plan_redrive(_NIGHT, _SEEN), *plan_endings(_CLUSTERS)):
        screen.show(scene_rows(list(enumerate(scene, start=1)), _SEEN, runs=False))
    screen.numbers(_SEEN)
    mail = Email(
        "oncall@example.com", f"[us-west-2] ml-training {_NODES[0]}: NOT RECOVERED", f"  {_REASON}\n  {_ARN}\n"
    )
    screen.mails([mail])
    screen.mail(mail)
    screen.letters(_SEEN.letters)
    screen.say(*shell(mode_command(_OUTPUTS, "paused")))
    screen.verdicts([Verdict(step.claim, step.problems(_SEEN)) for step in _NIGHT.steps])
    assert isinstance(screen.console.file, io.StringIO)
    return screen.console.file.getvalue()


def test_no_line_is_wider_than_80_columns_and_no_word_is_broken() -> None:
    """The words are those of a terminal that is wide enough for all of them."""
    narrow = _shown(80)
    assert [line for line in narrow.splitlines() if len(line) > 80] == []
    assert narrow.split() == _shown(10_000).split()


def test_mail_in_full_is_folded_anew_and_its_long_words_are_shortened() -> None:
    """Lines that the mail's own width broke are joined first; lines that it did not break stay as they are."""
    screen = Screen(Console(file=io.StringIO(), width=60, highlight=False, emoji=False))
    text = f"one short\nline\n\n  {'word ' * 14}word\n  and more\n\n  {_ARN}\n"
    screen.mail(Email("oncall@example.com", "s", text))
    assert isinstance(screen.console.file, io.StringIO)
    shown = screen.console.file.getvalue()
    assert "one short\nline\n" in shown
    assert "word and more\n" in shown
    assert "arn:aws:sqs:us-east-1:000000000000:Hyp…D5D2AD-97B5AF020263E" in shown


def test_mail_in_full_has_whole_paragraphs_under_a_long_heading_and_commands_line_by_line() -> None:
    """The heading says nothing of the width that the paragraphs were folded at."""
    screen = Screen(Console(file=io.StringIO(), width=60, highlight=False, emoji=False))
    command = f"      aws sqs \\\n        --queue-url {_ARN} \\\n        --all\n"
    text = f"{'heading ' * 14}\n    {'word ' * 14}word\n    and more\n\n{command}"
    screen.mail(Email("oncall@example.com", "s", text))
    assert isinstance(screen.console.file, io.StringIO)
    shown = screen.console.file.getvalue()
    assert "word and more\n" in shown
    assert "\\\n        --all\n" in shown


def test_work_that_goes_on_shows_that_it_runs() -> None:
    """On a terminal, from its first moment."""
    file = io.StringIO()
    screen = Screen(Console(file=file, width=80, force_terminal=True, color_system=None))
    with screen.work(Work("cdk deploy", "synthesizing")):
        assert "cdk deploy     synthesizing" in file.getvalue()
        assert "✓" not in file.getvalue()
    assert "✓ cdk deploy" in file.getvalue()


def test_work_without_a_terminal_says_when_it_begins() -> None:
    """One line then, and one at the end."""
    file = io.StringIO()
    screen = Screen(Console(file=file, width=80))
    with screen.work(Work("cdk deploy")):
        assert file.getvalue() == "   cdk deploy …\n"
    assert len(file.getvalue().splitlines()) == 2


def _fail(screen: Screen) -> None:
    with screen.work(Work("cdk deploy")):
        raise RuntimeError


def test_work_that_failed_has_a_cross() -> None:
    """The error goes on."""
    file = io.StringIO()
    with pytest.raises(RuntimeError):
        _fail(Screen(Console(file=file, width=80)))
    assert "✗ cdk deploy" in file.getvalue()
