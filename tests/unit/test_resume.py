"""What a delivery finds of an earlier one, and what becomes of it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.model import Ending, NodeKey, Outcome, Result, TryAgain
from node_remediation.record import Claim, NodeRecord
from node_remediation.resume import conclude, lost_owner, resume, settle
from tests.unit.fakes import NOW, case, ending, instance_id

KEY = NodeKey("ml-a", instance_id(1))
LEASE = NOW + timedelta(seconds=65)
LATER = LEASE + timedelta(minutes=5)
SICK = case(message_id="m-1")


def record(**claims: Claim) -> NodeRecord:
    """With claims by owner; `m_1` is the report's own."""
    return NodeRecord(KEY, 1, (NOW,), claims={owner.replace("_", "-"): claim for owner, claim in claims.items()})


OPEN = Claim(NOW, LEASE)
ANSWERS = [
    (replace(OPEN, result=Result.REBOOTED), Outcome.REBOOTED, None, "SageMaker started the reboot"),
    (
        replace(OPEN, result=Result.FAILED, code="InstanceIdInUse", message=" busy\n"),
        Outcome.FAILED,
        "InstanceIdInUse",
        " busy\n",
    ),
    (
        replace(OPEN, result=Result.UNKNOWN, code="OutcomeUnknown", message="lost"),
        Outcome.FAILED,
        "OutcomeUnknown",
        "lost",
    ),
]


def test_nothing_is_left_over_of_a_node_without_claims() -> None:
    """Its report is judged."""
    assert resume(SICK, NodeRecord(KEY), NOW) is None


@pytest.mark.parametrize(("claim", "outcome", "code", "reason"), ANSWERS)
@pytest.mark.parametrize("settled", [False, True])
def test_own_answered_claim_ends_with_its_answer(
    claim: Claim, outcome: Outcome, code: str | None, reason: str, settled: bool
) -> None:
    """In the API's words; told only if it was settled. Whether the lease runs makes no difference."""
    took = timedelta(0) if outcome is Outcome.REBOOTED else None
    for now in (NOW, LATER):
        found = resume(SICK, record(m_1=replace(claim, settled=settled)), now)
        assert found == Ending(SICK, outcome, reason, code, told=settled, took=took)


def test_own_live_claim_comes_again() -> None:
    """The earlier delivery may still be at work, to the last moment of its lease."""
    found = resume(SICK, record(m_1=OPEN), LEASE - timedelta(milliseconds=1))
    assert isinstance(found, TryAgain)
    assert found.code == "InProgress"


def test_own_claim_that_ran_out_is_unknown() -> None:
    """Nobody knows whether the node was rebooted, so it is a failure and nothing is called."""
    for now in (LEASE, LATER):
        found = resume(SICK, record(m_1=OPEN), now)
        assert isinstance(found, Ending)
        assert (found.outcome, found.code, found.told) == (Outcome.FAILED, "OutcomeUnknown", False)
        assert "may be rebooting" in found.reason


def test_claim_of_somebody_else_that_ran_out_is_unknown() -> None:
    """Its owner may never come again: whoever meets it first tells of it."""
    found = resume(SICK, record(other=OPEN), LATER)
    assert isinstance(found, Ending)
    assert (found.case, found.outcome, found.code) == (SICK, Outcome.FAILED, "OutcomeUnknown")


@pytest.mark.parametrize("claim", [claim for claim, *_ in ANSWERS])
def test_answered_claim_of_somebody_else_is_their_affair(claim: Claim) -> None:
    """They report it when they come again."""
    for settled in (False, True):
        assert resume(SICK, record(other=replace(claim, settled=settled)), LATER) is None


def test_live_claim_of_somebody_else_leaves_the_judgement_to_the_guards() -> None:
    """It counts as a reboot, so the node is cooling down."""
    assert resume(SICK, record(other=OPEN), NOW) is None


def test_lost_claim_of_somebody_else_is_told_once() -> None:
    """Settled as unknown, the next report of the node finds nothing left over, nor does its owner."""
    before = record(other=OPEN)
    told = resume(SICK, before, LATER)
    assert isinstance(told, Ending)
    after = settle(before, told, LATER)
    assert after.claims["other"].result is Result.UNKNOWN
    assert after.claims["other"].settled
    assert after.reboots == (NOW,)
    assert resume(case(message_id="m-2"), after, LATER) is None
    owner = resume(case(message_id="other"), after, LATER)
    assert isinstance(owner, Ending)
    assert (owner.code, owner.told) == ("OutcomeUnknown", True)


@pytest.mark.parametrize(("claim", "outcome", "code", "reason"), ANSWERS)
def test_settling_keeps_the_answer(claim: Claim, outcome: Outcome, code: str | None, reason: str) -> None:
    """Only that it was reported is new."""
    after = settle(record(m_1=claim), Ending(SICK, outcome, reason, code), NOW)
    assert after == record(m_1=replace(claim, settled=True))


def test_settling_what_claimed_nothing_changes_nothing() -> None:
    """A refusal, a duplicate, a call that was refused before any claim."""
    before = record(other=OPEN)
    for over in (
        ending(SICK, Outcome.REFUSED, "Paused"),
        ending(SICK, Outcome.DUPLICATE, None),
        ending(SICK, code="AccessDeniedException"),
        ending(SICK, code="OutcomeUnknown"),  # the other's lease still runs: this tells of something else
    ):
        assert settle(before, over, NOW) == before


def test_own_claim_without_an_answer_is_settled_as_unknown() -> None:
    """At its last receive a report ends whatever is open; the node still counts as rebooted."""
    after = settle(record(m_1=OPEN), ending(SICK, code="LedgerBusy", reason="busy"), NOW)
    assert after.claims["m-1"] == Claim(NOW, LEASE, Result.UNKNOWN, "LedgerBusy", "busy", settled=True)
    assert after.reboots == (NOW,)


claims = st.builds(
    Claim,
    st.just(NOW),
    st.sampled_from([NOW, LEASE]),
    st.none() | st.sampled_from([result for result in Result if result is not Result.NOT_CALLED]),
    settled=st.booleans(),
)


@given(st.dictionaries(st.sampled_from("xyz"), claims))
def test_each_lost_claim_is_told_once_by_whoever_comes(of: dict[str, Claim]) -> None:
    """Over any claims: as many reports tell of one as there are lost ones, and then the next is judged."""
    left, told = NodeRecord(KEY, claims=of), 0
    while found := resume(SICK, left, LATER):
        assert isinstance(found, Ending)
        left, told = settle(left, found, LATER), told + 1
        assert told <= len(of)
    assert told == sum(claim.result is None for claim in of.values())
    assert {owner: claim for owner, claim in left.claims.items() if of[owner].result} == {
        owner: claim for owner, claim in of.items() if claim.result
    }


@pytest.mark.parametrize("result", [Result.REBOOTED, Result.FAILED, Result.UNKNOWN])
def test_conclusion_is_the_same_before_and_after_a_crash(result: Result) -> None:
    """What the call's delivery says of an answer is what a redelivery says of its record."""
    claim = replace(OPEN, result=result, code="C", message="words")
    assert resume(SICK, record(m_1=claim), NOW) == conclude(SICK, result, "C", "words", at=NOW)


def test_lost_owner_is_one_whose_lease_ran_out_without_an_answer() -> None:
    """Not one that is answered, nor one that is at work."""
    answered = replace(OPEN, result=Result.UNKNOWN)
    assert lost_owner(record(a=answered, b=OPEN), LATER) == "b"
    assert lost_owner(record(a=answered, b=replace(OPEN, lease_until=LATER + timedelta(seconds=1))), LATER) is None
