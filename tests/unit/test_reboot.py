"""The call itself, over the very client that the function uses; only botocore's sending is stood in for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, log2
from typing import Any

import pytest
from botocore import exceptions
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.awserrors import CallError, Meaning
from node_remediation.model import IdKind, Node, Result
from node_remediation.reboot import Answer, Answers, SageMakerRebooter
from tests.unit.fakes import instance_id
from tests.unit.wire import Body, Reply, error, wired

URL = "https://api.sagemaker.us-west-2.amazonaws.com"
THROTTLED = error("ThrottlingException", "Rate exceeded")
TURNED_AWAY = CallError(Meaning.THROTTLED, "ThrottlingException", "Rate exceeded")
NOT_SENT = exceptions.EndpointConnectionError(endpoint_url=URL)


def node(number: int) -> Node:
    return Node(IdKind.NODE_ID, instance_id(number))


def logical(number: int) -> Node:
    return Node(IdKind.LOGICAL_ID, f"group-{number}")


def nodes(count: int) -> list[Node]:
    return [node(number) for number in range(count)]


def ids(body: Body) -> list[str]:
    found: list[str] = body.get("NodeIds") or body["NodeLogicalIds"]
    return found


def all_well(body: Body) -> Reply:
    return 200, {"Successful": body.get("NodeIds", []), "SuccessfulNodeLogicalIds": body.get("NodeLogicalIds", [])}


@dataclass
class Api:
    """A SageMaker that answers by a script, and what came of asking it."""

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
        rebooter = SageMakerRebooter(self.client, sleep=self.slept.append, jitter=lambda: jitter)
        with wired(self.client, reply) as sent:
            answers = rebooter.reboot("ml-a", asked, may_call=may_call)
        self.sent = sent
        return answers


@pytest.fixture
def api(sagemaker: Any) -> Api:
    return Api(sagemaker)


def replies(*each: Reply) -> Callable[[Body], Reply]:
    """The given replies in turn, then reboots."""
    left: Iterator[Reply] = iter(each)
    return lambda body: next(left, None) or all_well(body)


def test_instance_ids_go_out_as_node_ids(api: Api) -> None:
    """The request has the cluster's name and the IDs, and nothing else."""
    answers = api.reboot([node(1), node(2)], all_well)
    assert api.sent == [{"ClusterName": "ml-a", "NodeIds": [instance_id(1), instance_id(2)]}]
    assert answers == Answers([Answer(node(1), Result.REBOOTED), Answer(node(2), Result.REBOOTED)], [2])


def test_logical_ids_go_out_as_logical_ids(api: Api) -> None:
    """The call uses the kind of ID that was reported."""
    answers = api.reboot([logical(1)], all_well)
    assert api.sent == [{"ClusterName": "ml-a", "NodeLogicalIds": ["group-1"]}]
    assert answers == Answers([Answer(logical(1), Result.REBOOTED)], [1])


def test_odd_id_reaches_the_api_as_it_is(api: Api) -> None:
    """The API decides: nothing on the way changes or refuses an ID."""
    odd = Node(IdKind.NODE_ID, "i-12345678abcdefghi ü")
    api.reboot([odd], all_well)
    assert api.sent[0]["NodeIds"] == [odd.id]


def test_all_four_lists_of_an_answer_are_read(api: Api) -> None:
    """Each entry is its node's answer, code and message verbatim."""
    reply = {
        "Successful": [instance_id(1)],
        "Failed": [{"NodeId": instance_id(2), "ErrorCode": "InstanceIdInUse", "Message": " busy\n"}],
        "SuccessfulNodeLogicalIds": ["group-1"],
        "FailedNodeLogicalIds": [{"NodeLogicalId": "group-2", "ErrorCode": "InstanceIdNotFound", "Message": "gone"}],
    }
    answers = api.reboot([node(1), node(2)], lambda _: (200, reply)).answers
    assert {answer.node: answer for answer in answers} == {
        node(1): Answer(node(1), Result.REBOOTED),
        node(2): Answer(node(2), Result.FAILED, "InstanceIdInUse", " busy\n"),
        logical(2): Answer(logical(2), Result.FAILED, "InstanceIdNotFound", "gone"),
    }
    answers = api.reboot([logical(1)], lambda _: (200, reply)).answers
    assert Answer(logical(1), Result.REBOOTED) in answers


def test_failure_of_a_node_that_was_not_asked_for_is_kept(api: Api) -> None:
    """Each entry of Failed reaches people, whatever it names."""
    reply = {"Successful": [instance_id(1)], "Failed": [{"NodeId": "i-x", "ErrorCode": "C", "Message": "m"}]}
    answers = api.reboot([node(1)], lambda _: (200, reply)).answers
    assert Answer(Node(IdKind.NODE_ID, "i-x"), Result.FAILED, "C", "m") in answers
    assert Answer(node(1), Result.REBOOTED) in answers


def test_node_listed_as_successful_and_failed_has_failed(api: Api) -> None:
    """Of a contradiction the failure is what a person must know."""
    reply = {"Successful": [instance_id(1)], "Failed": [{"NodeId": instance_id(1), "ErrorCode": "C", "Message": "m"}]}
    assert api.reboot([node(1)], lambda _: (200, reply)).answers == [Answer(node(1), Result.FAILED, "C", "m")]


@pytest.mark.parametrize("reply", [{}, {"Failed": []}, {"Successful": None}, b"<html>proxy says hello</html>", b""])
def test_node_that_the_answer_does_not_name_has_an_unknown_outcome(api: Api, reply: Body | bytes) -> None:
    """Lists may be absent, and an answer may be no answer: then nobody knows, and it is not asked again."""
    answers = api.reboot([node(1)], lambda _: (200, reply)).answers
    assert [(answer.node, answer.result, answer.code) for answer in answers] == [
        (node(1), Result.UNKNOWN, "OutcomeUnknown")
    ]
    assert len(api.sent) == 1


@pytest.mark.parametrize("code", ["ResourceNotFound", "AccessDeniedException", "ValidationException"])
def test_call_that_was_refused_fails_its_nodes_in_aws_words(api: Api, code: str) -> None:
    """Asked once: a no is a no."""
    answers = api.reboot([node(1)], lambda _: error(code, "because"))
    assert answers.answers == [Answer(node(1), Result.FAILED, code, "because")]
    assert len(api.sent) == 1


@pytest.mark.parametrize("code", ["ResourceNotFound", "AccessDeniedException"])
def test_refusal_that_no_id_caused_is_not_halved(api: Api, code: str) -> None:
    """Smaller calls would meet the same no."""
    answers = api.reboot(nodes(25), lambda _: error(code, "because"))
    assert {answer.result for answer in answers.answers} == {Result.FAILED}
    assert len(api.sent) == 1


def guilty(names: set[str], words: str = "Value {} fails to satisfy the constraint") -> Callable[[Body], Reply]:
    """An API that rejects each call with one of the given IDs in it, and names the first that it sees."""

    def reply(body: Body) -> Reply:
        found = [name for name in ids(body) if name in names]
        return error("ValidationException", words.format(found[0])) if found else all_well(body)

    return reply


@given(count=st.integers(1, 25), data=st.data())
def test_call_rejected_for_ids_is_halved_until_they_are_alone(sagemaker: Any, count: int, data: st.DataObject) -> None:
    """Every node has one answer, the innocent are rebooted once, and calls are as few as halving takes."""
    asked = data.draw(st.permutations(nodes(count)))
    bad = {each.id for each in data.draw(st.sets(st.sampled_from(asked)))}
    api = Api(sagemaker)
    answers = api.reboot(asked, guilty(bad))
    assert sorted(answer.node.id for answer in answers.answers) == sorted(each.id for each in asked)
    for answer in answers.answers:
        assert (answer.result is Result.FAILED) == (answer.node.id in bad)
        assert (answer.code == "ValidationException") == (answer.node.id in bad)
    rebooted = [name for body in api.sent if not set(ids(body)) & bad for name in ids(body)]
    assert sorted(rebooted) == sorted(each.id for each in asked if each.id not in bad)
    assert len(api.sent) <= 1 + 2 * len(bad) * ceil(log2(max(2, count)))
    assert list(answers.nodes_per_call) == [len(ids(body)) for body in api.sent]


def test_one_guilty_id_among_25_that_no_message_names_is_still_found(api: Api) -> None:
    """One half goes through, so it is not the cluster's fault, whatever the words."""
    answers = api.reboot(nodes(25), guilty({instance_id(17)}, "1 validation error detected"))
    assert [answer.node for answer in answers.answers if answer.result is Result.FAILED] == [node(17)]
    assert sum(answer.result is Result.REBOOTED for answer in answers.answers) == 24


def test_fault_of_the_cluster_stops_after_three_calls(api: Api) -> None:
    """Both halves rejected in the same words that name no ID: all fail with it, and nothing more is asked."""
    answers = api.reboot(nodes(25), lambda _: error("ValidationException", "Cluster ml-a is being updated"))
    assert [len(ids(body)) for body in api.sent] == [25, 12, 13]
    assert answers.answers == [
        Answer(each, Result.FAILED, "ValidationException", "Cluster ml-a is being updated") for each in nodes(25)
    ]


def test_halves_rejected_in_different_words_are_halved_on(api: Api) -> None:
    """An ID in each half is at fault, and the words say where without naming it: the innocent are still rebooted."""
    bad = {instance_id(1): "at position 1", instance_id(6): "at position 6"}

    def reply(body: Body) -> Reply:
        found = [words for name, words in bad.items() if name in ids(body)]
        return error("ValidationException", found[0]) if found else all_well(body)

    answers = api.reboot(nodes(8), reply).answers
    assert {answer.node.id for answer in answers if answer.result is Result.FAILED} == set(bad)
    assert sum(answer.result is Result.REBOOTED for answer in answers) == 6


def test_half_whose_answer_is_lost_is_unknown_and_not_halved_on(api: Api) -> None:
    """What happened to one half says nothing about the other."""
    lost = exceptions.ReadTimeoutError(endpoint_url=URL)
    answers = api.reboot(nodes(4), replies(error("ValidationException", "no"), lost))
    assert [answer.result for answer in answers.answers] == [Result.UNKNOWN] * 2 + [Result.REBOOTED] * 2
    assert len(api.sent) == 3


@pytest.mark.parametrize("trouble", [THROTTLED, NOT_SENT, exceptions.ConnectTimeoutError(endpoint_url=URL)])
def test_passing_trouble_is_tried_again_then_given_up(api: Api, trouble: Reply) -> None:
    """Turned away or never sent: safe to send again, four times in all, waiting longer each time."""
    answers = api.reboot(nodes(2), replies(*[trouble] * 9))
    assert {(answer.node, answer.result) for answer in answers.answers} == {
        (each, Result.NOT_CALLED) for each in nodes(2)
    }
    assert len(api.sent) == 4
    assert api.slept == [0.5, 1.0, 2.0]
    assert list(answers.nodes_per_call) == [2, 2, 2, 2]


def test_not_called_nodes_carry_awss_own_code(api: Api) -> None:
    """When the queue gives up too, this is what people are told."""
    answers = api.reboot([node(1)], lambda _: THROTTLED).answers
    assert answers == [Answer(node(1), Result.NOT_CALLED, "ThrottlingException", "Rate exceeded", TURNED_AWAY)]


@pytest.mark.parametrize("trouble", [THROTTLED, NOT_SENT])
def test_passing_trouble_that_passes_ends_in_a_reboot(api: Api, trouble: Reply) -> None:
    """The third try gets through."""
    answers = api.reboot([node(1)], replies(trouble, trouble))
    assert answers.answers == [Answer(node(1), Result.REBOOTED)]
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
    ids=str,
)
def test_lost_answer_is_unknown_and_never_sent_twice(api: Api, lost: Reply) -> None:
    """The reboots may have started: a second call could reboot a node twice."""
    answers = api.reboot(nodes(3), lambda _: lost)
    assert [(answer.node, answer.result, answer.code) for answer in answers.answers] == [
        (each, Result.UNKNOWN, "OutcomeUnknown") for each in nodes(3)
    ]
    assert all(answer.message for answer in answers.answers)
    assert len(api.sent) == 1
    assert api.slept == []


def test_lost_answer_after_throttling_is_unknown(api: Api) -> None:
    """That an earlier try was turned away proves nothing about the last."""
    answers = api.reboot([node(1)], replies(THROTTLED, exceptions.ReadTimeoutError(endpoint_url=URL)))
    assert [answer.result for answer in answers.answers] == [Result.UNKNOWN]
    assert [answer.cause and (answer.cause.meaning, answer.cause.code) for answer in answers.answers] == [
        (Meaning.UNKNOWN, "ReadTimeoutError")
    ]
    assert len(api.sent) == 2


def test_deadline_before_the_call_calls_nothing(api: Api) -> None:
    """The nodes were not called, and the code says why."""
    answers = api.reboot([node(1)], all_well, may_call=lambda: False)
    assert [(answer.result, answer.code) for answer in answers.answers] == [(Result.NOT_CALLED, "DeadlineExceeded")]
    assert (api.sent, list(answers.nodes_per_call)) == ([], [])


def test_deadline_between_tries_stops_with_the_last_trouble(api: Api) -> None:
    """It was throttled until there was no time left: that is what people can act on."""
    allowed = iter([True, True, False])
    answers = api.reboot([node(1)], lambda _: THROTTLED, may_call=lambda: next(allowed))
    assert answers.answers == [Answer(node(1), Result.NOT_CALLED, "ThrottlingException", "Rate exceeded", TURNED_AWAY)]
    assert len(api.sent) == 2


def test_deadline_while_halving_leaves_the_rest_uncalled(api: Api) -> None:
    """Halves that there is no time for come again; those that were answered keep their answers."""
    allowed = iter([True, True])
    answers = api.reboot(nodes(4), guilty({instance_id(3)}), may_call=lambda: next(allowed, False)).answers
    assert [answer.result for answer in answers] == [Result.REBOOTED] * 2 + [Result.NOT_CALLED] * 2
    assert len(api.sent) == 2


def test_function_client_sends_once_and_gives_up_in_time(sagemaker: Any) -> None:
    """The configuration of the deployed client: one attempt, and time-outs that fit the reserve."""
    config = sagemaker.meta.config
    assert config.retries["total_max_attempts"] == 1
    assert config.connect_timeout + config.read_timeout <= 10
