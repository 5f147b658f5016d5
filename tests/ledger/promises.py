"""What must hold of a story: some of it at any time, all of it once nothing is pending."""

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

from node_remediation.model import ENDS, Ending, NodeKey, Outcome
from node_remediation.record import Stage
from tests.ledger.story import Story


def broken_promises(story: Story) -> list[str]:
    """What does not hold at any time."""
    return [*_storms(story), *_two_ends(story), *_chains(story), *story.noted.untrue]


def broken_at_the_end(story: Story) -> list[str]:
    """What does not hold once nothing is pending."""
    broken = [*broken_promises(story), *([f"pending: {list(story.queue)}"] if story.queue else [])]
    return [*broken, *_open(story), *_never_ended(story), *_never_told(story), *_quiet(story)]


def _storms(story: Story) -> Iterator[str]:
    limits, times_of = story.settings, dict[NodeKey, list[datetime]]()
    for _, at, key in story.noted.reboots:
        times_of.setdefault(key, []).append(at)
    for key, times in times_of.items():
        if any(later - earlier < limits.cooldown for earlier, later in pairwise(times)):
            yield f"{key.id} was rebooted twice within its cooldown"
        for last in times:
            if sum(last - limits.max_reboots_window < at <= last for at in times) > limits.max_reboots_per_node:
                yield f"{key.id} was rebooted too often"


def _two_ends(story: Story) -> Iterator[str]:
    for link, watches in story.noted.decided.items():
        if len(watches) > 1:
            yield f"watch {link[1]} was ended twice: {[watch.end for watch in watches]}"
    for link, ends in story.noted.ends.items():
        decided = [watch.end for watch in story.noted.decided.get(link, ())]
        if len(set(ends) | set(decided)) > 1:
            yield f"watch {link[1]}: said {ends}, decided {decided}"


def _chains(story: Story) -> Iterator[str]:
    """Each delivery sends at most one check, the next round."""
    for (root, round_), sent in story.noted.checks.items():
        delivered = story.noted.deliveries.get((root, round_ - 1), 0)
        if sent > delivered:
            yield f"round {round_} of {root} was sent {sent} times, for {delivered} deliveries of the one before"


def _quiet(story: Story) -> Iterator[str]:
    """Who is told nothing of a node is not told either that it is well again."""
    ends = (Outcome.RECOVERED, Outcome.SUPERSEDED)
    told = {ending.case.key for _, ending in story.noted.published if ending.outcome not in ends}
    for _, ending in story.noted.published:
        key = ending.case.key
        is_another = key is not None and _is_another_now(story, key)  # nor can its reboot be told of any more
        if ending.outcome in ends and key not in told and not story.noted.put_aside and not is_another:
            yield f"{key} was said to be {ending.outcome}, but nothing else"


def _open(story: Story) -> Iterator[str]:
    for key, watch in story.open_watches().items():
        if not story.noted.put_aside and not _is_another_now(story, key):
            yield f"watch {watch.id} of {key.id} is still in the ledger: {watch}"


def _is_another_now(story: Story, key: NodeKey) -> bool:
    """Whether a node is gone whose report, by the logical ID, is about its successor when it comes again."""
    return key in story.noted.by_logical_id and key not in {slot.key for slot in story.slots}


def _never_ended(story: Story) -> Iterator[str]:
    if story.noted.put_aside:
        return
    for link, how in story.noted.closed.items():
        watch = story.noted.watches[link]
        if how == "over" and not (watch.end or link in story.noted.ends or watch.stage is Stage.RETRYING):
            yield f"watch {link[1]} is over without an end"
    for link, watches in story.noted.decided.items():
        if link not in story.noted.ends and story.noted.closed[link] == "over":
            yield f"watch {link[1]} ended ({watches[0].end}), and nobody said so"
    begun = [(at, key, "rebooted") for at, _, key in story.noted.reboots]
    begun += [(at, key, f"left to HyperPod for {id_}") for (key, id_), at in story.noted.deferrals.items()]
    for at, key, how in begun:
        if _is_another_now(story, key):
            continue
        if not any(said > at and end.outcome in ENDS and end.case.key == key for said, _, end in story.noted.said):
            yield f"{key.id} was {how}, and nobody said how it ended"


def _never_told(story: Story) -> Iterator[str]:
    noted = story.noted
    if noted.put_aside:
        return
    published = [ending for _, ending in noted.published]
    for link, ends in noted.ends.items():
        if Outcome.NOT_RECOVERED in ends:
            for place, name in ((noted.letters, "dead-letter queue"), (published, "topic")):
                if not any(_is_end(ending, link[0], Outcome.NOT_RECOVERED) for ending in place):
                    yield f"NotRecovered of {link} is not on the {name}"
        told = [ending for ending in published if _tells_of(ending, link)]
        is_said = any(_is_end(ending, link[0], ends[0]) for ending in published)
        if told and ends[0] is not Outcome.NOT_RECOVERED and not is_said:
            yield f"people heard of {link} ({told[0].outcome}), and not how it ended"


def _is_end(ending: Ending, key: NodeKey, end: Outcome) -> bool:
    return ending.case.key == key and ending.outcome is end


def _tells_of(ending: Ending, link: tuple[NodeKey, str]) -> bool:
    begins = ending.outcome in (Outcome.REBOOTED, Outcome.RETRYING) or ending.code == "OutcomeUnknown"
    return begins and ending.case.key == link[0] and ending.case.owner == link[1]
