"""The text that a person gets by e-mail: what happened, what AWS said, what usually helps, how to try again. Pure."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from node_remediation.advice import advice_for
from node_remediation.deadletter import Origin, Redrive
from node_remediation.model import Ending, Outcome, Report

_LINE = 100

# What is said of one of a kind, and of several.
_HEADINGS = {
    Outcome.FAILED: ("1 node could not be rebooted:", "{} nodes could not be rebooted:"),
    Outcome.REFUSED: (
        "1 report was refused, nothing was rebooted for it:",
        "{} reports were refused, nothing was rebooted for them:",
    ),
    Outcome.UNREADABLE: ("1 message could not be read:", "{} messages could not be read:"),
    Outcome.OBSERVED: (
        "1 node would have been rebooted, in mode active:",
        "{} nodes would have been rebooted, in mode active:",
    ),
    Outcome.REBOOTED: ("1 node is being rebooted:", "{} nodes are being rebooted:"),
    Outcome.RETRYING: (
        "1 node could not be rebooted yet and is tried again:",
        "{} nodes could not be rebooted yet and are tried again:",
    ),
    Outcome.NOT_RECOVERED: ("1 node did not recover:", "{} nodes did not recover:"),
    Outcome.RECOVERED: ("1 node has recovered:", "{} nodes have recovered:"),
    Outcome.SUPERSEDED: ("1 node is gone:", "{} nodes are gone:"),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What every message says beside its nodes: when, where, and how to try again."""

    now: datetime
    origin: Origin
    redrive: Redrive


def mail_text(endings: Sequence[Ending], kinds: Sequence[Outcome], frame: Frame, *, longest: int | None) -> str:
    """The text for one cluster's endings; what AWS or an event said is cut at `longest` characters, if given."""
    cluster = (endings[0].case.cluster or "(not known)")[:longest]
    where = f"HyperPod cluster {cluster}, account {frame.origin.account}, {frame.origin.region}"
    parts = [f"{where}\n{frame.now:%Y-%m-%d %H:%M:%S} UTC"]
    parts += [_section([ending for ending in endings if ending.outcome is kind], kind, longest) for kind in kinds]
    # A try that is made again needs nobody.
    waiting = [ending for ending in endings if ending.outcome is not Outcome.RETRYING]
    codes = list(dict.fromkeys(ending.code for ending in waiting if ending.code))
    if codes:
        parts += ["What usually helps:", *(f"  {code}\n{_wrapped(advice_for(code))}" for code in codes)]
        parts.append(
            "Each node or message above that failed, did not recover, was refused or could not be read is also in\n"
            "the dead-letter queue. To try everything in that queue again:\n\n"
            f"  {frame.redrive.command(frame.origin.region)}"
        )
    return _sendable("\n\n".join(parts) + "\n")


def _section(endings: Sequence[Ending], kind: Outcome, longest: int | None) -> str:
    """One kind's nodes; those of which the same is to be said share a paragraph."""
    one, several = _HEADINGS[kind]
    heading = one if len(endings) == 1 else several.format(len(endings))
    alike: dict[tuple[str | None, ...], list[Ending]] = {}
    for ending in endings:
        alike.setdefault(_what_is_said(ending), []).append(ending)
    return "\n\n".join([heading, *(_paragraph(group, longest) for group in alike.values())])


def _what_is_said(ending: Ending) -> tuple[str | None, ...]:
    trigger = ending.case.trigger
    again = f"{ending.again_at:%H:%M:%S}" if ending.again_at else None
    return ending.code, ending.reason, again, trigger.detail_type, trigger.reason, _recommendation(ending)


def _recommendation(ending: Ending) -> str | None:
    reading = ending.case.reading
    return reading.recommendation if isinstance(reading, Report) else None


def _paragraph(endings: Sequence[Ending], longest: int | None) -> str:
    ending, trigger = endings[0], endings[0].case.trigger
    nodes = [each.case.node.id[:longest] if each.case.node else "(no node)" for each in endings]
    lines = [f"  {nodes[0]}  {ending.code or ''}".rstrip(), *(f"  {node}" for node in nodes[1:])]
    lines.append(_wrapped(ending.reason[:longest]))
    if ending.again_at:
        lines.append(f"    Will be tried again at {ending.again_at:%Y-%m-%d %H:%M:%S} UTC")
    if trigger.detail_type:
        why = f"Reported {_when(endings)} by {trigger.detail_type}"
        lines.append(_wrapped((f"{why}: {trigger.reason}" if trigger.reason else why)[:longest]))
    recommendation = _recommendation(ending)
    if recommendation:
        lines.append(_wrapped(f'HyperPod recommends: "{recommendation}"'[:longest]))
    return "\n".join(line for line in lines if line)


def _when(endings: Sequence[Ending]) -> str:
    first, last = (pick(ending.case.trigger.time for ending in endings) for pick in (min, max))
    if first == last:
        return f"{first:%Y-%m-%d %H:%M:%S} UTC"
    return f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"


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
    """Text that SNS takes: no lone surrogates, no control characters but line breaks."""
    whole = words.encode("utf-8", "replace").decode()
    return "".join(character for character in whole if character == "\n" or character.isprintable())
