"""`local.sweeps`, and contracts of `local.patches.rule_targets` for rules whose target is a function."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from local.aws import LocalAws, LocalAwsError
from tests.local.support import Queue, RecordingFunction

MakeFunction = Callable[..., RecordingFunction]
MakeQueue = Callable[..., Queue]
_INPUT = {
    "InputPathsMap": {"time": "$.time"},
    "InputTemplate": '{"source":"sweeper","detail-type":"Sweep","time":<time>}',
}


@pytest.fixture(autouse=True)
def _own_rule(aws: LocalAws) -> Iterator[None]:
    """Begin without the rule of what other tests deployed, and leave no sweeps."""
    before, aws.sweep_rule = aws.sweep_rule, None
    yield
    if aws.sweep_rule:
        aws.sweep_every(None)
    aws.sweep_rule = before


def _rule(aws: LocalAws, function: RecordingFunction, *, allowed: bool = True, **rule: str) -> str:
    """A rule that invokes the function, by default once a minute, its input made of the event's time; its ARN."""
    events, name = aws.client("events"), function.name
    arn: str = events.put_rule(Name=name, **(rule or {"ScheduleExpression": "rate(1 minute)"}))["RuleArn"]
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": function.arn, "InputTransformer": _INPUT}])
    if allowed:
        aws.client("lambda").add_permission(
            FunctionName=name,
            StatementId="rule",
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=arn,
        )
    aws.sweep_rule = name
    return arn


def test_a_sweep_is_the_rules_own_input_and_returns_the_functions_answer(
    aws: LocalAws, make_function: MakeFunction
) -> None:
    """The time in it is the scheduled event's."""
    function = make_function("{'swept': event['source']}")
    _rule(aws, function)
    assert aws.sweep() == {"error": False, "answer": {"swept": "sweeper"}}
    (seen,) = function.invocations()
    at = datetime.fromisoformat(seen["event"].pop("time"))
    assert abs(at.timestamp() - time.time()) < 20
    assert seen["event"] == {"source": "sweeper", "detail-type": "Sweep"}


def test_a_sweep_that_fails_says_so_and_is_not_repeated(aws: LocalAws, make_function: MakeFunction) -> None:
    """With the function's error."""
    function = make_function("1 / 0")
    _rule(aws, function)
    swept = aws.sweep()
    assert swept["error"]
    assert "division by zero" in swept["answer"]["errorMessage"]
    time.sleep(0.3)  # an asynchronous invocation's first retry comes after 0.05 s here
    assert len(function.invocations()) == 1


def test_a_rule_that_may_not_invoke_its_function_sweeps_nothing(aws: LocalAws, make_function: MakeFunction) -> None:
    """The function's policy decides, as on AWS."""
    function = make_function()
    _rule(aws, function, allowed=False)
    with pytest.raises(LocalAwsError, match="no function that it may invoke"):
        aws.sweep()
    assert function.invocations() == []


def test_a_sweep_waits_for_the_one_before(aws: LocalAws, make_function: MakeFunction) -> None:
    """However long that takes; stopping waits for it too."""
    function = make_function()
    _rule(aws, function)
    aws.sweep()
    function.hold()
    aws.sweep_every(0.01)
    function.await_invocations(2)
    time.sleep(0.3)
    assert len(function.invocations()) == 2
    function.release()
    function.await_invocations(3)


def test_no_sweeps_come_by_themselves_where_a_test_wants_none(aws: LocalAws, make_function: MakeFunction) -> None:
    """One that it asks for does; afterwards they come again."""
    function = make_function()
    _rule(aws, function)
    aws.sweep_every(0.05)
    with aws.no_sweeps(then_every=0.05):
        before = len(function.invocations())
        aws.sweep()
        time.sleep(0.2)
        assert len(function.invocations()) == before + 1
    function.await_invocations(before + 2)


def test_a_sweep_runs_beside_the_queues_invocations(
    aws: LocalAws, make_function: MakeFunction, make_queue: MakeQueue
) -> None:
    """In a process of its own, while a batch of the queue is still being handled."""
    function, queue = make_function(), make_queue(VisibilityTimeout="60")
    _rule(aws, function)
    function.hold()
    queue.send("slow")
    aws.client("lambda").create_event_source_mapping(EventSourceArn=queue.arn, FunctionName=function.name)
    function.await_invocations(1)
    aws.sweep_every(60)
    seen = function.await_invocations(2)
    function.release()
    assert ["Records" in each["event"] for each in seen] == [True, False]
    roots = {each["env"]["LAMBDA_TASK_ROOT"] for each in seen}
    assert len(roots) == 2


def test_a_sweep_needs_a_rule(aws: LocalAws) -> None:
    with pytest.raises(LocalAwsError, match="SweepRuleName"):
        aws.sweep()
    aws.sweep_rule = "nothing"
    with pytest.raises(LocalAwsError, match="no rule 'nothing'"):
        aws.sweep_every(1)
    aws.sweep_rule = None


@pytest.mark.parametrize("allowed", [True, False])
def test_a_rule_invokes_a_function_asynchronously_if_it_may(
    allowed: bool, aws: LocalAws, unique: str, make_function: MakeFunction, make_queue: MakeQueue
) -> None:
    """A failed function is tried again twice, then its dead-letter queue has the input."""
    dead = make_queue("dead")
    function = make_function("1 / 0", DeadLetterConfig={"TargetArn": dead.arn})
    _rule(aws, function, allowed=allowed, EventPattern=json.dumps({"source": [unique]}))
    aws.client("events").put_events(Entries=[{"Source": unique, "DetailType": "test", "Detail": "{}"}])
    if not allowed:
        time.sleep(0.3)
        assert function.invocations() == []
        return
    assert json.loads(dead.take()[0]["Body"])["source"] == "sweeper"
    assert len(function.invocations()) == 3
