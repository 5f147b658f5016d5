"""The entry point: what Lambda gives it and gets back, and how what it builds is wired."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from node_remediation.model import Ending, Handling, Message, Outcome
from node_remediation.settings import SettingsError
from node_remediation.wiring import build
from tests.unit.fakes import case, ending, health_event, instance_id, sample, settled_case
from tests.unit.test_inbox import record


@dataclass
class FakeRemediator:
    """Keeps what it is given; `handed_back` come again, the rest came to `endings`."""

    endings: tuple[Ending, ...] = ()
    handed_back: tuple[str, ...] = ()
    messages: list[Message] = field(default_factory=list)
    seconds: float = 0

    def handle(self, messages: list[Message], *, seconds_left: Any) -> Handling:
        self.messages += messages
        self.seconds = seconds_left()
        again = self.handed_back or (messages[0].id,) if self.handed_back else ()
        return Handling(self.endings, dict.fromkeys(again, "ThrottlingException: Rate exceeded"))


class Context:
    """The parts of Lambda's context that the function uses."""

    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 59_500


@pytest.fixture
def remediator(handler: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRemediator]:
    """Stands in for the one that was built at import: the runtime offers no other way in."""
    fake = FakeRemediator()
    monkeypatch.setattr(handler, "_remediator", fake)
    return fake  # type: ignore[return-value]


def test_batch_answers_with_what_comes_again(handler: ModuleType, remediator: FakeRemediator) -> None:
    """Only the messages that are handed back fail, so only these stay in the queue."""
    remediator.handed_back = ("b",)
    answer = handler.lambda_handler({"Records": [record(messageId=each) for each in "abc"]}, Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "b"}]}
    assert [each.id for each in remediator.messages] == ["a", "b", "c"]
    assert remediator.seconds == 59.5


def test_batch_that_is_done_with_answers_no_failures(handler: ModuleType, remediator: FakeRemediator) -> None:
    """An empty list tells Lambda to delete all of it."""
    remediator.endings = (ending(),)
    assert handler.lambda_handler({"Records": [record()]}, Context()) == {"batchItemFailures": []}


def test_direct_event_answers_a_summary(handler: ModuleType, remediator: FakeRemediator) -> None:
    """One entry per report, that JSON can carry."""
    unreadable = ending(settled_case(), Outcome.UNREADABLE, "Unreadable", "the body is not JSON")
    remediator.endings = (ending(case(), Outcome.REBOOTED, None, "SageMaker started the reboot"), unreadable)
    answer = handler.lambda_handler(health_event(), Context())
    assert json.loads(json.dumps(answer)) == {
        "reports": [
            {
                "cluster": "ml-a",
                "node": instance_id(1),
                "outcome": "rebooted",
                "code": None,
                "reason": "SageMaker started the reboot",
            },
            {
                "cluster": None,
                "node": None,
                "outcome": "unreadable",
                "code": "Unreadable",
                "reason": "the body is not JSON",
            },
        ]
    }
    assert [(each.id, json.loads(each.body)) for each in remediator.messages] == [("request-1", health_event())]


def test_direct_event_that_must_come_again_raises(handler: ModuleType, remediator: FakeRemediator) -> None:
    """Lambda's own retries and dead-letter queue take it from there."""
    remediator.handed_back = ("request-1",)
    with pytest.raises(handler.HandBackError, match=r"^ThrottlingException: Rate exceeded$"):
        handler.lambda_handler(sample("alarm-direct-to-lambda"), Context())


def test_function_is_built_from_its_environment(handler: ModuleType, environment: dict[str, str]) -> None:
    """Each queue and topic where it belongs; account and region are the topic's."""
    built: Any = build(environment)
    reporter = built._reporter
    assert built._intake._queue_url == environment["INTAKE_QUEUE_URL"]
    assert reporter._to.dead_letter_url == environment["DEAD_LETTER_QUEUE_URL"]
    assert reporter._to.topic_arn == environment["FAILURE_TOPIC_ARN"]
    assert (reporter._to.redrive.dead_letter_arn, reporter._to.redrive.intake_arn) == (
        environment["DEAD_LETTER_QUEUE_ARN"],
        environment["INTAKE_QUEUE_ARN"],
    )
    assert (built._ledger._table, built._claimant._ledger) == (environment["LEDGER_TABLE"], built._ledger)
    checks = built._watcher._checks
    assert (built._watcher._ledger, checks._intake) == (built._ledger, built._intake)
    assert (checks._origin, built._claimant._checks) == (reporter._to.origin, checks)
    assert (built._mode._name, built._mode._default) == (environment["MODE_PARAMETER"], "active")
    assert built._clusters._protected_groups == ("*controller*", "*head*", "*login*")
    assert (reporter._to.origin.account, reporter._to.origin.region) == ("111122223333", "us-west-2")


def test_only_what_is_safe_to_repeat_is_retried_by_the_sdk(handler: ModuleType, environment: dict[str, str]) -> None:
    """A reboot is sent once; sending and publishing may be said twice."""
    built: Any = build(environment)
    assert built._claimant._rebooter._client.meta.config.retries == {"mode": "standard", "total_max_attempts": 1}
    safe = (built._reporter._sqs(), built._reporter._sns(), built._intake._client())
    for client in (*safe, built._ledger._client, built._mode._client):
        assert client.meta.config.retries["total_max_attempts"] == 3


@pytest.mark.parametrize(
    "maker",
    [
        lambda built: built._reader._resolver._alarms._client,
        lambda built: built._reporter._sns,
        lambda built: built._intake._client,
    ],
    ids=["cloudwatch", "sns", "sqs"],
)
def test_client_that_most_events_do_not_need_is_made_when_it_is_needed_and_once(
    environment: dict[str, str], maker: Callable[[Any], Any]
) -> None:
    """Most invocations neither ask CloudWatch nor tell anybody anything."""
    make = maker(build(environment))
    assert make.cache_info().currsize == 0
    assert make() is make()


@pytest.mark.parametrize(
    "name",
    [
        "INTAKE_QUEUE_URL",
        "INTAKE_QUEUE_ARN",
        "DEAD_LETTER_QUEUE_URL",
        "DEAD_LETTER_QUEUE_ARN",
        "FAILURE_TOPIC_ARN",
        "LEDGER_TABLE",
        "MODE_PARAMETER",
    ],
)
def test_missing_variable_fails_at_once(handler: ModuleType, environment: dict[str, str], name: str) -> None:
    """A function that cannot report must not start."""
    with pytest.raises(KeyError, match=name):
        handler.build({key: value for key, value in environment.items() if key != name})


def test_missing_settings_fail_at_once(handler: ModuleType, environment: dict[str, str]) -> None:
    """Defaults are for operators to rely on, not for a broken deployment."""
    with pytest.raises(SettingsError):
        handler.build({key: value for key, value in environment.items() if key != "REMEDIATION_SETTINGS"})
