"""The text that a person gets by e-mail: what happened, what AWS said, what usually helps, how to try again. Pure."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from node_remediation.advice import advice_for
from node_remediation.deadletter import Origin
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
}


@dataclass(frozen=True, slots=True)
class Redrive:
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
    codes = list(dict.fromkeys(ending.code for ending in endings if ending.code))
    if codes:
        parts += ["What usually helps:", *(f"  {code}\n{_wrapped(advice_for(code))}" for code in codes)]
        parts.append(
            "Each node or message above that failed, was refused or could not be read is also in the dead-letter\n"
            "queue. To try everything in that queue again:\n\n"
            f"  {frame.redrive.command(frame.origin.region)}"
        )
    return _sendable("\n\n".join(parts) + "\n")


def _section(endings: Sequence[Ending], kind: Outcome, longest: int | None) -> str:
    one, several = _HEADINGS[kind]
    heading = one if len(endings) == 1 else several.format(len(endings))
    return "\n\n".join([heading, *(_paragraph(ending, longest) for ending in endings)])


def _paragraph(ending: Ending, longest: int | None) -> str:
    case, trigger = ending.case, ending.case.trigger
    node = case.node.id[:longest] if case.node else "(no node)"
    lines = [f"  {node}  {ending.code or ''}".rstrip(), _wrapped(ending.reason[:longest])]
    if trigger.detail_type:
        why = f"Reported {trigger.time:%Y-%m-%d %H:%M:%S} UTC by {trigger.detail_type}"
        lines.append(_wrapped((f"{why}: {trigger.reason}" if trigger.reason else why)[:longest]))
    recommendation = case.reading.recommendation if isinstance(case.reading, Report) else None
    if recommendation:
        lines.append(_wrapped(f'HyperPod recommends: "{recommendation}"'[:longest]))
    return "\n".join(line for line in lines if line)


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
