"""The judgement of an incident before a reboot or replacement, and the states that follow: wait, claim, repair, end.

Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from node_remediation import codes
from node_remediation.model import INSTANCE_ID, AlarmState, Case, ClusterFacts, IdKind, Node, NodeFacts, Outcome
from node_remediation.policy.draft import FIRST_WAIT, LONGEST_WAIT, Claim, Draft
from node_remediation.policy.guards import (
    Ask,
    Matter,
    No,
    Repairing,
    Replace,
    Verdict,
    Wait,
    at,
    budget_limit,
    judge,
    last_reboot,
    refused,
)
from node_remediation.policy.record import REPLACE_WINDOW, Complaint, Incident, Missing, State
from node_remediation.settings import in_words


def judge_incident(draft: Draft) -> None:
    """Judge an incident before a reboot: claim the node, wait, leave it to HyperPod, or end the incident."""
    if not draft.opened and (missing := ask_alarms(draft)):
        return lack(draft, missing)
    incident = draft.incident
    if is_over(incident):
        return end_cleared(draft, "each source that complained has withdrawn its complaint")
    complaining = [each for each in incident.standing if not is_muted(each, draft.now)]
    if incident.standing and not complaining:
        until = min(each.muted_until or draft.now for each in incident.standing)
        return _wait(draft, until, f"muted until {at(until)}")
    if is_replaced(draft):
        _send_letter_of_failure(draft)
        draft.end(Outcome.CLEARED, "the node was replaced before it could be rebooted", code=codes.SUPERSEDED)
        return draft.answer_speaker(Outcome.CLEARED, "the node was replaced", codes.SUPERSEDED)
    if no := _unanswered(draft):
        return end_refused(draft, no)
    matter = Matter(draft.record, complaining, draft.budget, draft.scene)
    return _follow(draft, _escalated(matter, judge(matter)))


def _escalated(matter: Matter, verdict: Verdict | None) -> Verdict | None:
    """Judge a replacement where the node was rebooted as often as it may be, and the setting escalation says so."""
    limited = isinstance(verdict, No) and verdict.code == codes.REBOOT_LIMIT_REACHED
    if not isinstance(verdict, No) or not limited or matter.settings.escalation != "replace":
        return verdict
    instead = judge(replace(matter, escalated=True))
    if isinstance(instead, No) and instead.outcome is Outcome.REFUSED:
        return verdict._replace(reason=f"{verdict.reason}; {not_replaced(instead)}")
    return instead


def not_replaced(no: No | Missing) -> str:
    """Return why a node is not replaced, as a part of a sentence."""
    reason = no.reason if isinstance(no, No) else no.message
    return f"not replaced: {f'{no.code}: ' if no.code else ''}{reason}"


def _unanswered(draft: Draft) -> No | None:
    """Say no to a proposed reboot once nobody has answered in time, or take that as a yes (on_no_answer)."""
    incident, settings = draft.incident, draft.scene.settings
    if incident.state is not State.PROPOSED or incident.approved or (incident.until or draft.now) > draft.now:
        return None
    reason = f"no answer to the proposal came within {in_words(settings.ask_timeout)}"
    if settings.on_no_answer == "refuse":
        return refused(codes.NOT_APPROVED, reason)
    draft.keep(replace(incident, approved=reason))
    return None


def _follow(draft: Draft, verdict: Verdict | None) -> None:
    """Do what the guards say."""
    if verdict is None or isinstance(verdict, Replace):
        return claim(draft, draft.speaker, replacing=verdict is not None)
    if isinstance(verdict, Ask):
        return _propose(draft, verdict)
    if isinstance(verdict, Repairing):
        return leave_to_hyperpod(draft, verdict)
    if isinstance(verdict, Wait):
        return _wait(draft, verdict.until, verdict.reason)
    if isinstance(verdict, Missing):
        return _end_failed(draft, verdict) if verdict.final else lack(draft, verdict)
    return end_refused(draft, verdict)


def _propose(draft: Draft, ask: Ask) -> None:
    """Ask people, once, whether the node may be rebooted, and wait for their answer."""
    incident = draft.incident
    if incident.state is State.PROPOSED:
        draft.keep(replace(incident, due=incident.until or draft.now))
        return draft.answer_speaker(Outcome.WAITING, "the reboot is proposed already, and not answered yet")
    until = draft.now + draft.scene.settings.ask_timeout
    reason = f"{ask.reason}; answered by {at(until)} at the latest"
    proposed = replace(
        incident, state=State.PROPOSED, since=draft.now, until=until, due=until, waits=0, lacks_since=None, note=""
    )
    draft.move(proposed, reason)
    first, *_ = proposed.standing or proposed.complaints
    draft.say(Outcome.PROPOSED, first.trigger.reason, topic=True, again_at=until)
    return draft.answer_speaker(Outcome.WAITING, reason)


def ask_alarms(draft: Draft) -> Missing | None:
    """Withdraw the complaints whose alarm is OK now; returns why an alarm could not be asked."""
    if missing := missing_alarm(draft.incident.standing, draft.alarms):
        return missing
    withdraw_by_alarms(draft)
    return None


def withdraw_by_alarms(draft: Draft) -> None:
    """Withdraw the complaints whose alarm or series is OK now.

    An OK from before the complaint is an old answer, and withdraws nothing.
    """
    for each in draft.incident.standing:
        state = draft.alarms.get(each.source)
        if isinstance(state, AlarmState) and state.state == "OK" and (state.since or each.made_at) >= each.made_at:
            _withdraw(draft, each, state.since)


def _withdraw(draft: Draft, complaint: Complaint, well_since: datetime | None) -> None:
    """Withdraw a complaint, and keep the sign of health: an older report or letter then asks for nothing."""
    withdrawn_at = max(draft.now, complaint.made_at)
    draft.keep(draft.incident.with_complaint(replace(complaint, withdrawn_at=withdrawn_at)))
    draft.record = draft.record.seen(complaint.source, healthy=True, at=well_since or withdrawn_at)
    draft.note(f"{complaint.source} is OK, asked now: its complaint is withdrawn")


def is_in_alarm(complaint: Complaint, alarms: Mapping[str, AlarmState | Missing]) -> bool:
    state = alarms.get(complaint.source)
    return isinstance(state, AlarmState) and state.state == "ALARM"


def is_replaced(draft: Draft) -> bool:
    """Tell whether the logical ID that the call would use belongs to another instance now."""
    id_ = draft.record.key.id
    node = draft.scene.facts.nodes.get(id_)
    return draft.incident.node.id != id_ and isinstance(node, NodeFacts) and node.instance_id not in (None, id_)


def is_over(incident: Incident) -> bool:
    """Tell whether each complaint was withdrawn: before a reboot, the incident is over then."""
    return not incident.standing and not incident.dropped


def is_muted(complaint: Complaint, now: datetime) -> bool:
    return complaint.muted_until is not None and complaint.muted_until > now


def cooled_down(draft: Draft) -> bool:
    last = last_reboot(draft.record, draft.budget)
    return last is None or last + draft.scene.settings.cooldown <= draft.now


def _wait(draft: Draft, until: datetime, reason: str) -> None:
    waiting = replace(draft.incident, due=until, note=reason, waits=0, lacks_since=None)
    draft.move(waiting, f"judged again at {at(until)}: {reason}")
    draft.answer_speaker(Outcome.WAITING, f"judged again at {at(until)}: {reason}")


def lack(draft: Draft, missing: Missing) -> None:
    """Wait for a missing fact or call, longer each time; after max_report_age the node has failed."""
    incident, longest = draft.incident, draft.scene.settings.max_report_age
    since = incident.lacks_since or draft.now
    if draft.now >= since + longest and not draft.record.full:  # a full outbox takes no failure more
        return _end_failed(draft, missing)
    due = draft.now + min(FIRST_WAIT * 2 ** min(incident.waits, 10), LONGEST_WAIT)
    due = due if draft.record.full else min(due, since + longest)
    reason = f"tried again at {at(due)}: {missing.code}: {missing.message}"
    draft.move(
        replace(incident, due=due, waits=incident.waits + 1, lacks_since=since, note=reason), reason, code=missing.code
    )
    return draft.answer_speaker(Outcome.WAITING, reason, missing.code)


def leave_to_hyperpod(draft: Draft, repair: Repairing) -> None:
    """Leave the node to HyperPod's own repair, and begin to wait for its end."""
    _send_letter_of_failure(draft)
    left = replace(
        draft.incident,
        state=State.REPAIRING,
        since=repair.since,
        until=draft.now + draft.scene.settings.repair_timeout,
        waits=0,
        lacks_since=None,
        note="",
        failure=None,
        approved=None,
        repair_at=None,
        replacing=False,
    )
    draft.move(replace(left, due=next_look(left, draft)), repair.reason)
    draft.answer_speaker(Outcome.DEFERRED, repair.reason)


def claim(draft: Draft, case: Case | None, *, replacing: bool = False) -> None:
    """Claim the node for a call that reboots or replaces it, and charge the cluster's budget.

    A replacement names the instance: a logical ID would reach whatever is behind it by then.
    """
    now, incident, record = draft.now, draft.incident, draft.record
    rebooted_at = incident.since if incident.state is State.REBOOTED else None
    claimed = replace(
        incident,
        state=State.CLAIMED,
        since=now,
        due=draft.scene.lease_until,
        lease_until=draft.scene.lease_until,
        note="",
        rebooted_at=rebooted_at,
        repair_at=None,
        replacing=replacing,
        node=Node(IdKind.NODE_ID, record.key.id) if replacing else incident.node,
    )
    draft.record = replace(record, incident=claimed, last_claim=now)
    if replacing:
        draft.record = replace(draft.record, replacements=(*record.replacements, now))
    else:
        draft.record = replace(draft.record, reboots=(*record.reboots, now))
    draft.budget = draft.budget.charged(now, replacing=replacing)
    draft.note(f"claimed for a {'replacement' if replacing else 'reboot'} call: {_numbers(draft)}")
    name, cluster = record.logical_id or record.key.id, draft.scene.facts.cluster
    if not INSTANCE_ID.fullmatch(name) or (isinstance(cluster, ClusterFacts) and cluster.continuous):
        draft.budget = replace(draft.budget, logical_ids={**draft.budget.logical_ids, name: now})
    draft.claim = Claim(record.key, claimed.node, case, replacing)
    draft.speaker = None


def _numbers(draft: Draft) -> str:
    """Return what the node and its cluster have used of their limits, the claim that was just made included."""
    settings, cluster, now = draft.scene.settings, draft.scene.facts.cluster, draft.now
    if draft.incident.replacing:
        replaced = draft.budget.replaced(now=now)
        return f"{replaced} of {settings.replace_budget} of the cluster in {in_words(REPLACE_WINDOW)}"
    reboots = sum(claimed_at > now - settings.max_reboots_window for claimed_at in draft.record.reboots)
    spent = draft.budget.spent(now=now, window=settings.budget_window)
    most = budget_limit(cluster.nodes, settings) if isinstance(cluster, ClusterFacts) else "?"
    return (
        f"reboot {reboots} of {settings.max_reboots_per_node} of the node in {in_words(settings.max_reboots_window)}, "
        f"{spent} of {most} of the cluster in {in_words(settings.budget_window)}"
    )


def end_cleared(draft: Draft, reason: str) -> None:
    draft.end(Outcome.CLEARED, reason)
    draft.answer_speaker(Outcome.CLEARED, reason)


def _end_failed(draft: Draft, missing: Missing) -> None:
    """End an incident before a reboot because a fact was missing for too long, or AWS denies it for good."""
    failure = draft.incident.failure
    code, message = failure or (missing.code, missing.message)
    draft.say(Outcome.FAILED, message, code=code, letter=True, topic=True)
    draft.end(Outcome.FAILED, message, code=code)
    draft.answer_speaker(Outcome.FAILED, message, code)


def end_refused(draft: Draft, no: No) -> None:
    """End an incident that a guard says no to: refused, or observed.

    A node that was to be tried again has its letter now: with the API's own words, which the topic has had already.
    """
    failure = draft.incident.failure
    _send_letter_of_failure(draft)
    if draft.speaker and not may_tell(draft, no):
        reason = f"notified already within the cooldown: {no.reason}"
        draft.end(no.outcome, reason, code=no.code)
        return draft.answer_speaker(Outcome.DUPLICATE, reason, no.code)
    note_told(draft, no)
    if no.outcome is Outcome.OBSERVED:
        draft.budget = draft.budget.charged(draft.now, observe=True, replacing=no.replacing)
    letter = no.outcome is Outcome.REFUSED and not failure
    draft.say(no.outcome, no.reason, code=no.code, letter=letter, topic=True)
    draft.end(no.outcome, no.reason, code=no.code)
    return draft.answer_speaker(no.outcome, no.reason, no.code)


def _send_letter_of_failure(draft: Draft) -> None:
    """Send the letter of a node whose tries end: the API's own words, which the topic has had already."""
    failure = draft.incident.failure
    if failure and draft.incident.state in (State.RETRYING, State.PROPOSED):
        draft.say(Outcome.FAILED, failure.message, code=failure.code, letter=True)


def may_tell(draft: Draft, no: No) -> bool:
    told = draft.record.told.get(no.code or no.outcome.value)
    return told is None or told + draft.scene.settings.cooldown <= draft.now


def note_told(draft: Draft, no: No) -> None:
    draft.record = replace(draft.record, told={**draft.record.told, no.code or no.outcome.value: draft.now})


def started(draft: Draft, reason: str, *, code: str | None = None) -> None:
    """Begin to wait for signs of health, or of a replacement: it was started, or may have been."""
    incident, settings = draft.incident, draft.scene.settings
    waiting = replace(
        incident,
        state=State.REPLACED if incident.replacing else State.REBOOTED,
        until=incident.since + (settings.repair_timeout if incident.replacing else settings.verify_timeout),
        lease_until=None,
        told=incident.told or code is not None or settings.notify_rebooted or incident.replacing,
        tries=0,
        waits=0,
        lacks_since=None,
        note="",
        failure=None,
        approved=None,
        rebooted_at=None,
    )
    waiting = replace(waiting, due=next_look(waiting, draft))
    took = max((incident.since - incident.opened_at).total_seconds(), 0.0) if code is None else None
    draft.move(waiting, reason, code=code, seconds=took)


def next_look(incident: Incident, draft: Draft) -> datetime:
    """Return the next time that matters after a reboot or repair: a multiple of verify_after, the cooldown's end, or
    the time-out."""
    settings, now = draft.scene.settings, draft.now
    until = incident.until or now
    times = [incident.since + settings.verify_after * ((now - incident.since) // settings.verify_after + 1)]
    if incident.state is State.REBOOTED:
        times.append(incident.since + settings.cooldown)
    return min(time for time in (*times, until) if time > now)


def missing_alarm(complaints: Iterable[Complaint], alarms: Mapping[str, AlarmState | Missing]) -> Missing | None:
    """Return why the state of a complaint's alarm is not known; None where every alarm was asked."""
    for complaint in complaints:
        state = alarms.get(complaint.source)
        if complaint.alarm and complaint.alarm.can_be_asked and isinstance(state, Missing | None):
            unasked = f"there was no time left to ask alarm {complaint.alarm.name}"
            return state or Missing(codes.DEADLINE_EXCEEDED, unasked)
    return None
