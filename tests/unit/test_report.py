"""Reporting over fakes of the two batch calls that hold each request to the service model and to the limits."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast
from uuid import UUID

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.session import get_session
from botocore.validate import validate_parameters
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.deadletter import Origin, Redrive
from node_remediation.model import Ending, IdKind, Node, Outcome
from node_remediation.report import Destinations, QueueAndTopicReporter
from tests.unit.fakes import NOW, case, ending, instance_id, request, settled_case

DEAD_URL = "https://sqs.us-west-2.amazonaws.com/111122223333/dead"
TOPIC = "arn:aws:sns:us-west-2:111122223333:failures"
Entry = dict[str, Any]
# The IDs of the entries that are refused, or what the whole call raises.
Refusal = Callable[[list[Entry]], list[str]]

_SQS = get_session().get_service_model("sqs").shape_for("SendMessageBatchRequest")
_SNS = get_session().get_service_model("sns").shape_for("PublishBatchInput")


def size(entry: Entry, body: str) -> int:
    """A message's bytes as SQS and SNS count them: the body, and each attribute's name, type and value."""
    attributes = entry["MessageAttributes"].items()
    return len(entry[body].encode()) + sum(
        len((name + value["DataType"] + value["StringValue"]).encode()) for name, value in attributes
    )


def check_entries(entries: list[Entry], body: str, most: int) -> None:
    assert 1 <= len(entries) <= 10
    assert len({entry["Id"] for entry in entries}) == len(entries)
    assert sum(size(entry, body) for entry in entries) <= most
    for entry in entries:
        for value in entry["MessageAttributes"].values():
            assert value["StringValue"]
            assert all(c in "\t\n\r" or c >= " " for c in value["StringValue"])


@dataclass
class FakeBatchApi:
    """SendMessageBatch and PublishBatch; `refuse` says which entries fail, or raises; `forget`, which are not named."""

    log: list[str]
    refuse: Refusal = lambda _entries: []
    forget: Refusal = lambda _entries: []
    calls: list[list[Entry]] = field(default_factory=list)
    accepted: list[Entry] = field(default_factory=list)

    def send_message_batch(self, **params: Any) -> dict[str, Any]:
        validate_parameters(params, _SQS)
        assert params["QueueUrl"] == DEAD_URL
        check_entries(params["Entries"], "MessageBody", 1_048_576)
        assert all(0 <= entry["DelaySeconds"] <= 900 for entry in params["Entries"])
        return self._answer("queue", params["Entries"])

    def publish_batch(self, **params: Any) -> dict[str, Any]:
        validate_parameters(params, _SNS)
        assert params["TopicArn"] == TOPIC
        entries = params["PublishBatchRequestEntries"]
        check_entries(entries, "Message", 262_144)
        for entry in entries:
            assert set(json.loads(entry["Message"])) == {"default", "email"}
            assert entry["MessageStructure"] == "json"
            assert len(entry["Subject"]) < 100
            assert entry["Subject"].isascii()
            assert entry["Subject"].isprintable()
            codes = entry["MessageAttributes"].get("ErrorCodes")
            assert codes is None or codes["DataType"] == "String.Array"
            assert codes is None or json.loads(codes["StringValue"])  # a list without a code matches no filter
        return self._answer("topic", entries)

    def _answer(self, name: str, entries: list[Entry]) -> dict[str, Any]:
        self.log.append(name)
        self.calls.append(entries)
        refused = self.refuse(entries)
        accepted = [entry for entry in entries if entry["Id"] not in refused + self.forget(entries)]
        self.accepted += accepted
        answer: dict[str, Any] = {"Successful": [{"Id": entry["Id"]} for entry in accepted]}
        failed = [
            {"Id": each, "Code": "InternalError", "Message": "try later", "SenderFault": False} for each in refused
        ]
        return answer | ({"Failed": failed} if failed else {})


@dataclass
class Desk:
    """A reporter with fakes on both sides."""

    notify_rebooted: bool = False
    log: list[str] = field(default_factory=list)
    sqs: FakeBatchApi = field(init=False)
    sns: FakeBatchApi = field(init=False)

    def __post_init__(self) -> None:
        self.sqs, self.sns = FakeBatchApi(self.log), FakeBatchApi(self.log)

    def report(self, *endings: Ending) -> dict[Ending, str]:
        """Letters first; what the queue did not take is not published, as the function does it."""
        missed = self.reporter.send_letters(endings)
        return missed | self.reporter.publish([each for each in endings if each not in missed])

    @cached_property
    def reporter(self) -> QueueAndTopicReporter:
        ids = iter(range(1, 10**6))
        return QueueAndTopicReporter(
            sqs=lambda: cast("Any", self.sqs),
            sns=lambda: cast("Any", self.sns),
            destinations=Destinations(
                DEAD_URL, TOPIC, Redrive("arn:dead", "arn:intake"), Origin("1" * 12, "us-west-2")
            ),
            notify_rebooted=self.notify_rebooted,
            clock=lambda: NOW,
            new_id=lambda: UUID(int=next(ids)),
        )

    @property
    def letters(self) -> list[Any]:
        return [json.loads(entry["MessageBody"]) for entry in self.sqs.accepted]

    @property
    def published(self) -> list[Any]:
        return [json.loads(json.loads(entry["Message"])["default"]) for entry in self.sns.accepted]


def failures(count: int, cluster: str = "ml-a", reason: str = "busy") -> list[Ending]:
    return [
        ending(
            case(Node(IdKind.NODE_ID, instance_id(n)), cluster, message_id=f"m-{cluster}-{n}"), reason=f"{n} {reason}"
        )
        for n in range(count)
    ]


def raising(error: Exception) -> Refusal:
    def refuse(_: list[Entry]) -> list[str]:
        raise error

    return refuse


def answered(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "x")


DOWN = [
    answered("AccessDenied", 403),
    answered("InternalError", 500),
    EndpointConnectionError(endpoint_url="https://x"),
    ReadTimeoutError(endpoint_url="https://x"),
]


@pytest.mark.parametrize("kind", [IdKind.NODE_ID, IdKind.LOGICAL_ID])
def test_failed_entry_reaches_queue_and_topic_verbatim(kind: IdKind) -> None:
    """Code, message and ID to the letter, on both."""
    desk = Desk()
    words = ' "busy" é\U0001f4a5\n since 02:00 '
    over = ending(case(Node(kind, "odd id ü")), code="InstanceIdInUse", reason=words)
    assert desk.report(over) == {}
    name = "Failed" if kind is IdKind.NODE_ID else "FailedNodeLogicalIds"
    assert desk.published[0][name] == [{kind.value: "odd id ü", "ErrorCode": "InstanceIdInUse", "Message": words}]
    detail = desk.letters[0]["detail"]
    assert (detail[kind.value], detail["ErrorCode"], detail["Message"]) == ("odd id ü", "InstanceIdInUse", words)


def test_requests_are_what_the_services_take() -> None:
    """Both requests compared whole, less the bodies, which have tests of their own."""
    desk = Desk()
    desk.report(ending())
    assert [entry | {"MessageBody": "b"} for entry in desk.sqs.accepted] == [
        {
            "Id": "0",
            "MessageBody": "b",
            "DelaySeconds": 0,
            "MessageAttributes": {
                "ClusterName": {"DataType": "String", "StringValue": "ml-a"},
                "ErrorCode": {"DataType": "String", "StringValue": "InstanceIdInUse"},
                "Kind": {"DataType": "String", "StringValue": "failed"},
            },
        }
    ]
    assert [entry | {"Message": "m"} for entry in desk.sns.accepted] == [
        {
            "Id": "0",
            "Subject": "HyperPod ml-a: 1 not rebooted",
            "Message": "m",
            "MessageStructure": "json",
            "MessageAttributes": {
                "ClusterName": {"DataType": "String", "StringValue": "ml-a"},
                "Kind": {"DataType": "String", "StringValue": "failed"},
                "ErrorCodes": {"DataType": "String.Array", "StringValue": '["InstanceIdInUse"]'},
            },
        }
    ]


def test_dead_letter_queue_comes_first() -> None:
    """What a machine can replay is safe before anybody is woken."""
    desk = Desk()
    desk.report(*failures(25))
    assert desk.log == ["queue", "queue", "queue", "topic"]


@pytest.mark.parametrize("down", DOWN, ids=lambda error: type(error).__name__)
def test_nothing_is_published_while_the_queue_is_down(down: Exception) -> None:
    """The failures are missed with the reason, and people hear of them when the queue has them."""
    desk = Desk()
    desk.sqs.refuse = raising(down)
    missed = desk.report(*failures(3))
    assert list(missed) == failures_of(missed, 3)
    assert all(why.startswith("dead-letter queue: ") for why in missed.values())
    assert desk.sns.calls == []


def failures_of(missed: dict[Ending, str], count: int) -> list[Ending]:
    """The missed endings, once their nodes are seen to be the first `count`."""
    assert sorted(each.case.node.id for each in missed if each.case.node) == [instance_id(n) for n in range(count)]
    return list(missed)


@pytest.mark.parametrize("down", DOWN, ids=lambda error: type(error).__name__)
def test_topic_down_misses_what_the_queue_already_has(down: Exception) -> None:
    """It must be said again until people have it too."""
    desk = Desk()
    desk.sns.refuse = raising(down)
    missed = desk.report(*failures(3))
    failures_of(missed, 3)
    assert all(why.startswith("topic: ") for why in missed.values())
    assert len(desk.letters) == 3


def test_one_queue_entry_refused_for_good_misses_only_its_ending() -> None:
    """Three tries for what was refused alone; its neighbours are published, it is not."""
    desk = Desk()
    endings = failures(5)
    bad = instance_id(3)
    desk.sqs.refuse = lambda entries: [entry["Id"] for entry in entries if bad in entry["MessageBody"]]
    assert desk.report(*endings) == {endings[3]: "dead-letter queue: InternalError: try later"}
    assert [len(call) for call in desk.sqs.calls] == [5, 1, 1]
    assert len(desk.letters) == 4
    assert [entry["NodeId"] for entry in desk.published[0]["Failed"]] == [instance_id(n) for n in (0, 1, 2, 4)]


def test_entry_that_is_taken_at_a_later_try_is_not_missed() -> None:
    """A partial failure mostly passes; nothing is sent twice for it."""
    desk = Desk()
    tries: Iterator[list[str]] = iter([["1", "4"], ["1"]])
    desk.sqs.refuse = lambda _: next(tries, [])
    assert desk.report(*failures(5)) == {}
    assert [len(call) for call in desk.sqs.calls] == [5, 2, 1]
    assert sorted(letter["detail"]["NodeId"] for letter in desk.letters) == [instance_id(n) for n in range(5)]


def test_retry_that_cannot_be_sent_misses_only_what_was_open() -> None:
    """What the first call took is there."""
    desk = Desk()
    answers: Iterator[Any] = iter([["1"]])

    def refuse(_: list[Entry]) -> list[str]:
        for answer in answers:
            return cast("list[str]", answer)
        raise DOWN[1]

    endings = failures(3)
    desk.sqs.refuse = refuse
    assert desk.report(*endings) == {endings[1]: "dead-letter queue: InternalError: no"}


def test_one_topic_message_refused_misses_its_cluster_alone() -> None:
    """A message per cluster: the other cluster's people are told."""
    desk = Desk()
    a, b = failures(2, "ml-a"), failures(2, "ml-b")
    desk.sns.refuse = lambda entries: [e["Id"] for e in entries if "ml-a" in e["Subject"]]
    missed = desk.report(*a, *b)
    assert set(missed) == set(a)
    assert [body["ClusterName"] for body in desk.published] == ["ml-b"]


def test_first_batch_down_does_not_stop_the_next() -> None:
    """A failing call never changes what happens to its neighbours."""
    desk = Desk()
    down = iter([True])
    desk.sqs.refuse = lambda _: raising(DOWN[1])([]) if next(down, False) else []
    missed = desk.report(*failures(15))
    failures_of(missed, 10)
    assert len(desk.letters) == 5


def test_letters_go_in_batches_of_ten() -> None:
    """As few calls as the limit allows."""
    desk = Desk()
    desk.report(*failures(23))
    assert [len(call) for call in desk.sqs.calls] == [10, 10, 3]


def test_letters_go_in_batches_of_a_mebibyte() -> None:
    """Three long bodies do not fit one call; each is sent, none is cut."""
    desk = Desk()
    endings = failures(6, reason="x" * 400_000)
    assert desk.report(*endings) == {}
    assert [len(call) for call in desk.sqs.calls] == [2, 2, 2]
    assert [letter["detail"]["Message"] for letter in desk.letters] == [each.reason for each in endings]


def test_notifications_go_in_batches_of_ten_and_of_their_bytes() -> None:
    """Many clusters share calls; long messages do not."""
    desk = Desk()
    assert desk.report(*(each for n in range(12) for each in failures(1, f"ml-{n}"))) == {}
    assert [len(call) for call in desk.sns.calls] == [10, 2]
    desk = Desk()
    assert desk.report(*(each for n in range(4) for each in failures(1, f"ml-{n}", "x" * 50_000))) == {}
    assert [len(call) for call in desk.sns.calls] == [2, 2]


@pytest.mark.parametrize(("least", "most"), [(64_000, 66_500), (522_000, 525_000)])
def test_two_long_messages_never_break_a_limit_together(least: int, most: int) -> None:
    """Sizes around half of what SNS, and of what SQS, takes in one call: the fakes weigh each call."""
    for length in range(least, most, 250):
        desk = Desk()
        endings = [each for name in ("ml-a", "ml-b") for each in failures(1, name, "x" * length)]
        assert desk.report(*endings) == {}


def test_one_message_per_cluster_tells_everything_of_a_batch() -> None:
    """A rack that fails is one mail, not thirty."""
    desk = Desk(notify_rebooted=True)
    refused = ending(case(Node(IdKind.NODE_ID, "i-r")), Outcome.REFUSED, "ClusterNotAllowed")
    well = ending(case(Node(IdKind.NODE_ID, "i-w")), Outcome.REBOOTED, None)
    desk.report(*failures(30), refused, well)
    (body,) = desk.published
    assert (len(body["Failed"]), len(body["Refused"]), len(body["Rebooted"])) == (30, 1, 1)


_REPORTED = ("failed", "refused", "unreadable", "not_recovered")
_PUBLISHED = ("retrying", "observed", "recovered", "superseded")


@pytest.mark.parametrize("outcome", [o for o in Outcome if o.value not in (*_REPORTED, *_PUBLISHED)])
def test_outcome_that_nobody_needs_to_know_is_not_reported(outcome: Outcome) -> None:
    """Neither queue nor topic hears of it."""
    desk = Desk()
    assert desk.report(ending(outcome=outcome, code=None)) == {}
    assert desk.log == []


def test_reboot_is_published_only_if_wanted_and_never_a_dead_letter() -> None:
    """notify_rebooted tells people; there is nothing to replay."""
    desk = Desk(notify_rebooted=True)
    assert desk.report(ending(outcome=Outcome.REBOOTED, code=None)) == {}
    assert desk.log == ["topic"]
    assert desk.published[0]["Rebooted"] == [{"NodeId": instance_id(1), "Message": "The node is busy."}]


def test_what_was_observed_is_published_and_never_a_dead_letter() -> None:
    """Whoever tries the system out reads what it would have done; the message has no ErrorCodes to filter by."""
    desk = Desk()
    assert desk.report(ending(outcome=Outcome.OBSERVED, code=None)) == {}
    assert desk.log == ["topic"]
    assert desk.published[0]["Observed"] == [{"NodeId": instance_id(1), "Message": "The node is busy."}]
    assert set(desk.sns.accepted[0]["MessageAttributes"]) == {"ClusterName", "Kind"}
    assert desk.sns.accepted[0]["MessageAttributes"]["Kind"]["StringValue"] == "observed"


@pytest.mark.parametrize("outcome", _REPORTED)
def test_outcome_that_a_person_must_act_on_is_reported_on_both_sides(outcome: str) -> None:
    """Queue first, then topic, and to filters a node that did not come back is a failure like any other."""
    desk = Desk()
    assert desk.report(ending(outcome=Outcome(outcome), code="Code")) == {}
    assert desk.log == ["queue", "topic"]
    kind = "failed" if outcome == "not_recovered" else outcome
    for side in (desk.sqs, desk.sns):
        assert side.accepted[0]["MessageAttributes"]["Kind"]["StringValue"] == kind


@pytest.mark.parametrize("outcome", _PUBLISHED)
def test_outcome_that_people_want_to_know_is_published_and_never_a_dead_letter(outcome: str) -> None:
    """There is nothing to replay; filters can tell each by its Kind."""
    desk = Desk()
    assert desk.report(ending(outcome=Outcome(outcome), code=None)) == {}
    assert desk.log == ["topic"]
    assert desk.sns.accepted[0]["MessageAttributes"]["Kind"]["StringValue"] == outcome


@pytest.mark.parametrize("outcome", [Outcome.RECOVERED, Outcome.SUPERSEDED])
def test_end_of_what_nobody_was_told_of_is_not_published(outcome: Outcome) -> None:
    """A night in which all went well wakes nobody."""
    desk = Desk()
    assert desk.report(replace(ending(outcome=outcome, code=None), quiet=True)) == {}
    assert desk.log == []


@pytest.mark.parametrize("side", ["queue", "topic"])
def test_batch_that_is_rejected_whole_is_sent_one_by_one(side: str) -> None:
    """One entry that the service does not take changes nothing for its neighbours."""
    desk, guilty = Desk(), instance_id(3)
    api, body = (desk.sqs, "MessageBody") if side == "queue" else (desk.sns, "Message")

    def refuse(entries: list[Entry]) -> list[str]:
        return raising(DOWN[0])([]) if any(guilty in entry[body] for entry in entries) else []

    api.refuse = refuse
    endings = [
        ending(case(Node(IdKind.NODE_ID, instance_id(n)), f"ml-{n}", message_id=f"m-{n}"), reason="busy")
        for n in range(6)
    ]
    missed = desk.report(*endings)
    assert set(missed) == {endings[3]}
    assert missed[endings[3]].endswith("AccessDenied: no")
    assert [len(call) for call in api.calls] == [6, 1, 1, 1, 1, 1, 1]
    assert len(api.accepted) == 5


def test_call_that_is_not_answered_is_not_sent_one_by_one() -> None:
    """A queue that is down is down for each of them."""
    for down in DOWN[1:]:
        desk = Desk()
        desk.sqs.refuse = raising(down)
        assert len(desk.report(*failures(6))) == 6
        assert [len(call) for call in desk.sqs.calls] == [6]


def test_entry_that_the_answer_does_not_name_is_missed() -> None:
    """What is not known to be there is said again."""
    desk = Desk()
    endings = failures(3)
    desk.sqs.forget = lambda entries: [e["Id"] for e in entries if instance_id(1) in e["MessageBody"]]
    assert desk.report(*endings) == {endings[1]: "dead-letter queue: the answer does not name it"}
    assert [len(call) for call in desk.sqs.calls] == [3, 1, 1]


def test_letter_that_is_too_long_is_the_message_as_it_came() -> None:
    """What came in over the intake queue fits the dead-letter queue; its neighbours are as they always are."""
    desk = Desk()
    short, long = failures(2)
    long = replace(long, reason="x" * 1_048_576, case=case(Node(IdKind.NODE_ID, "i-x"), body="as it came"))
    assert desk.report(short, long) == {}
    first, second = desk.sqs.accepted
    assert json.loads(first["MessageBody"])["detail"]["NodeId"] == instance_id(0)
    assert second["MessageBody"] == "as it came"
    assert second["MessageAttributes"]["ErrorCode"]["StringValue"] == "InstanceIdInUse"


def test_message_without_cluster_goes_in_once_for_all_its_nodes() -> None:
    """As it came, and both of its nodes are told to people."""
    desk = Desk()
    body = json.dumps(request(instance_id(1), instance_id(2), cluster=None))
    over = [
        ending(case(Node(IdKind.NODE_ID, instance_id(n)), None, body=body), Outcome.REFUSED, "ClusterNotResolved")
        for n in (1, 2)
    ]
    assert desk.report(*over) == {}
    assert [entry["MessageBody"] for entry in desk.sqs.accepted] == [body]
    assert len(desk.published[0]["Refused"]) == 2


def test_message_without_cluster_that_is_refused_misses_all_its_nodes() -> None:
    """One dead letter stood for both."""
    desk = Desk()
    desk.sqs.refuse = lambda entries: [entry["Id"] for entry in entries]
    over = [
        ending(case(Node(IdKind.NODE_ID, instance_id(n)), None, body="b"), Outcome.REFUSED, "ClusterNotResolved")
        for n in (1, 2)
    ]
    assert set(desk.report(*over)) == set(over)


def test_equal_bodies_of_two_messages_are_two_dead_letters() -> None:
    """Two messages went in, two come out."""
    desk = Desk()
    junk = [ending(settled_case(body="junk", message_id=f"m-{n}"), Outcome.UNREADABLE, "Unreadable") for n in (1, 2)]
    assert desk.report(*junk) == {}
    assert [entry["MessageBody"] for entry in desk.sqs.accepted] == ["junk", "junk"]


def test_refused_again_after_a_redrive_is_delayed() -> None:
    """The redrive that is under way does not meet it again."""
    desk = Desk()
    desk.report(ending(case(redriven="refused"), Outcome.REFUSED, "ClusterNotAllowed"))
    assert [entry["DelaySeconds"] for entry in desk.sqs.accepted] == [900]


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([Outcome.FAILED, Outcome.REFUSED, Outcome.UNREADABLE, Outcome.DEFERRED]),
            st.sampled_from(["ml-a", "ml-b", None, "hostile\x00\ud800\n", "x" * 400]),
            st.text(min_size=1, max_size=20),
        ),
        max_size=25,
    ),
    queue=st.lists(st.booleans(), max_size=12),
    topic=st.lists(st.booleans(), max_size=12),
)
def test_each_ending_arrives_on_both_sides_or_is_missed(
    rows: list[tuple[Outcome, str | None, str]], queue: list[bool], topic: list[bool]
) -> None:
    """Promise 3, over any mix of endings and outages; the fakes hold every request to the limits."""
    desk = Desk()
    for api, outages in ((desk.sqs, iter(queue)), (desk.sns, iter(topic))):
        api.refuse = lambda entries, outages=outages: [e["Id"] for e in entries if next(outages, False)]  # type: ignore[misc]
    endings = [
        ending(case(Node(IdKind.NODE_ID, f"{n} {words}"), cluster, message_id=f"m-{n}", body=f"body {n}"), outcome, "C")
        for n, (outcome, cluster, words) in enumerate(rows)
    ]
    missed = desk.report(*endings)
    reported = [each for each in endings if each.outcome is not Outcome.DEFERRED]
    assert set(missed) <= set(reported)
    told = [
        entry["NodeId"]
        for body in desk.published
        for value in body.values()
        if isinstance(value, list)
        for entry in value
    ]
    assert sorted(told) == sorted(each.case.node.id for each in reported if each.case.node and each not in missed)
    bodies = [entry["MessageBody"] for entry in desk.sqs.accepted]
    for each in reported:
        assert each.case.node
        found = [body for body in bodies if body == each.case.message.body or json.dumps(each.case.node.id) in body]
        assert len(found) == 1 or (each in missed and not found)
