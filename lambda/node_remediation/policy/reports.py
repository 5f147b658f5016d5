"""The effect of a report on a node's record: it withdraws, joins, opens an incident, or is answered at once. Pure."""

from dataclasses import replace
from datetime import datetime

from node_remediation import codes
from node_remediation.model import Answered, Case, ClusterFacts, IdKind, Outcome, Progress
from node_remediation.policy.draft import OPENED, Draft, is_waiting_state
from node_remediation.policy.guards import (
    OUTBOX_FULL,
    Ask,
    Matter,
    No,
    Repairing,
    Replace,
    Wait,
    at,
    grace_ends,
    judge,
    not_allowed,
    refused,
    ripe_at,
    stale,
    withdrawn_since,
)
from node_remediation.policy.judging import (
    claim,
    cooled_down,
    end_cleared,
    end_refused,
    is_muted,
    is_over,
    may_tell,
    not_replaced,
    note_told,
)
from node_remediation.policy.looking import is_gone, judge_replacement
from node_remediation.policy.modes import Modes
from node_remediation.policy.record import HANDLED_FOR, MOST_HANDLED, Complaint, Incident, Missing, State, derived_id
from node_remediation.settings import MAX_RECEIVES


def withdraw(draft: Draft, case: Case) -> None:
    """Withdraw the complaint of the same source; the node may be well again now."""
    report = case.report
    draft.record = draft.record.seen(report.source, healthy=True, at=report.trigger.time)
    incident = draft.record.incident
    if incident:
        complaint = incident.complaint(report.source)
        if complaint and complaint.made_at <= report.trigger.time and not complaint.withdrawn:
            complaint = replace(complaint, withdrawn_at=report.trigger.time)
            draft.keep(incident.with_complaint(complaint))
            draft.note(f"{report.source} withdrew its complaint at {at(report.trigger.time)}")
        elif complaint and complaint.began_at <= report.trigger.time < complaint.made_at:
            draft.keep(incident.restarted(complaint))
        alarms = {each.alarm.name for each in incident.complaints if each.alarm}
        concerned = complaint is not None or (report.alarm is not None and report.alarm.name in alarms)
        draft.look = draft.look or (concerned and not is_waiting_state(incident.state))
        if is_waiting_state(incident.state) and concerned and is_over(draft.incident):
            end_cleared(draft, f"withdrawn by its source at {at(report.trigger.time)}")
    said_by = f"alarm {report.alarm.name} is OK" if report.alarm else "HyperPod reports the node healthy"
    draft.answer(case, Outcome.CLEARED, said_by)


def follow(draft: Draft, case: Case) -> None:
    """Take in what HyperPod says about a reboot: a failed one ends the incident at once, or has the node replaced.

    The rest is noted.
    """
    incident, report, said = draft.record.incident, case.report, case.report.trigger.reason
    if incident and incident.state is State.CLAIMED:
        return draft.hand_back(case, "RebootUnderWay", "the answer to the node's reboot call is not recorded yet")
    if incident is None or incident.state is not State.REBOOTED or report.trigger.time <= incident.since:
        return draft.answer(case, Outcome.IGNORED, f"not about a reboot that is waited for: {said}")
    if report.progress is not Progress.FAILED:
        draft.note(f"HyperPod: {said}")
        return draft.answer(case, Outcome.IGNORED, f"noted in the incident's history: {said}")
    if withdrawn_since(case, draft.record):
        return draft.answer(case, Outcome.IGNORED, f"HyperPod has called the node healthy since: {said}")
    if draft.record.full:
        return draft.hand_back(case, OUTBOX_FULL.code, OUTBOX_FULL.message)
    if is_gone(draft):
        draft.look = True  # which ends the incident: there is nothing left to replace
        return draft.answer(case, Outcome.DUPLICATE, f"the node was replaced or removed since: {said}")
    verdict = judge_replacement(draft)
    if isinstance(verdict, Replace):
        draft.answer_speaker(Outcome.DUPLICATE, "HyperPod says that the node's reboot failed, and it is replaced")
        return claim(draft, case, replacing=True)
    if isinstance(verdict, Missing) and not verdict.final and case.message.receives < MAX_RECEIVES:
        return draft.hand_back(case, verdict.code, verdict.message)
    reason = f"HyperPod says that the reboot at {at(incident.since)} failed: {said}"
    if isinstance(verdict, No | Missing):
        reason += f"; {not_replaced(verdict)}"
    draft.say(Outcome.NOT_RECOVERED, reason, code=codes.NOT_RECOVERED, letter=True, topic=True)
    draft.end(Outcome.NOT_RECOVERED, reason, code=codes.NOT_RECOVERED)
    draft.answer_speaker(Outcome.DUPLICATE, "the node's incident ended: not recovered")
    return draft.answer(case, Outcome.DUPLICATE, "the node's incident ended: not recovered")


def reply(draft: Draft, case: Case) -> None:
    """Take in the answer to a proposed reboot. Late, double and foreign answers change nothing, and say so."""
    incident, report = draft.record.incident, case.report
    waits = incident is not None and incident.id == report.incident and incident.state is State.PROPOSED
    if incident is None or not waits or incident.approved or _is_of_another_time(draft, case):
        return draft.answer(case, Outcome.IGNORED, f"no proposal of incident {report.incident} waits for an answer")
    by = f"{report.answer} by {report.answered_by or 'somebody'}"
    reason = f"{by}: {report.trigger.reason}" if report.trigger.reason else by
    draft.speaker = case
    if report.answer is Answered.VETOED:
        return end_refused(draft, refused(codes.VETOED, reason))
    draft.note(reason)
    return draft.keep(replace(incident, approved=reason, due=draft.now))


def _is_of_another_time(draft: Draft, case: Case) -> bool:
    """Tell whether an answer was sent before the proposal or, if it approves, too late. A veto never is too late.

    An incident that HyperPod repaired meanwhile is proposed twice: an answer to the first is none to the second. No
    sweep need have come since the time for an answer.
    """
    sent, incident = case.message.sent, draft.incident
    late = sent > (incident.until or sent) or stale(case, draft.scene) is not None
    return sent < incident.since or (late and case.report.answer is Answered.APPROVED)


def hear(draft: Draft, case: Case) -> None:
    """Take in a complaint: it joins the node's incident, opens one, or is answered at once."""
    record, report = draft.record, case.report
    if report.muted:
        return _hear_muted(draft, case)
    no = No(Outcome.FAILED, *case.failure) if case.failure else None
    no = no or (None if record.incident else not_allowed(record, draft.scene))
    no = no or withdrawn_since(case, record) or stale(case, draft.scene)
    if no and no.outcome is Outcome.CLEARED:
        draft.record = record.seen(report.source, healthy=False, at=report.trigger.time)
        return draft.answer(case, no.outcome, no.reason)
    heard = record.sign(report.source).unhealthy_at
    if heard and report.trigger.time <= heard and not _adds_repair(record.incident, case):
        return draft.answer(case, Outcome.DUPLICATE, f"the same source has complained at {at(heard)}, not before this")
    if no and record.full and may_tell(draft, no):
        return draft.hand_back(case, OUTBOX_FULL.code, OUTBOX_FULL.message)
    draft.record = record.seen(report.source, healthy=False, at=report.trigger.time).advised(complaint_of(case))
    if record.incident is None and record.last_claim and report.trigger.time <= record.last_claim:
        reason = f"reported before the latest reboot call for the node, at {at(record.last_claim)}"
        return draft.answer(case, Outcome.DUPLICATE, reason)
    if no:
        return _refuse_report(draft, case, no)
    return _join(draft, case) if record.incident else _open(draft, case)


def _adds_repair(incident: Incident | None, case: Case) -> bool:
    """Tell whether a report names a repair action that its source's later complaint did not."""
    mine = incident.complaint(case.report.source) if incident else None
    return mine is not None and not mine.announces_repair and complaint_of(case).announces_repair


def _hear_muted(draft: Draft, case: Case) -> None:
    """Leave a muted alarm alone until its window ends, if that is known; then the alarm is asked."""
    report = case.report
    # As of any report: one from before the reboot joins the reboot's incident, and opens none when that is over.
    answered = None if draft.record.incident else draft.record.last_claim
    heard = [at for at in (draft.record.sign(report.source).unhealthy_at, answered) if at]
    known = withdrawn_since(case, draft.record) or any(report.trigger.time <= at for at in heard)
    unknown_end = report.muted_until is None or case.failure
    if known or unknown_end or not draft.scene.settings.allows(case.key.cluster):
        return draft.answer(case, Outcome.DEFERRED, report.muted or "muted")
    assert report.muted_until  # noqa: S101  or the end were unknown
    draft.record = draft.record.seen(report.source, healthy=False, at=report.trigger.time)
    if draft.record.incident:
        incident = draft.incident.with_complaint(complaint_of(case))
        if is_waiting_state(incident.state):
            incident = replace(incident, due=min(incident.due, report.muted_until))
        draft.keep(incident)
    else:
        until = max(report.muted_until, draft.now)
        draft.move(
            replace(_new_incident(draft, case), due=until, note=report.muted or "muted"),
            f"{report.muted}; looked at again when the mute window ends, at {at(until)}",
        )
    return draft.answer(case, Outcome.DEFERRED, report.muted or "muted")


def complaint_of(case: Case) -> Complaint:
    """Return the complaint that a report makes."""
    report = case.report
    return Complaint(
        source=report.source,
        made_at=report.trigger.time,
        trigger=report.trigger,
        alarm=replace(report.alarm, tags=None) if report.alarm else None,
        repair_action=report.repair_action,
        recommendation=report.recommendation,
        muted_until=report.muted_until,
    )


def _new_incident(draft: Draft, case: Case) -> Incident:
    report, record = case.report, draft.record
    id_ = derived_id("incident", record.key, record.version, report.source, report.trigger.event_id, case.message.id)
    draft.note(f"{OPENED}{id_}: {_said(case)}")
    return Incident(
        id=id_,
        state=State.OPEN,
        node=report.node,
        opened_at=report.trigger.time,
        complaints=(complaint_of(case),),
        since=draft.now,
        due=draft.now,
        attempt=report.attempt,
    )


def _said(case: Case) -> str:
    trigger = case.report.trigger
    return f"{case.report.source} complained at {at(trigger.time)}: {trigger.reason}"


def _open(draft: Draft, case: Case) -> None:
    draft.keep(_new_incident(draft, case))
    draft.opened, draft.speaker = True, case


def _join(draft: Draft, case: Case) -> None:
    """Add a complaint to the node's incident. It counts from now on, and may end a wait."""
    before, complaint = draft.incident, complaint_of(case)
    incident, earlier = before.with_complaint(complaint), before.complaint(complaint.source)
    if earlier is None or earlier.withdrawn:
        draft.note(_said(case))
    repair = complaint.announces_repair and incident.state is not State.REPAIRING
    if repair:
        incident = replace(incident, repair_at=complaint.made_at)
    draft.keep(incident)
    if draft.speaker:
        draft.answer(case, Outcome.DUPLICATE, "an earlier report of the same batch speaks for the node")
    elif incident.state is not State.CLAIMED and (repair or _ends_wait(draft, before, complaint)):
        draft.speaker = case
    else:
        draft.look = draft.look or (incident.state is State.REBOOTED and cooled_down(draft))
        draft.answer(case, Outcome.DUPLICATE, f"joined the node's incident, which is {incident.state.value}")


def _ends_wait(draft: Draft, incident: Incident, complaint: Complaint) -> bool:
    """Tell whether a further complaint ends an open incident's wait: for mutes to end, for HyperPod to speak, or for
    an earlier complaint to stand longer than this one must."""
    if incident.state is not State.OPEN:
        return False
    if all(is_muted(each, draft.now) for each in incident.standing):
        return True
    if not isinstance(draft.scene.facts.cluster, ClusterFacts):
        return False
    before, after = (_ripe_at(draft, each) for each in (incident, draft.incident))
    if after and (before is None or after < before):
        return True
    if complaint.alarm:
        return False
    return grace_ends(Matter(draft.record, incident.standing, draft.budget, draft.scene)) == incident.due


def _ripe_at(draft: Draft, incident: Incident) -> datetime | None:
    heard = [each for each in incident.standing if not is_muted(each, draft.now)]
    return ripe_at(Matter(draft.record, heard, draft.budget, draft.scene))


def _refuse_report(draft: Draft, case: Case, no: No) -> None:
    """Answer a report that is not judged: refused once per code and cooldown, or failed by AWS's no to a look-up."""
    if no.outcome is Outcome.REFUSED:
        if not may_tell(draft, no):
            return draft.answer(case, Outcome.DUPLICATE, f"notified already within the cooldown: {no.reason}", no.code)
        note_told(draft, no)
    draft.say(no.outcome, no.reason, code=no.code, letter=True, topic=True, case=case)
    return draft.answer(case, no.outcome, no.reason, no.code)


def ask(draft: Draft, case: Case) -> None:
    """Judge a request or a redriven letter at once. Its yes takes over the node's incident; its no is its own."""
    id_, record, by_logical_id = case.handled_as or "", draft.record, case.report.node.kind is IdKind.LOGICAL_ID
    handled_by_logical_id = f"{id_}/{case.report.node.id}"
    if id_ in record.handled or handled_by_logical_id in draft.budget.handled:
        return draft.answer(case, Outcome.DUPLICATE, "the same request or letter was dealt with before")
    if record.full:
        return draft.hand_back(case, OUTBOX_FULL.code, OUTBOX_FULL.message)
    if sum(at > draft.now - HANDLED_FOR for at in record.handled.values()) >= MOST_HANDLED:
        reason = f"{MOST_HANDLED} requests for this node were dealt with in the last 4 days, which is the most"
        return _answer_no(draft, case, No(Outcome.REFUSED, codes.LEDGER_BUSY, reason))
    verdict = _verdict_on_demand(draft, case)
    if isinstance(verdict, Missing) and not verdict.final and case.message.receives < MAX_RECEIVES:
        return draft.hand_back(case, verdict.code, verdict.message)
    draft.record = replace(draft.record, handled={**record.handled, id_: draft.now})
    if by_logical_id:
        handled = {**draft.budget.handled, handled_by_logical_id: draft.now}
        draft.budget = replace(draft.budget, handled=handled)
    if verdict is None or isinstance(verdict, Replace):
        if draft.speaker:
            draft.answer_speaker(Outcome.DUPLICATE, "a request for the same node, in the same batch, speaks for it")
        _take_over(draft, case)
        return claim(draft, case, replacing=verdict is not None)
    if isinstance(verdict, Missing):
        verdict = No(Outcome.FAILED, verdict.code, verdict.message)
    return _answer_no(draft, case, verdict)


def _verdict_on_demand(draft: Draft, case: Case) -> No | Replace | Missing | None:
    record, report, scene = draft.record, case.report, draft.scene
    if case.failure:
        return No(Outcome.FAILED, case.failure.code, case.failure.message)
    if no := not_allowed(record, scene):
        return no
    if not isinstance(scene.facts.mode, Modes):
        return scene.facts.mode or Missing(codes.DEADLINE_EXCEEDED, "there was no time left to read the mode")
    if report.instance_id and record.key.id not in (report.instance_id, report.node.id):
        reason = f"{report.node.id} was instance {report.instance_id} and is {record.key.id} now"
        return No(Outcome.CLEARED, codes.SUPERSEDED, reason)
    if no := (withdrawn_since(case, record) or stale(case, scene)):
        return no
    if record.incident and record.incident.state is State.CLAIMED:
        return No(Outcome.REFUSED, codes.COOLING_DOWN, "a reboot call for this node is under way")
    if record.incident and record.incident.state is State.REPLACED:
        reason = f"the replacement of the node was started at {at(record.incident.since)}"
        return No(Outcome.REFUSED, codes.UNDER_REPAIR, reason)
    if record.incident and record.incident.state is State.REPAIRING:
        return No(
            Outcome.REFUSED,
            codes.UNDER_REPAIR,
            f"HyperPod has been repairing the node since {at(record.incident.since)}",
        )
    complaints = [*_binding(record.incident), complaint_of(case)]
    verdict = judge(Matter(record, complaints, draft.budget, scene, on_demand=True, node=report.node))
    assert not isinstance(verdict, Ask | Wait | Repairing)  # noqa: S101  guards answer what people ask for with yes or no
    return verdict


def _binding(incident: Incident | None) -> list[Complaint]:
    """Return the complaints whose announced repair binds a request, too: those that no reboot has answered."""
    if incident is None:
        return []
    return [each for each in incident.standing if is_waiting_state(incident.state) or each.made_at > incident.since]


def _answer_no(draft: Draft, case: Case, no: No) -> None:
    """Answer a request or letter: always with a letter, on the topic once per code and cooldown."""
    if no.outcome is Outcome.CLEARED:
        return draft.answer(case, no.outcome, no.reason, no.code)
    topic = no.outcome is Outcome.FAILED or may_tell(draft, no)
    if topic:
        note_told(draft, no)
    if no.outcome is Outcome.OBSERVED:
        draft.budget = draft.budget.charged(draft.now, observe=True, replacing=no.replacing)
    letter = no.outcome is not Outcome.OBSERVED
    draft.say(no.outcome, no.reason, code=no.code, letter=letter, topic=topic or not letter, case=case)
    return draft.answer(case, no.outcome, no.reason, no.code)


def _take_over(draft: Draft, case: Case) -> None:
    """Make the node's incident the request's. It calls the ID that was reported first, unless that is a logical ID,
    which may belong to another instance by now: the request's own ID was resolved just now.
    """
    incident, report = draft.record.incident, case.report
    if incident is None:
        incident = _new_incident(draft, case)
    else:
        node = incident.node if incident.node.id == draft.record.key.id else report.node
        attempt = max(incident.attempt, report.attempt)
        incident = replace(incident.with_complaint(complaint_of(case)), attempt=attempt, node=node)
        draft.note(_said(case))
    draft.keep(replace(incident, redriven=report.letter_id is not None or case.message.redriven))
