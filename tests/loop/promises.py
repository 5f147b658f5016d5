"""The promises, judged by what was seen from outside: some at any time, all of them once nothing is pending."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from node_remediation import codes
from node_remediation.model import REQUEST, Message, NodeKey, Outcome
from node_remediation.policy.guards import budget_limit
from node_remediation.policy.record import MOST_EVENTS, RECURRENCES, REPLACE_WINDOW, State
from tests.loop.outside import Kept, Notice, Reboot
from tests.loop.world import ENDS, Said, World

# Outcomes of a complaint that is in no incident.
_NOT_HEARD = {Outcome.CLEARED, Outcome.REFUSED, Outcome.OBSERVED, Outcome.IGNORED, Outcome.UNREADABLE}


def broken(world: World) -> list[str]:
    """Return what does not hold at any time."""
    judges = (_storms, _replacements, _needless, _outcomes, _ends, _states, _recoveries, _order, _recurring)
    return [fault for judge in judges for fault in judge(world)]


def broken_at_the_end(world: World) -> list[str]:
    """Return what does not hold once nothing is pending."""
    judges = (broken, _pending, _never_ended, _never_told, _ends_of_modes, _events)
    return [fault for judge in judges for fault in judge(world)]


# -- no reboot storm


def _storms(world: World) -> Iterator[str]:
    settings = world.settings
    of_node, of_cluster = defaultdict[tuple[str, str], list[datetime]](list), defaultdict[str, list[datetime]](list)
    for at, cluster, instance in world.sagemaker.reboots:
        of_node[cluster, instance].append(at)
        of_cluster[cluster].append(at)
    for (_, instance), times in of_node.items():
        if any(later - earlier < settings.cooldown for earlier, later in pairwise(times)):
            yield f"{instance} was rebooted twice within its cooldown"
        # Of an instance that SageMaker shows late, only the cooldown is kept under whatever name.
        too_many = _most_within(times, settings.max_reboots_window) > settings.max_reboots_per_node
        if too_many and instance not in world.doubtful:
            yield f"{instance} was rebooted too often"
    for cluster, times in of_cluster.items():
        limit = budget_limit(world.sagemaker.clusters[cluster].nodes, settings)
        if _most_within(times, settings.budget_window) > limit:
            yield f"{cluster} is beyond its budget of {limit}"


def _replacements(world: World) -> Iterator[str]:
    """Yield replacements beyond the budget, and those that must never be made."""
    settings, by_cluster = world.settings, defaultdict[str, list[datetime]](list)
    for at, cluster, instance in world.sagemaker.replacements:
        by_cluster[cluster].append(at)
        if world.sagemaker.clusters[cluster].automatic or not settings.replaces:
            yield f"{instance} of {cluster} was replaced, which the settings or HyperPod rule out"
    for cluster, times in by_cluster.items():
        if _most_within(times, REPLACE_WINDOW) > settings.replace_budget:
            yield f"{cluster} is beyond its budget of {settings.replace_budget} replacements"


def _most_within(times: list[datetime], window: timedelta) -> int:
    return max((sum(last - window < at <= last for at in times) for last in times), default=0)


def _needless(world: World) -> Iterator[str]:
    """Yield the reboots that no person asked for, of nodes whose sources had all withdrawn their complaints."""
    for at, cluster, instance in world.sagemaker.reboots:
        place = world.place(instance)
        if any(f'"{cluster}"' in body and (instance in body or f'"{place}"' in body) for body in world.asked):
            continue
        said = [said for said in world.said if (said.slot.cluster, said.slot.logical) == (cluster, place)]
        said = [each for each in said if not each.healthy or each.instance == instance]  # not of its predecessor
        if any(each.event_id in world.by_composite for each in said):
            continue  # a child or its parent complains, as the child was when the event was sent
        if not any(_stands(world, [each for each in said if each.source == source], at) for source in _sources(said)):
            yield f"{instance} was rebooted at {at}, though each source that complained had withdrawn"


def _sources(said: list[Said]) -> set[str]:
    return {each.source for each in said}


def _stands(world: World, said: list[Said], at: datetime) -> bool:
    """Tell whether a source had complained at a time, and had not withdrawn that by an event taken in before."""
    never = at + timedelta(days=1)
    complaints = [
        _time(world, each) for each in said if not each.healthy and world.heard.get(each.event_id, never) <= at
    ]
    withdrawals = [_time(world, each) for each in said if each.healthy and world.taken_in.get(each.event_id, at) < at]
    return bool(complaints) and (not withdrawals or max(withdrawals) < max(complaints))


def _time(world: World, said: Said) -> datetime:
    """Return when something was said: never later than its event was sent."""
    return min(said.at, world.sent.get(said.event_id, said.at))


# -- state events


def _events(world: World) -> Iterator[str]:
    """Each incident's events, in order, lead from state to state, and tell of one end."""
    by_incident = defaultdict[str, dict[str, dict[str, object]]](dict)
    for event in world.outside.events:
        by_incident[str(event["IncidentId"])].setdefault(str(event["EventId"]), event)
    for incident, times in world.closed.items():
        events = sorted(by_incident[incident].values(), key=lambda event: str(event["ChangedAt"]))
        steps = [(event["PreviousState"], event["State"]) for event in events]
        if len(events) < MOST_EVENTS and [previous for previous, _ in steps] != [None, *(to for _, to in steps)][:-1]:
            yield f"the events of incident {incident} do not follow each other: {steps}"
        if times and [event["Ended"] for event in events].count(True) != 1:
            yield f"the events of incident {incident} tell not of one end: {steps}"


# -- nothing is lost


def _outcomes(world: World) -> Iterator[str]:
    """Each report of a message has one outcome, unless its invocation was killed, or it came twice."""
    results, crashed, receives = defaultdict[str, list[str]](list), set[str](), Counter[str]()
    for delivery in world.deliveries:
        id_ = delivery.message.id
        receives[id_] += 1
        results[id_] += [f"{result.node}: {result.outcome}" for result in delivery.results]
        if delivery.crashed:
            crashed.add(id_)
    for id_, message in world.acknowledged.items():
        if id_ in crashed | world.repeated:
            continue
        nodes = _nodes_in(message)
        # A request that comes again for one of its nodes has outcomes for the others again, as a rule duplicates.
        comes_again = receives[id_] > 1 and len(nodes) > 1
        if not results[id_] or (nodes and not comes_again and len(results[id_]) > len(nodes)):
            yield f"{id_} has the outcomes {results[id_]}"


def _nodes_in(message: Message) -> list[str]:
    """Return the nodes that a message reports; none for a composite alarm, which may report any number."""
    event = json.loads(message.body)
    detail = event.get("detail", {})
    if "alarmRule" in detail.get("configuration", {}):
        return []
    return [*detail.get("NodeIds", ()), *detail.get("NodeLogicalIds", ())] or ["one"]


def _pending(world: World) -> Iterator[str]:
    if world.queue:
        yield f"still on the queue: {list(world.queue)}"
    if world.next_due() is not None:
        yield f"still due: {world.next_due()}"
    crashed = {delivery.message.id for delivery in world.deliveries if delivery.crashed}
    for message in world.aside:
        unsent = message.id in world.unsent_at_last
        if message.id not in crashed | world.repeated and not unsent:
            yield f"{message.id} was set aside by the queue"


def _ends(world: World) -> Iterator[str]:
    ends = defaultdict[str, list[str]](list)
    for change in world.changes:
        if change.state in ENDS:
            ends[change.incident].append(change.state)
    for incident, found in ends.items():
        if len(found) > 1:
            yield f"incident {incident} ended as {found}"
    for incident, times in world.closed.items():
        if len(times) > 1:
            yield f"incident {incident} was closed twice"
        if times and not ends[incident] and incident not in world.united and not world.killed:
            yield f"incident {incident} was closed without an end"


def _states(world: World) -> Iterator[str]:
    """The latest line of an incident has its state: the dashboard counts open incidents so."""
    if world.killed:
        return  # it may have been killed before it wrote its lines
    logged = {change.incident: change.state for _, change in world.outside.changes}
    records = world.ledger.load_raw(list(world.ledger.items)).nodes.values()
    states = {record.incident.id: record.incident.state for record in records if record.incident}
    for incident in logged.keys() | states.keys():
        known, last = states.get(incident), logged.get(incident)
        ended = known is None and last not in list(State)
        if not ended and known not in (State.CLAIMED, last):
            yield f"incident {incident} is {known}, and its latest line says {last}"


def _never_ended(world: World) -> Iterator[str]:
    for incident, (key, at) in world.opened.items():
        if not world.closed[incident]:
            yield f"incident {incident} of {key.id}, opened at {at}, never ended"


# -- only proof is called recovery


def _recoveries(world: World) -> Iterator[str]:
    spoken = defaultdict[str, list[Said]](list)
    for said in world.said:
        spoken[said.event_id].append(said)
    heard = defaultdict[str, dict[str, datetime]](dict)
    for _, result in world.outside.results:
        # A copy of a report says nothing that the report itself has not said.
        copy = result.outcome is Outcome.DUPLICATE and "the same source has complained" in result.reason
        if result.incident and result.outcome not in _NOT_HEARD and not copy:
            for said in spoken[result.trigger.event_id]:
                if not said.healthy and said.source != REQUEST:
                    known = heard[result.incident].get(said.source, result.trigger.time)
                    heard[result.incident][said.source] = max(known, result.trigger.time)
    for at, change in world.outside.changes:
        if change.state == Outcome.RECOVERED:
            yield from _unproven(world, change.incident, at, heard[change.incident])


def _unproven(world: World, incident: str, at: datetime, heard: dict[str, datetime]) -> Iterator[str]:
    key, _ = world.opened[incident]
    # What was said after the incident is over is of another one.
    complaints = {source: time for source, time in heard.items() if time <= at}
    proven = {source: _withdrawn_at(world, key, source, time, at) for source, time in complaints.items()}
    for source, time in proven.items():
        if time is None:
            yield f"{key.id} is called recovered, but {source} has not withdrawn what it said at {complaints[source]}"
    said = [time for source, time in proven.items() if time and not source.startswith("alarm:")]
    if said and max(said) + world.settings.healthy_for > at:
        yield f"{key.id} is called recovered at {at}, too soon after {max(said)}"
    last = max((reboot.at for reboot in _reboots_of(world, key) if reboot.at <= at), default=None)
    if last and proven and not any(time and time > last for time in proven.values()):
        yield f"{key.id} is called recovered, but no source has said so since its reboot at {last}"


def _reboots_of(world: World, key: NodeKey) -> list[Reboot]:
    return [reboot for reboot in world.sagemaker.reboots if (reboot.cluster, reboot.instance) == key]


def _withdrawn_at(world: World, key: NodeKey, source: str, since: datetime, until: datetime) -> datetime | None:
    """Return the last time at which a source said that the node is well, by an event or, for an alarm, by its state."""
    times = [
        _time(world, said)
        for said in world.said
        if said.healthy
        and said.source == source
        and key.id in (said.instance, said.slot.logical)
        and world.heard.get(said.event_id, world.now) <= until
    ]
    if source.startswith("alarm:"):
        name, _, series = source.removeprefix("alarm:").partition("#")
        alarm = world.cloudwatch.alarms[name]
        times += [until] if alarm.was_ok(series, since, until) else []
    return max((time for time in times if since <= time <= until), default=None)


# -- failures arrive


def _order(world: World) -> Iterator[str]:
    """The dead-letter queue comes first: a failure or refusal is on the topic only after a letter of its node."""
    tried_again = {(notice.number, notice.node, notice.code) for notice in world.notices if notice.list == "Retrying"}
    for notice in world.notices:
        if notice.list not in ("Failed", "FailedNodeLogicalIds", "Refused", "Unreadable"):
            continue
        if (notice.number, notice.node, notice.code) in tried_again:
            continue
        if notice.node is None and world.unsent_at_last:
            continue  # the queue itself moves its message there
        if not any(letter.number < notice.number and _same(world, letter, notice) for letter in world.letters):
            yield f"the topic heard of {notice.node} {notice.code} before the dead-letter queue"
    ids = Counter(letter.id for letter in world.letters if letter.node)
    if not world.may_repeat_letters:
        yield from (f"letter {id_} was sent {count} times" for id_, count in ids.items() if count > 1)
    bodies = {(letter.id, letter.node, letter.code) for letter in world.letters if letter.node}
    for id_, count in Counter(id_ for id_, _, _ in bodies).items():
        if count > 1:
            yield f"letter {id_} says different things"


def _recurring(world: World) -> Iterator[str]:
    """Yield the incidents that were told as recurring in different words: each is told once, or the same again."""
    told = defaultdict[str, set[tuple[str, ...]]](set)
    for notice in world.notices:
        if notice.list == "Recurring":
            told[notice.entry["IncidentId"]].add(tuple(notice.entry["History"]))
    for incident, histories in told.items():
        if any(len(lines) != RECURRENCES for lines in histories):
            yield f"incident {incident} was told as recurring with {histories}"
        if len(histories) > 1 and not world.may_repeat_letters:
            yield f"incident {incident} was told as recurring {len(histories)} times: {histories}"


def _ends_of_modes(world: World) -> Iterator[str]:
    """Each end of a mode is told once, if a sweep came within a day after it."""
    told = Counter(
        (notice.entry["Pattern"], notice.entry["Until"]) for notice in world.notices if notice.list == "Resumed"
    )
    if not world.may_repeat_notices:
        yield from (f"the end of {entry} was told {count} times" for entry, count in told.items() if count > 1)
    for end in world.mode.ends():
        if world.now - timedelta(days=2) < end <= world.now and f"{end:%Y-%m-%dT%H:%M:%SZ}" not in {
            until for _, until in told
        }:
            yield f"the end of the mode at {end} was never told"


def _same(world: World, letter: Kept, notice: Notice) -> bool:
    if letter.node is None:
        return letter.code == notice.code
    # A node that was to be tried again, and that a guard refuses then, has its letter in the API's own words.
    return world.place(letter.node) == world.place(notice.node) and (
        letter.code == notice.code or notice.list == "Refused"
    )


def _never_told(world: World) -> Iterator[str]:
    for letter in world.letters:
        if letter.node is None and world.may_repeat_letters:
            continue  # its message may have come again, and been served
        place = world.place(letter.node)
        told = [notice for notice in world.notices if place is None or world.place(notice.node) == place]
        # What could neither be saved nor sent is told as unknown when the claim's lease ends.
        if not any(notice.code in (letter.code, codes.OUTCOME_UNKNOWN) for notice in told):
            yield f"the topic never heard of {letter.node} {letter.code}"
