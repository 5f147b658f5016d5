"""What an earlier delivery left behind: a message that comes again carries on where the last one stopped. Pure."""

from datetime import datetime, timedelta

from node_remediation import codes
from node_remediation.model import Case, Ending, Outcome, Result, TryAgain
from node_remediation.record import Claim, NodeRecord

_LOST = "the function ended before SageMaker's answer to the reboot call was recorded; the node may be rebooting"


def resume(case: Case, record: NodeRecord, now: datetime) -> Ending | TryAgain | None:
    """The end of a case that an earlier delivery has called for; None where nothing is left over.

    A claim that ran out without an answer is reported by whoever meets it first: its owner may never come again.
    """
    own = record.claims.get(case.owner)
    if own is not None:
        return _carry_on(case, own, now)
    if lost_owner(record, now) is not None:
        return Ending(case, Outcome.FAILED, _LOST, codes.OUTCOME_UNKNOWN)
    return None


def _carry_on(case: Case, claim: Claim, now: datetime) -> Ending | TryAgain:
    if claim.result is not None:
        return conclude(case, claim.result, claim.code, claim.message, at=claim.at, told=claim.settled)
    if claim.lease_until > now:
        return TryAgain(case, codes.IN_PROGRESS, "an earlier delivery of the same message is still at work")
    return Ending(case, Outcome.FAILED, _LOST, codes.OUTCOME_UNKNOWN)


def conclude(case: Case, result: Result, code: str | None, message: str, *, at: datetime, told: bool = False) -> Ending:
    """What the answer to a call, claimed at `at`, means for the report that it was made for."""
    if result is Result.REBOOTED:
        took = max(at - case.trigger.time, timedelta(0))
        return Ending(case, Outcome.REBOOTED, "SageMaker started the reboot", told=told, took=took)
    return Ending(case, Outcome.FAILED, message, code, told=told)


def lost_owner(record: NodeRecord, now: datetime) -> str | None:
    """Whose claim on the node ran out without an answer, if anybody's did."""
    claims = record.claims.items()
    return next((owner for owner, claim in claims if claim.result is None and claim.lease_until <= now), None)


def settle(record: NodeRecord, ending: Ending, now: datetime) -> NodeRecord:
    """The record once an ending is reported: its claim, or the lost one that it told of, is over."""
    owner = ending.case.owner if ending.case.owner in record.claims else None
    if owner is None and ending.code == codes.OUTCOME_UNKNOWN:
        owner = lost_owner(record, now)
    if owner is None:
        return record
    if record.claims[owner].result is None:
        record = record.answered(owner, Result.UNKNOWN, code=ending.code, message=ending.reason)
    return record.settled(owner)
