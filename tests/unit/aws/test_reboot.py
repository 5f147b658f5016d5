"""Reboot calls and their answers, over a real client that sends each request once."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil, log2
from typing import Any

import pytest
from botocore import exceptions
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.aws.hyperpod import MOST_NODES_PER_CALL, Answers, SageMakerHyperPod, calls_for
from node_remediation.model import Answer, CallResult, IdKind, Node
from tests.unit.wire import Body, Reply, error, wired

URL = "https://api.sagemaker.us-west-2.amazonaws.com"
THROTTLED = error("ThrottlingException", "Rate exceeded")
NOT_SENT = exceptions.EndpointConnectionError(endpoint_url=URL)
NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)


def node(number: int) -> Node:
    return Node(IdKind.NODE_ID, f"i-{number:017x}")


def logical(number: int) -> Node:
    return Node(IdKind.LOGICAL_ID, f"group-{number}")


def nodes(count: int) -> list[Node]:
    return [node(number) for number in range(count)]


ODD = Node(IdKind.NODE_ID, "i-12345678abcdefghi ü")


def ids(body: Body) -> list[str]:
    found: list[str] = body.get("NodeIds") or body["NodeLogicalIds"]
    return found


def all_well(body: Body) -> Reply:
    return 200, {"Successful": body.get("NodeIds", []), "SuccessfulNodeLogicalIds": body.get("NodeLogicalIds", [])}


@dataclass
class Api:
    """A SageMaker that answers as it is told, and what was sent to it."""

    client: Any
    slept: list[float] = field(default_factory=list)
    sent: list[Body] = field(default_factory=list)

    def reboot(
        self,
        asked: Sequence[Node],
        reply: Callable[[Body], Reply],
        *,
        may_call: Callable[[], bool] = lambda: True,
        jitter: float = 1.0,
    ) -> Answers:
        hyperpod = SageMakerHyperPod(
            self.client, protects=lambda _: False, clock=lambda: NOW, sleep=self.slept.append, jitter=lambda: jitter
        )
        with wired(self.client, reply) as sent:
            answers = hyperpod.reboot("ml-a", asked, may_call=may_call)
        self.sent = sent
        return answers


@pytest.fixture(scope="module")
def client(make_client: Callable[..., Any]) -> Any:
    return make_client("sagemaker")


@pytest.fixture
def api(client: Any) -> Api:
    return Api(client)


def replies(*each: Reply) -> Callable[[Body], Reply]:
    """Return the given replies in turn, then reboots."""
    left: Iterator[Reply] = iter(each)
    return lambda body: next(left, None) or all_well(body)


def failure(id_: str, code: str = "InstanceIdInUse", message: str = "busy") -> Body:
    return {"NodeId": id_, "ErrorCode": code, "Message": message}


# -- calls


@given(
    st.lists(
        st.builds(Node, st.sampled_from(IdKind), st.sampled_from(["i-0123456789abcdef0", "group-1", "rack 7", ""])),
        max_size=70,
    )
)
def test_calls_have_every_node_once_and_no_odd_one_has_company(asked: list[Node]) -> None:
    """At most 25 of one kind, as few calls as that allows, in the order given."""
    calls = calls_for(asked)
    assert Counter(each for call in calls for each in call) == Counter(asked)
    for call in calls:
        assert len(call) == 1 or all(each.well_formed for each in call)
        assert len({each.kind for each in call}) == 1
        assert len(call) <= MOST_NODES_PER_CALL
    fit = [each for each in asked if each.well_formed]
    for kind in IdKind:
        of_kind = [each for each in fit if each.kind is kind]
        full = [call for call in calls if call[0].well_formed and call[0].kind is kind]
        assert len(full) == ceil(len(of_kind) / MOST_NODES_PER_CALL)
        assert [each for call in full for each in call] == of_kind


def test_nodes_go_out_by_the_kind_of_their_ids_and_odd_ones_alone(api: Api) -> None:
    """The request has the cluster's name and the IDs as they are: the API decides about each."""
    answers = api.reboot([node(1), ODD, logical(1), node(2)], all_well)
    assert api.sent == [
        {"ClusterName": "ml-a", "NodeIds": [node(1).id, node(2).id]},
        {"ClusterName": "ml-a", "NodeLogicalIds": ["group-1"]},
        {"ClusterName": "ml-a", "NodeIds": [ODD.id]},
    ]
    assert {answer.node: answer.result for answer in answers.answers} == dict.fromkeys(
        [node(1), node(2), logical(1), ODD], CallResult.STARTED
    )
    assert list(answers.nodes_per_call) == [2, 1, 1]


def test_more_than_25_nodes_take_several_calls(api: Api) -> None:
    """What one of them comes to says nothing about the next."""
    answers = api.reboot(nodes(30), replies(error("ResourceNotFound", "gone")))
    assert list(answers.nodes_per_call) == [25, 5]
    assert [answer.result for answer in answers.answers] == [CallResult.FAILED] * 25 + [CallResult.STARTED] * 5


# -- answers


def test_all_four_lists_of_an_answer_are_read(api: Api) -> None:
    """Each entry is its node's answer, code and message verbatim; so is that of a node that was not asked for."""
    reply = {
        "Successful": [node(1).id],
        "Failed": [failure(node(2).id, "InstanceIdInUse", " busy\n")],
        "SuccessfulNodeLogicalIds": ["group-1"],
        "FailedNodeLogicalIds": [{"NodeLogicalId": "group-2", "ErrorCode": "InstanceIdNotFound", "Message": "gone"}],
    }
    answers = api.reboot([node(1), node(2)], lambda _: (200, reply)).answers
    assert {answer.node: answer for answer in answers} == {
        node(1): Answer(node(1), CallResult.STARTED),
        node(2): Answer(node(2), CallResult.FAILED, "InstanceIdInUse", " busy\n"),
        logical(2): Answer(logical(2), CallResult.FAILED, "InstanceIdNotFound", "gone"),
    }
    assert Answer(logical(1), CallResult.STARTED) in api.reboot([logical(1)], lambda _: (200, reply)).answers


def test_node_listed_as_successful_and_failed_was_rebooted_and_keeps_the_entry(api: Api) -> None:
    """It counts as rebooted, or it would be rebooted again and again; and people must have the failure."""
    reply = {"Successful": [node(1).id], "Failed": [failure(node(1).id)]}
    assert api.reboot([node(1)], lambda _: (200, reply)).answers == [
        Answer(node(1), CallResult.STARTED, "InstanceIdInUse", "busy")
    ]


def test_node_that_was_not_asked_for_is_not_called_rebooted(api: Api) -> None:
    """Nothing was claimed for it: its entry is a failure."""
    reply = {"Successful": [node(1).id, node(2).id], "Failed": [failure(node(2).id)]}
    answers = api.reboot([node(1)], lambda _: (200, reply)).answers
    assert {answer.node: answer.result for answer in answers} == {
        node(1): CallResult.STARTED,
        node(2): CallResult.FAILED,
    }


def test_entry_that_is_listed_twice_is_one(api: Api) -> None:
    """A node has one answer, or it would have two letters."""
    reply = {"Failed": [failure(node(1).id), failure(node(1).id)], "Successful": [node(2).id, node(2).id]}
    assert api.reboot(nodes(3)[1:], lambda _: (200, reply)).answers == [
        Answer(node(1), CallResult.FAILED, "InstanceIdInUse", "busy"),
        Answer(node(2), CallResult.STARTED),
    ]


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"Failed": []},
        {"Successful": None, "Failed": None},
        {"Successful": [None], "Failed": [None]},
        b"<html>proxy says hello</html>",
        b"",
    ],
)
def test_node_that_the_answer_does_not_name_has_an_unknown_outcome(api: Api, reply: Body | bytes) -> None:
    """Lists may be absent, and an answer may be no answer: it is not asked again."""
    answers = api.reboot([node(1)], lambda _: (200, reply)).answers
    assert [(answer.node, answer.result, answer.code) for answer in answers] == [
        (node(1), CallResult.UNKNOWN, "OutcomeUnknown")
    ]
    assert len(api.sent) == 1


def test_entry_without_code_or_message_is_a_failure(api: Api) -> None:
    """A code is needed to find advice and to filter by."""
    for entry in ({"NodeId": node(1).id}, {"NodeId": node(1).id, "ErrorCode": None, "Message": None}):
        reply = {"Failed": [entry]}
        answers = api.reboot([node(1)], lambda _, reply=reply: (200, reply)).answers  # type: ignore[misc]
        assert answers == [Answer(node(1), CallResult.FAILED, "Unknown", "")]


def test_message_of_an_entry_is_bounded(api: Api) -> None:
    """It is kept, sent and logged; over 12,288 characters it is cut, with a mark."""
    reply = {"Failed": [failure(node(1).id, message="x" * 20_000)]}
    (answer,) = api.reboot([node(1)], lambda _: (200, reply)).answers
    assert len(answer.message) == 12_288
    assert answer.message.endswith("…[cut]")


# -- calls that fail as a whole


@pytest.mark.parametrize("code", ["ResourceNotFound", "AccessDeniedException", "ValidationException"])
def test_call_that_was_refused_fails_its_nodes_with_awss_error(api: Api, code: str) -> None:
    """Asked once: a no is a no."""
    answers = api.reboot([node(1)], lambda _: error(code, "because"))
    assert answers.answers == [Answer(node(1), CallResult.FAILED, code, "because")]
    assert len(api.sent) == 1


@pytest.mark.parametrize("code", ["ResourceNotFound", "AccessDeniedException"])
def test_refusal_that_no_id_caused_is_not_halved(api: Api, code: str) -> None:
    """Smaller calls would meet the same no."""
    answers = api.reboot(nodes(25), lambda _: error(code, "because"))
    assert {answer.result for answer in answers.answers} == {CallResult.FAILED}
    assert len(api.sent) == 1


def at_fault(names: set[str], words: str = "Value {} fails to satisfy the constraint") -> Callable[[Body], Reply]:
    """Return an API that rejects each call with one of the given IDs in it, and names the first that it sees."""

    def reply(body: Body) -> Reply:
        found = [name for name in ids(body) if name in names]
        return error("ValidationException", words.format(found[0])) if found else all_well(body)

    return reply


@given(count=st.integers(1, 25), data=st.data())
def test_call_rejected_for_ids_is_halved_until_they_are_alone(client: Any, count: int, data: st.DataObject) -> None:
    """Every node has one answer, the others are rebooted once, and calls are as few as halving takes."""
    asked = data.draw(st.permutations(nodes(count)))
    bad = {each.id for each in data.draw(st.sets(st.sampled_from(asked)))}
    api = Api(client)
    answers = api.reboot(asked, at_fault(bad))
    assert sorted(answer.node.id for answer in answers.answers) == sorted(each.id for each in asked)
    for answer in answers.answers:
        assert (answer.result is CallResult.FAILED) == (answer.node.id in bad)
        assert (answer.code == "ValidationException") == (answer.node.id in bad)
    rebooted = [name for body in api.sent if not set(ids(body)) & bad for name in ids(body)]
    assert sorted(rebooted) == sorted(each.id for each in asked if each.id not in bad)
    assert len(api.sent) <= 1 + 2 * len(bad) * ceil(log2(max(2, count)))
    assert list(answers.nodes_per_call) == [len(ids(body)) for body in api.sent]


def test_one_id_at_fault_among_25_that_no_message_names_is_still_found(api: Api) -> None:
    """One half goes through, so it is not the cluster's fault, whatever the words."""
    answers = api.reboot(nodes(25), at_fault({node(17).id}, "1 validation error detected"))
    assert [answer.node for answer in answers.answers if answer.result is CallResult.FAILED] == [node(17)]
    assert sum(answer.result is CallResult.STARTED for answer in answers.answers) == 24


def test_fault_of_the_cluster_stops_after_three_calls(api: Api) -> None:
    """Both halves rejected in the same words that name no ID: all fail with it, and no more is asked."""
    answers = api.reboot(nodes(25), lambda _: error("ValidationException", "Cluster ml-a is being updated"))
    assert [len(ids(body)) for body in api.sent] == [25, 12, 13]
    assert answers.answers == [
        Answer(each, CallResult.FAILED, "ValidationException", "Cluster ml-a is being updated") for each in nodes(25)
    ]


def test_halves_rejected_in_different_words_are_halved_on(api: Api) -> None:
    """An ID in each half is at fault, and the words say where without naming it: the others are still rebooted."""
    bad = {node(1).id: "at position 1", node(6).id: "at position 6"}

    def reply(body: Body) -> Reply:
        found = [words for name, words in bad.items() if name in ids(body)]
        return error("ValidationException", found[0]) if found else all_well(body)

    answers = api.reboot(nodes(8), reply).answers
    assert {answer.node.id for answer in answers if answer.result is CallResult.FAILED} == set(bad)
    assert sum(answer.result is CallResult.STARTED for answer in answers) == 6


def test_half_whose_answer_is_lost_is_unknown_and_not_halved_on(api: Api) -> None:
    """What happened to one half says nothing about the other."""
    lost = exceptions.ReadTimeoutError(endpoint_url=URL)
    answers = api.reboot(nodes(4), replies(error("ValidationException", "no"), lost))
    assert [answer.result for answer in answers.answers] == [CallResult.UNKNOWN] * 2 + [CallResult.STARTED] * 2
    assert len(api.sent) == 3


@pytest.mark.parametrize("trouble", [THROTTLED, NOT_SENT, exceptions.ConnectTimeoutError(endpoint_url=URL)])
def test_passing_trouble_is_tried_again_then_given_up(api: Api, trouble: Reply) -> None:
    """Turned away or never sent: safe to send again, four times in all, waiting longer each time."""
    answers = api.reboot(nodes(2), lambda _: trouble)
    assert {(answer.node, answer.result) for answer in answers.answers} == {
        (each, CallResult.NOT_CALLED) for each in nodes(2)
    }
    assert api.slept == [0.5, 1.0, 2.0]
    assert list(answers.nodes_per_call) == [2, 2, 2, 2]


@pytest.mark.parametrize("trouble", [THROTTLED, NOT_SENT])
def test_trouble_that_passes_ends_in_a_reboot(api: Api, trouble: Reply) -> None:
    """The third try gets through."""
    answers = api.reboot([node(1)], replies(trouble, trouble))
    assert answers.answers == [Answer(node(1), CallResult.STARTED)]
    assert len(api.sent) == 3


def test_waits_are_spread_by_half(api: Api) -> None:
    """Functions that were throttled together do not come back together."""
    api.reboot([node(1)], lambda _: THROTTLED, jitter=0.0)
    assert api.slept == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    "lost",
    [
        exceptions.ReadTimeoutError(endpoint_url=URL),
        exceptions.ConnectionClosedError(endpoint_url=URL),
        exceptions.HTTPClientError(error="odd"),
        error("InternalFailure", "oops", 500),
        error("ServiceUnavailable", "oops", 503),
        (502, b"<html>bad gateway</html>"),
        (200, b"{half an ans"),
    ],
)
def test_lost_answer_is_unknown_and_never_sent_twice(api: Api, lost: Reply) -> None:
    """The reboots may have started: a second call could reboot a node twice."""
    answers = api.reboot(nodes(3), lambda _: lost)
    assert [(answer.node, answer.result, answer.code) for answer in answers.answers] == [
        (each, CallResult.UNKNOWN, "OutcomeUnknown") for each in nodes(3)
    ]
    assert all(answer.message for answer in answers.answers)
    assert (len(api.sent), api.slept) == (1, [])


def test_lost_answer_after_throttling_is_unknown(api: Api) -> None:
    """That an earlier try was turned away proves nothing about the last."""
    answers = api.reboot([node(1)], replies(THROTTLED, exceptions.ReadTimeoutError(endpoint_url=URL))).answers
    assert [answer.result for answer in answers] == [CallResult.UNKNOWN]
    assert "ReadTimeoutError" in answers[0].message
    assert len(api.sent) == 2


def test_deadline_before_the_call_calls_nothing(api: Api) -> None:
    """The nodes were not called, and the code says why."""
    answers = api.reboot([node(1)], all_well, may_call=lambda: False)
    assert [(answer.result, answer.code) for answer in answers.answers] == [(CallResult.NOT_CALLED, "DeadlineExceeded")]
    assert (api.sent, list(answers.nodes_per_call)) == ([], [])


def test_deadline_between_tries_stops_with_the_last_trouble(api: Api) -> None:
    """It was throttled until there was no time left: people can act on that."""
    allowed = iter([True, True, False])
    answers = api.reboot([node(1)], lambda _: THROTTLED, may_call=lambda: next(allowed))
    assert answers.answers == [Answer(node(1), CallResult.NOT_CALLED, "ThrottlingException", "Rate exceeded")]
    assert len(api.sent) == 2


def test_deadline_while_halving_leaves_the_rest_uncalled(api: Api) -> None:
    """Those that were answered keep their answers."""
    allowed = iter([True, True])
    answers = api.reboot(nodes(4), at_fault({node(3).id}), may_call=lambda: next(allowed, False)).answers
    assert [answer.result for answer in answers] == [CallResult.STARTED] * 2 + [CallResult.NOT_CALLED] * 2
    assert len(api.sent) == 2
