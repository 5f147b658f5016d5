"""The changes to records after a reboot call was answered, and before and after outbox entries are sent. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from node_remediation import codes
from node_remediation.model import Answer, CallResult, Failure, NodeKey, Outcome
from node_remediation.policy.draft import FIRST_WAIT, LONGEST_WAIT, Claim, Draft, Plan, Scene, plan_of
from node_remediation.policy.judging import lack, next_look, started
from node_remediation.policy.record import Book, Entry, Missing, NodeRecord, State, StateEvent
from node_remediation.settings import Settings

STARTED = "SageMaker started the reboot"
REPLACING = "SageMaker started to replace the node, which destroys its volumes and takes 20 to 30 minutes"
_SECOND = timedelta(seconds=1)
_LONGEST_RETRY = timedelta(minutes=15)
# So many nodes of one cluster, of which people are told within this time, are a burst.
MANY_NODES = 5
BURST = timedelta(minutes=10)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def record_answers(
    book: Book, claims: Sequence[Claim], answers: Sequence[Answer], scene: Scene, *, jitter: float
) -> Plan:
    """Write the answers to one cluster's claims into its records; nodes that were not rebooted give budget back.

    `jitter`, from 0 to 1, makes the wait before a retry up to a fifth shorter, so that a rack's nodes are not tried
    again all at once.
    """
    cluster = claims[0].key.cluster
    budget, drafts = book.budget(cluster), list[Draft]()
    of_node, asked = {answer.node: answer for answer in answers}, {claim.node for claim in claims}
    unasked = [answer for answer in answers if answer.node not in asked]
    for claim in claims:
        record = book.node(claim.key)
        states = {record.incident.id: record.incident.state} if record.incident else {}
        draft = Draft(scene, record, budget, states, speaker=claim.case)
        if draft.record.incident:
            _say_unasked(draft, unasked)
            unasked = []
        if draft.record.incident and draft.record.incident.state is State.CLAIMED and claim.node in of_node:
            _answer(draft, of_node[claim.node], jitter)
        else:
            # The claim's lease ended before the answer was written: it was announced as unknown.
            draft.answer_speaker(Outcome.FAILED, "the answer came after the claim's lease ended", codes.OUTCOME_UNKNOWN)
        budget = draft.budget
        drafts.append(draft)
    plan = plan_of(drafts, [book.node(claim.key) for claim in claims] + [book.budget(cluster)], budget)
    return replace(plan, claims=())


def _answer(draft: Draft, answer: Answer, jitter: float) -> None:
    match answer.result:
        case CallResult.STARTED:
            _started(draft, answer)
        case CallResult.UNKNOWN:
            started(draft, answer.message, code=codes.OUTCOME_UNKNOWN)
            draft.say(Outcome.FAILED, answer.message, code=codes.OUTCOME_UNKNOWN, letter=True, topic=True)
            draft.answer_speaker(Outcome.FAILED, answer.message, codes.OUTCOME_UNKNOWN)
        case CallResult.FAILED:
            _give_back(draft)
            _failed(draft, answer, jitter)
        case CallResult.NOT_CALLED:
            _give_back(draft)
            _not_called(draft, answer)
    incident = draft.record.incident
    if incident and (incident.repair_at or not incident.standing):
        draft.keep(
            replace(incident, due=min(incident.due, draft.now))
        )  # reported during the call: the next sweep looks


def _started(draft: Draft, answer: Answer) -> None:
    also = f", although its answer also lists the node as failed: {answer.message}" if answer.code else ""
    outcome, said = (Outcome.REPLACED, REPLACING) if draft.incident.replacing else (Outcome.REBOOTED, STARTED)
    started(draft, f"{said}{also}", code=answer.code)
    if answer.code:
        draft.say(Outcome.FAILED, answer.message, code=answer.code, letter=True, topic=True)
        return draft.answer_speaker(Outcome.FAILED, answer.message, answer.code)
    if draft.scene.settings.notify_rebooted or outcome is Outcome.REPLACED:
        draft.say(outcome, said, topic=True)
    return draft.answer_speaker(outcome, said)


def _give_back(draft: Draft) -> None:
    """Give the claim and its cost back: the node was neither rebooted nor replaced."""
    claimed_at = draft.incident.since
    reboots = tuple(at for at in draft.record.reboots if at != claimed_at)
    replacements = tuple(at for at in draft.record.replacements if at != claimed_at)
    draft.record = replace(draft.record, reboots=reboots, replacements=replacements)
    names = draft.budget.logical_ids
    own = [id_ for id_, at in names.items() if at == claimed_at and _is_of(draft, id_)]
    others = {id_: at for id_, at in names.items() if id_ not in own}
    earlier = max((*reboots, *replacements), default=None)  # the reboot before a replacement: its cooldown goes on
    budget = draft.budget.refunded(claimed_at, replacing=draft.incident.replacing)
    draft.budget = replace(budget, logical_ids=others | (dict.fromkeys(own, earlier) if earlier else {}))


def _is_of(draft: Draft, logical_id: str) -> bool:
    return logical_id in (draft.record.logical_id, draft.record.key.id)


def _failed(draft: Draft, answer: Answer, jitter: float) -> None:
    """Try again by itself where that may help; else report the API's entry, and end or return to the first reboot."""
    incident, settings = draft.incident, draft.scene.settings
    code, message = answer.code or "Unknown", answer.message
    if code in codes.PASSING and incident.tries < settings.retry_attempts and incident.rebooted_at is None:
        wait = min(settings.retry_delay * 2**incident.tries, _LONGEST_RETRY) * (1 - jitter / 5)
        again_at = draft.now + max(_SECOND, wait // _SECOND * _SECOND)
        retrying = replace(
            incident,
            state=State.RETRYING,
            since=draft.now,
            due=again_at,
            lease_until=None,
            tries=incident.tries + 1,
            told=True,
            failure=Failure(code, message),
        )
        draft.say(Outcome.RETRYING, message, code=code, topic=True, again_at=again_at)
        draft.move(retrying, message, code=code)
        return draft.answer_speaker(Outcome.RETRYING, message, code)
    draft.say(Outcome.FAILED, message, code=code, letter=True, topic=True)
    if incident.rebooted_at:
        tried = "a replacement" if incident.replacing else "a second reboot"
        _return_to_first_reboot(draft, Failure(code, message), f"{tried} failed: {code}: {message}")
    else:
        draft.end(Outcome.FAILED, message, code=code)
    return draft.answer_speaker(Outcome.FAILED, message, code)


def _return_to_first_reboot(draft: Draft, failure: Failure | None, note: str) -> None:
    """Wait again for signs of health after the earlier reboot. After a failure the node is not judged again."""
    incident = draft.incident
    since = incident.rebooted_at or incident.since
    before = replace(
        incident,
        state=State.REBOOTED,
        since=since,
        until=max(since + draft.scene.settings.verify_timeout, draft.now + _SECOND),
        lease_until=None,
        told=incident.told or failure is not None,
        failure=failure,
        note=note,
        rebooted_at=None,
        replacing=False,
    )
    draft.move(replace(before, due=next_look(before, draft)), note, code=failure.code if failure else None)


def _not_called(draft: Draft, answer: Answer) -> None:
    """Take the claim back: nothing was called. The node is judged again later, for up to max_report_age."""
    incident, missing = draft.incident, Missing(answer.code or codes.DEADLINE_EXCEEDED, answer.message)
    if incident.rebooted_at:
        # A replacement is not tried again: it was the last resort, and its time is over.
        failure = Failure(missing.code, missing.message) if incident.replacing else None
        _return_to_first_reboot(draft, failure, f"not called: {missing.code}: {missing.message}")
        return draft.answer_speaker(Outcome.WAITING, missing.message, missing.code)
    state = State.RETRYING if incident.failure else State.OPEN
    draft.keep(replace(incident, state=state, lease_until=None, replacing=False))
    return lack(draft, missing)


def _say_unasked(draft: Draft, answers: Sequence[Answer]) -> None:
    """Report the failures of nodes that were not asked for, with what set off the call."""
    for answer in answers:
        code = answer.code or "Unknown"
        draft.say(Outcome.FAILED, answer.message, code=code, letter=True, topic=True, node=answer.node)


def notices_of(cluster: str) -> NodeKey:
    """Return the key of the record that has the nodes of a cluster of which people were told."""
    return NodeKey(cluster, "")


def gathered(
    entries: Mapping[NodeKey, Collection[Entry]], told: NodeRecord, settings: Settings, now: datetime
) -> dict[str, datetime]:
    """Return until when the notices of entries about one cluster's nodes wait, as they are of a burst; by entry.

    Once people were told within burst_window, and with these of MANY_NODES nodes, the others wait for the window's end.
    It is the same for all that are written in it, so that one sweep sends them together. A proposal never waits.
    """
    window, times = settings.burst_window, [at for at in told.told.values() if at > now - BURST]
    nodes = {id_ for id_, at in told.told.items() if at > now - BURST} | {key.id for key in entries}
    if not window or len(nodes) < MANY_NODES or max(times, default=_EPOCH) <= now - window:
        return {}
    ends = {
        entry.id: _EPOCH + ((entry.at - _EPOCH) // window + 1) * window
        for of_node in entries.values()
        for entry in of_node
        if entry.outcome is not Outcome.PROPOSED
    }
    return {id_: end for id_, end in ends.items() if end > now}


def record_sent(
    book: Book,
    sent: Mapping[NodeKey, Mapping[str, Entry]],
    scene: Scene,
    keys: Sequence[NodeKey],
    *,
    put: Mapping[str, bool] = MappingProxyType({}),
    held: Mapping[str, datetime] = MappingProxyType({}),
    told: Mapping[NodeKey, Collection[str]] = MappingProxyType({}),
) -> Plan:
    """Mark entries as sent. Unsent ones are tried again later, after a longer wait each time, or when `held` ends.

    `put` tells of each state event that was tried whether the event bus took it. `told` has the nodes of which people
    were told, by the key of their cluster's record.
    """
    records = []
    for key in keys:
        record, of_node = book.node(key), sent.get(key, {})
        outbox = tuple(_after_sending(entry, of_node.get(entry.id), scene, held) for entry in record.outbox)
        changed = replace(
            record,
            outbox=tuple(entry for entry in outbox if entry.unsent),
            events=tuple(_after_putting(each, put, scene) for each in record.events if not put.get(each.id)),
            told={**record.told, **dict.fromkeys(told.get(key, ()), scene.now)},
        )
        for before, after in zip(record.outbox, outbox, strict=True):
            if parts := _newly_sent(before, after):
                changed = changed.noted(scene.now, f"sent: {parts}, {after.code or after.outcome}")
        if changed != record:
            records.append(changed)
    return Plan(records=tuple(records))


def _after_sending(entry: Entry, tried: Entry | None, scene: Scene, held: Mapping[str, datetime]) -> Entry:
    if tried is None:
        return entry
    entry = replace(entry, letter=entry.letter and tried.letter, topic=entry.topic and tried.topic)
    if entry.topic and not entry.letter and entry.id in held:
        return replace(entry, due=held[entry.id])
    return replace(entry, sends=entry.sends + 1, due=scene.now + _wait_after(entry.sends))


def _after_putting(event: StateEvent, put: Mapping[str, bool], scene: Scene) -> StateEvent:
    if event.id not in put:
        return event
    return replace(event, sends=event.sends + 1, due=scene.now + _wait_after(event.sends))


def _wait_after(sends: int) -> timedelta:
    return min(FIRST_WAIT * (1 << min(sends, 5)), LONGEST_WAIT)


def _newly_sent(before: Entry, after: Entry) -> str:
    parts = {"letter": before.letter > after.letter, "notification": before.topic > after.topic}
    return " and ".join(part for part, is_sent in parts.items() if is_sent)


def put_off(record: NodeRecord, scene: Scene) -> NodeRecord:
    """Put off a record that a sweep could not handle, twice as long each time, up to an hour."""
    wait = min(timedelta(minutes=1) * 2 ** min(record.put_off, 6), timedelta(hours=1))
    return replace(record, put_off=record.put_off + 1, put_off_until=scene.now + wait)
