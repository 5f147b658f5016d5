"""The looks after a reboot or repair: proof that the node is well again, or the lack of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from node_remediation import codes
from node_remediation.model import REQUEST, AlarmState, ClusterFacts, NodeFacts, Outcome
from node_remediation.policy.draft import FIRST_WAIT, LONGEST_WAIT, Draft
from node_remediation.policy.guards import (
    Ask,
    Matter,
    No,
    Repairing,
    Replace,
    Verdict,
    announced_repair,
    at,
    judge,
    repair_reason,
)
from node_remediation.policy.judging import (
    ask_alarms,
    claim,
    cooled_down,
    is_in_alarm,
    is_muted,
    is_replaced,
    judge_incident,
    leave_to_hyperpod,
    missing_alarm,
    next_look,
    not_replaced,
    withdraw_by_alarms,
)
from node_remediation.policy.record import GONE, Complaint, Incident, Missing, State
from node_remediation.settings import in_words

RUNNING, FAILURE = "Running", "Failure"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where each complaint stands after a reboot or repair.

    `stands`: made again since, or its alarm is in ALARM now. `silent`: its source has not spoken since. `withdrawn`:
    taken back by its own source since. `missing` is a fact that could not be had, so that nothing can be concluded.
    """

    stands: tuple[Complaint, ...] = ()
    silent: tuple[Complaint, ...] = ()
    withdrawn: tuple[Complaint, ...] = ()
    missing: Missing | None = None
    dropped: bool = False

    @property
    def recovered(self) -> bool:
        """Tell whether the node is proven to be well: each source that complained has withdrawn its complaint.

        A person's request is never withdrawn; it does not stand in the way.
        """
        silent = [each for each in self.silent if each.source != REQUEST]
        proven = bool(self.withdrawn) and not self.stands and not silent
        return proven and not self.missing and not self.dropped

    @property
    def withdrawn_at(self) -> datetime | None:
        return max((each.withdrawn_at for each in self.withdrawn if each.withdrawn_at), default=None)


def examine(incident: Incident, alarms: Mapping[str, AlarmState | Missing]) -> Evidence:
    """Sort the complaints by where they stand since `incident.since`, the claim or the beginning of the repair."""
    stands, silent, withdrawn = [], [], []
    for complaint in incident.complaints:
        if complaint.withdrawn and not _is_back(complaint, alarms):
            if complaint.withdrawn_at and complaint.withdrawn_at > incident.since:
                withdrawn.append(complaint)
        elif is_in_alarm(complaint, alarms) or complaint.made_at > incident.since:
            stands.append(complaint)
        else:
            silent.append(complaint)
    missing = missing_alarm((*stands, *silent), alarms)
    return Evidence(tuple(stands), tuple(silent), tuple(withdrawn), missing, incident.dropped)


def _is_back(complaint: Complaint, alarms: Mapping[str, AlarmState | Missing]) -> bool:
    """Tell whether a complaint's alarm went into ALARM again after it withdrew: the event of that may be late."""
    state, withdrawn_at = alarms.get(complaint.source), complaint.withdrawn_at
    changed_at = state.since if isinstance(state, AlarmState) and state.state == "ALARM" else None
    return changed_at is not None and withdrawn_at is not None and changed_at > withdrawn_at


def what_is_known(
    evidence: Evidence, node: NodeFacts | Missing | None, alarms: Mapping[str, AlarmState | Missing]
) -> str:
    """Return one line about a node that did not come back, or of which nothing is proven."""
    parts = [_status(node)]
    parts += [_of_complaint(each, "still unhealthy", alarms) for each in evidence.stands]
    parts += [_of_complaint(each, "has said nothing since", alarms) for each in evidence.silent]
    parts += [
        f"{_who(each)} withdrew its complaint at {at(each.withdrawn_at)}"
        for each in evidence.withdrawn
        if each.withdrawn_at
    ]
    if evidence.missing:
        parts.append(f"could not be asked: {evidence.missing.code}: {evidence.missing.message}")
    return "; ".join(parts)


def _status(node: NodeFacts | Missing | None) -> str:
    if isinstance(node, NodeFacts):
        return f"status {node.status}" + (f" ({node.message})" if node.message else "")
    if node is None:
        return "status not known"
    return f"status not known: {node.code}: {node.message}"


def _of_complaint(complaint: Complaint, verdict: str, alarms: Mapping[str, AlarmState | Missing]) -> str:
    state = alarms.get(complaint.source)
    now = f", and is {state.state} now" if isinstance(state, AlarmState) else ""
    return f"{_who(complaint)}: {verdict} (last complaint {at(complaint.made_at)}{now})"


def _who(complaint: Complaint) -> str:
    if complaint.alarm:
        return f"{'alert' if complaint.alarm.alertmanager else 'alarm'} {complaint.alarm.name}"
    return "the person who asked" if complaint.source == REQUEST else "HyperPod"


def look(draft: Draft) -> None:
    """Look at a node after a reboot or repair: its incident ends, it is judged again, or it is looked at later."""
    withdraw_by_alarms(draft)
    facts, incident = draft.scene.facts, draft.incident
    evidence, node = examine(incident, draft.alarms), facts.nodes.get(draft.record.key.id)
    if is_gone(draft):
        return _end_look(
            draft, Outcome.SUPERSEDED, "SageMaker no longer lists the node in this cluster: it was replaced or removed"
        )
    # An instance that is being replaced may stop its alarm, or look well, on its way out.
    leaving = incident.state is State.REPLACED and draft.now < (incident.until or draft.now)
    if evidence.recovered and not leaving:
        return _prove(draft, evidence.withdrawn_at or draft.now)
    if isinstance(facts.cluster, ClusterFacts) and incident.standing:
        repair = announced_repair(incident.standing)
        if incident.repair_at and repair and facts.cluster.automatic and incident.state is State.REBOOTED:
            return leave_to_hyperpod(draft, Repairing(incident.repair_at, repair_reason(repair)))
        if incident.state is State.REPAIRING and not facts.cluster.automatic:
            draft.keep(replace(incident, state=State.OPEN, since=draft.now, waits=0))
            return judge_incident(draft)
    if evidence.missing:
        return _put_off(draft, evidence, evidence.missing)
    if evidence.stands and incident.state is State.REBOOTED and cooled_down(draft) and not incident.failure:
        _judge_again(draft, [each for each in evidence.stands if not is_muted(each, draft.now)])
        if draft.incident.state is not State.REBOOTED:
            return None
    if draft.now >= (incident.until or draft.now):
        return _time_out(draft, evidence, node)
    draft.keep(replace(draft.incident, due=next_look(draft.incident, draft), waits=0))
    return draft.answer_speaker(Outcome.DUPLICATE, f"the node's incident is {incident.state.value}")


def _prove(draft: Draft, healthy_since: datetime) -> None:
    """End an incident as recovered once the node has been healthy for healthy_for; a relapse before is part of it."""
    proven_at = healthy_since + draft.scene.settings.healthy_for
    if proven_at > draft.now:
        due = min(proven_at, next_look(draft.incident, draft))  # a relapse is not looked at only when this is over
        draft.keep(replace(draft.incident, due=due, waits=0))
        reason = f"the node is healthy, and has recovered if it still is at {at(proven_at)}"
        return draft.answer_speaker(Outcome.DUPLICATE, reason)
    took = max((healthy_since - draft.incident.opened_at).total_seconds(), 0.0)
    reason = f"each source that complained has withdrawn its complaint, the last at {at(healthy_since)}"
    return _end_look(draft, Outcome.RECOVERED, reason, seconds=took)


def is_gone(draft: Draft) -> bool:
    """Tell whether SageMaker no longer lists the node, as far as it was asked."""
    facts, node = draft.scene.facts, draft.scene.facts.nodes.get(draft.record.key.id)
    gone = isinstance(facts.cluster, Missing) and facts.cluster.final and facts.cluster.code == "ResourceNotFound"
    return gone or node == GONE or is_replaced(draft)


def _judge_again(draft: Draft, complaining: Sequence[Complaint]) -> None:
    """Judge a node that is unhealthy after its reboot. A no ends nothing; the report at the time-out quotes it."""
    if not complaining:
        return None
    verdict = judge(Matter(draft.record, complaining, draft.budget, draft.scene))
    if verdict is None or isinstance(verdict, Replace):
        return claim(draft, draft.speaker, replacing=verdict is not None)
    if isinstance(verdict, Repairing):
        return leave_to_hyperpod(draft, verdict)
    if isinstance(verdict, Ask):
        verdict = No(Outcome.REFUSED, None, "a second reboot would have to be approved, and is not proposed")
    code = verdict.code if isinstance(verdict, No | Missing) else None
    reason = verdict.message if isinstance(verdict, Missing) else verdict.reason
    note = f"not rebooted again: {f'{code}: ' if code else ''}{reason}"
    if note != draft.incident.note:
        draft.move(replace(draft.incident, note=note), note, code=code)
    return None


def _put_off(draft: Draft, evidence: Evidence, missing: Missing) -> None:
    """Look later, as a fact is missing; not longer than max_report_age past the time-out."""
    incident, settings = draft.incident, draft.scene.settings
    last = (incident.until or draft.now) + settings.max_report_age
    if draft.now >= last:
        return _end_not_recovered(draft, evidence, draft.scene.facts.nodes.get(draft.record.key.id))
    due = min(draft.now + min(FIRST_WAIT * 2 ** min(incident.waits, 10), LONGEST_WAIT), last)
    reason = f"put off: {missing.code}: {missing.message}"
    draft.move(replace(incident, due=due, waits=incident.waits + 1), reason, code=missing.code)
    return draft.answer_speaker(Outcome.DUPLICATE, reason)


def _time_out(draft: Draft, evidence: Evidence, node: NodeFacts | Missing | None) -> None:
    """End an incident at its time-out: not recovered, or not verified. Silence is never called recovered."""
    if not isinstance(node, NodeFacts) and not evidence.stands:
        return _put_off(draft, evidence, node or Missing(codes.DEADLINE_EXCEEDED, "no time left to ask for its status"))
    if evidence.stands or not isinstance(node, NodeFacts) or node.status != RUNNING:
        return _escalate(draft, evidence, node)
    known = what_is_known(evidence, node, draft.alarms)
    reason = f"no source that complained has said that the node is well, {_waited(draft)}: {known}"
    return _end_look(draft, Outcome.UNVERIFIED, reason)


def _escalate(draft: Draft, evidence: Evidence, node: NodeFacts | Missing | None) -> None:
    """Replace a node that its reboot did not help, if the setting escalation says so; else end its incident.

    Only where a complaint stands that is not muted, or SageMaker itself says Failure: other statuses pass.
    """
    stands = any(not is_muted(each, draft.now) for each in evidence.stands)
    sick = stands or (isinstance(node, NodeFacts) and node.status == FAILURE)
    verdict = judge_replacement(draft) if sick else None
    if isinstance(verdict, Replace):
        return claim(draft, draft.speaker, replacing=True)
    if isinstance(verdict, No | Missing):
        draft.keep(replace(draft.incident, note=not_replaced(verdict)))
    if isinstance(verdict, Missing):
        return _put_off(draft, evidence, verdict)
    return _end_not_recovered(draft, evidence, node)


def judge_replacement(draft: Draft) -> Verdict | None:
    """Judge the replacement of a node that its reboot did not help; None where the settings want none.

    Alarms are asked before, as before every judgement. A person's request alone has no node replaced.
    """
    incident = draft.incident
    rebooted = incident.state is State.REBOOTED and not incident.failure
    if draft.scene.settings.escalation != "replace" or not rebooted:
        return None
    if missing := ask_alarms(draft):
        return missing
    complaining = [each for each in draft.incident.standing if each.source != REQUEST and not is_muted(each, draft.now)]
    if not complaining:
        return None
    return judge(Matter(draft.record, complaining, draft.budget, draft.scene, escalated=True))


def _end_not_recovered(draft: Draft, evidence: Evidence, node: NodeFacts | Missing | None) -> None:
    known = what_is_known(evidence, node, draft.alarms)
    note = f"; {draft.incident.note}" if draft.incident.note else ""
    reason = f"not recovered {_waited(draft)}: {known}{note}"
    draft.say(Outcome.NOT_RECOVERED, reason, code=codes.NOT_RECOVERED, letter=True, topic=True)
    draft.end(Outcome.NOT_RECOVERED, reason, code=codes.NOT_RECOVERED)
    draft.answer_speaker(Outcome.DUPLICATE, "the node's incident ended: not recovered")


def _waited(draft: Draft) -> str:
    incident = draft.incident
    waited = in_words((draft.now - incident.since) // timedelta(seconds=1) * timedelta(seconds=1))
    what = {
        State.REBOOTED: "the reboot",
        State.REPLACED: "its replacement was started",
        State.REPAIRING: "HyperPod began to repair it",
    }[incident.state]
    return f"{waited} after {what} at {at(incident.since)}"


def _end_look(draft: Draft, end: Outcome, reason: str, *, seconds: float | None = None) -> None:
    """End an incident after a reboot or repair; people who were told of the reboot are told the end."""
    if draft.incident.told:
        draft.say(end, reason, topic=True)
    draft.end(end, reason, seconds=seconds)
    draft.answer_speaker(Outcome.DUPLICATE, f"the node's incident ended: {end.value}")
