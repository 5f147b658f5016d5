"""Mail: the text that people get: what happened, what AWS said, what usually helps, how to try again. Pure."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from node_remediation import codes
from node_remediation.events import own
from node_remediation.events.fields import Home
from node_remediation.model import Outcome
from node_remediation.outbox.advice import advice_for
from node_remediation.policy.record import Entry

_LINE = 100


class Redrive(NamedTuple):
    """The two queues of the redrive command."""

    dead_letter_arn: str
    intake_arn: str

    def command(self, region: str) -> str:
        return (
            "aws sqs start-message-move-task \\\n"
            f"    --source-arn {self.dead_letter_arn} \\\n"
            f"    --destination-arn {self.intake_arn} \\\n"
            f"    --region {region}"
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """The parts of every message beside its nodes: when, where, and how to try again."""

    now: datetime
    home: Home
    redrive: Redrive


class Section(NamedTuple):
    """The words for one kind of entries: in the subject, above one of them, above several, and below them all."""

    subject: str
    one: str
    several: str
    note: str = ""


# The most pressing first. Of failures, those with an unknown outcome have a section of their own.
SECTIONS: dict[str, Section] = {
    Outcome.FAILED: Section("not rebooted", "1 node could not be rebooted:", "{} nodes could not be rebooted:"),
    codes.OUTCOME_UNKNOWN: Section(
        "outcome unknown",
        "1 node was perhaps rebooted, perhaps not. SageMaker's answer was lost:",
        "{} nodes were perhaps rebooted, perhaps not. SageMaker's answer was lost:",
    ),
    Outcome.NOT_RECOVERED: Section(
        "not recovered",
        "1 node did not recover after its reboot or repair:",
        "{} nodes did not recover after their reboot or repair:",
    ),
    Outcome.REFUSED: Section(
        "refused",
        "1 report was refused, and nothing was rebooted for it:",
        "{} reports were refused, and nothing was rebooted for them:",
    ),
    Outcome.UNREADABLE: Section("unreadable", "1 message could not be read:", "{} messages could not be read:"),
    Outcome.UNVERIFIED: Section(
        "unverified",
        "1 node has status Running after its reboot or repair, which does not prove that it is well:",
        "{} nodes have status Running after their reboot or repair, which does not prove that they are well:",
        "Look whether it is. On Slurm, a node that was rebooted may still be down: sinfo shows it, and scontrol update "
        "nodename=NAME state=resume brings it back.",
    ),
    Outcome.RETRYING: Section(
        "to be tried again",
        "1 node could not be rebooted yet. It will be tried again by itself:",
        "{} nodes could not be rebooted yet. They will be tried again by themselves:",
    ),
    Outcome.OBSERVED: Section(
        "observed",
        "1 node would have been rebooted. The mode is observe, so nothing was done:",
        "{} nodes would have been rebooted. The mode is observe, so nothing was done:",
    ),
    Outcome.REBOOTED: Section("rebooting", "1 node is being rebooted:", "{} nodes are being rebooted:"),
    Outcome.SUPERSEDED: Section(
        "gone",
        "1 node is no longer in the cluster, so there is nothing left to do for it:",
        "{} nodes are no longer in the cluster, so there is nothing left to do for them:",
    ),
    Outcome.RECOVERED: Section("recovered", "1 node has recovered:", "{} nodes have recovered:"),
}
# The outcomes that leave a letter in the dead-letter queue.
_LETTERED = (Outcome.FAILED, Outcome.NOT_RECOVERED, Outcome.REFUSED, Outcome.UNREADABLE)


# The outcomes after which no recommendation of HyperPod's holds any more.
_OVER = (Outcome.RECOVERED, Outcome.SUPERSEDED)


def by_section(entries: Sequence[Entry]) -> list[tuple[Section, list[Entry]]]:
    """Return the entries by section, the most pressing section first."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        name = entry.code if entry.code == codes.OUTCOME_UNKNOWN else entry.outcome
        found.setdefault(name, []).append(entry)
    return [(section, found[name]) for name, section in SECTIONS.items() if name in found]


def mail_text(entries: Sequence[Entry], frame: Frame) -> str:
    """Return the text for the entries of one cluster."""
    cluster = entries[0].cluster
    where = f"HyperPod cluster {cluster}" if cluster else "HyperPod, cluster not known"
    parts = [f"{where}, account {frame.home.account}, {frame.home.region}\n{utc(frame.now)}"]
    sections = by_section(entries)
    parts += [_section(*section) for section in sections]
    lettered = [entry for _, of_section in sections for entry in of_section if entry.outcome in _LETTERED]
    if lettered:
        parts += _what_to_do(list(dict.fromkeys(entry.code for entry in lettered if entry.code)), frame)
    return _sendable("\n\n".join(parts) + "\n")


def utc(time: datetime) -> str:
    """Return a time as people read it."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _what_to_do(entry_codes: Sequence[str], frame: Frame) -> list[str]:
    """Return advice for each code, and the redrive command where some advice says to redrive."""
    advice = {code: advice_for(code) for code in entry_codes}
    parts = ["What usually helps:", *(f"  {code}\n{_wrapped(text)}" for code, text in advice.items())] if advice else []
    where = (
        "Each node or message above that failed, did not recover, was refused or could not be read has a\n"
        "message in the dead-letter queue. "
    )
    if any("redrive" in text.lower() for text in advice.values()):
        command = f"  {frame.redrive.command(frame.home.region)}"
        return [*parts, f"{where}To try all messages of that queue again (redrive):\n\n{command}"]
    return [*parts, f"{where}Delete it there when you are done:\n\n  {frame.redrive.dead_letter_arn}"]


def _section(section: Section, entries: Sequence[Entry]) -> str:
    """Return the text of one section. Nodes about which the text is the same share a paragraph."""
    heading = section.one if len(entries) == 1 else section.several.format(len(entries))
    alike: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        trigger, again = entry.trigger, entry.again_at and utc(entry.again_at)
        words = (entry.code, entry.message, again, entry.times, entry.recommendation)
        alike.setdefault((*words, trigger.detail_type, trigger.reason), []).append(entry)
    parts = [heading, *map(_paragraph, alike.values()), _wrapped(section.note)]
    return "\n\n".join(part for part in parts if part)


def _paragraph(entries: Sequence[Entry]) -> str:
    entry = entries[0]
    first, *others = map(_node, entries)
    lines = [f"  {first}  {entry.code or ''}".rstrip(), *(f"  {node}" for node in others), _wrapped(entry.message)]
    if entry.times > 1:
        lines.append(f"    This happened {entry.times} times before this mail could be sent.")
    if entry.again_at:
        lines.append(f"    The next try is at {utc(entry.again_at)}.")
    lines.append(_wrapped(_reported(entries)))
    if entry.recommendation and entry.outcome not in _OVER:
        lines.append(_wrapped(f'HyperPod recommends: "{entry.recommendation}"'))
    return "\n".join(line for line in lines if line)


def _node(entry: Entry) -> str:
    if entry.node is None:
        return "(no node)"
    instance = entry.instance_id
    return f"{entry.node.id} (instance {instance})" if instance and instance != entry.node.id else entry.node.id


def _reported(entries: Sequence[Entry]) -> str:
    """Return when and by what the entries' nodes were reported; nothing where an event could not be read."""
    trigger, times = entries[0].trigger, [entry.trigger.time for entry in entries]
    if not trigger.detail_type:
        return ""
    when = utc(min(times)) if min(times) == max(times) else f"from {utc(min(times))} to {utc(max(times))}"
    requested = trigger.detail_type == own.REQUESTED
    said = f"Requested {when}" if requested else f"Reported {when} by {trigger.detail_type}"
    return f"{said}: {trigger.reason}" if trigger.reason else said


def _wrapped(words: str) -> str:
    return textwrap.fill(
        " ".join(words.split()),
        _LINE,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _sendable(words: str) -> str:
    """Return text that SNS takes: no lone surrogates, no control characters except line breaks."""
    whole = words.encode("utf-8", "replace").decode()
    return "".join(character for character in whole if character == "\n" or character.isprintable())
