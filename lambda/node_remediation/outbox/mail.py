"""Mail: the text that people get: what happened, what to do now, where to look, what is left to tidy up. Pure.

Written for a person who was woken by it: the most pressing nodes first, and every command filled in.
"""

import json
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from node_remediation import codes
from node_remediation.events import own
from node_remediation.events.fields import Home
from node_remediation.model import INSTANCE_ID, IdKind, Node, Outcome
from node_remediation.outbox.advice import Advice, Command, advice_for, runbook_section
from node_remediation.policy.record import Entry

_LINE = 100
# Of more nodes of which something different is to be said each, the rest have one line each.
_MOST_PARAGRAPHS = 5
_SHORT = 75  # characters of what is said in that line
# More nodes than this are looked at in a list.
_MOST_LOOKED_AT = 3
_IDS_PER_LINE = 4
_IDS_PER_CALL = 25  # BatchRebootClusterNodes and BatchReplaceClusterNodes (botocore, sagemaker 2017-07-24)
_SLURM = (
    "A Slurm node may be down only because it was rebooted. Then this brings it back: scontrol update nodename=NAME "
    "state=resume"
)
# The page in this project, for a team that hosts it nowhere.
RUNBOOK = "docs/runbook.md"
# The console's host by partition. Other partitions get no link.
_CONSOLES = {
    "aws": "{region}.console.aws.amazon.com",
    "aws-cn": "{region}.console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


class Places(NamedTuple):
    """The places that a mail's commands and links name."""

    intake_url: str
    dead_letter_url: str
    mode_parameter: str
    partition: str
    runbook: str = RUNBOOK


@dataclass(frozen=True, slots=True)
class Frame:
    """The parts of every message beside its nodes: when, and where."""

    now: datetime
    home: Home
    places: Places


@dataclass(frozen=True, slots=True)
class Section:
    """Entries with one outcome and one code, and the advice for them."""

    outcome: Outcome
    advice: Advice
    entries: Sequence[Entry]

    @property
    def count(self) -> int:
        """The number of nodes, with each report that names none."""
        return len({entry.node or place for place, entry in enumerate(self.entries)})

    @property
    def anchor(self) -> str:
        """The section's anchor in the runbook."""
        first = self.entries[0]
        return runbook_section(self.outcome, first.code, replacing=first.replacing)

    @property
    def headline(self) -> str:
        """Tell what happened and what to do, in a few words."""
        if self.outcome is Outcome.DAILY_SUMMARY:
            return f"{self.advice.words}: {self.entries[0].message}"
        return self.advice.line(self.count)


# The most pressing first. Of failures, those with an unknown outcome come after the others.
_ORDER = (
    Outcome.FAILED,
    codes.OUTCOME_UNKNOWN,
    Outcome.NOT_RECOVERED,
    Outcome.REFUSED,
    Outcome.UNREADABLE,
    Outcome.PROPOSED,
    Outcome.UNVERIFIED,
    Outcome.REPLACED,
    Outcome.RECURRING,
    Outcome.RETRYING,
    Outcome.RESUMED,
    Outcome.OBSERVED,
    Outcome.REBOOTED,
    Outcome.SUPERSEDED,
    Outcome.RECOVERED,
    Outcome.DAILY_SUMMARY,
)
# The outcomes that leave a letter in the dead-letter queue; with the next, those that ask for a look.
_LETTERED = (Outcome.FAILED, Outcome.NOT_RECOVERED, Outcome.REFUSED, Outcome.UNREADABLE)
_LOOKED_AT = (*_LETTERED, Outcome.PROPOSED, Outcome.UNVERIFIED, Outcome.RECURRING)
# The outcomes after which no recommendation of HyperPod's holds any more.
_OVER = (Outcome.RECOVERED, Outcome.SUPERSEDED)


def by_section(entries: Sequence[Entry]) -> list[Section]:
    """Return the entries by outcome and code: the most pressing outcome first, and in it the code of most entries.

    Failed replacements are apart from failed reboots.
    """
    found: dict[tuple[int, Outcome, str | None, bool], list[Entry]] = {}
    for entry in entries:
        unknown = entry.code == codes.OUTCOME_UNKNOWN
        order = _ORDER.index(codes.OUTCOME_UNKNOWN if unknown else entry.outcome)
        found.setdefault((order, entry.outcome, entry.code, entry.replacing), []).append(entry)
    ordered = sorted(found.items(), key=lambda each: (each[0][0], -len(each[1])))
    return [
        Section(outcome, advice_for(outcome, code, replacing=replacing), alike)
        for (_, outcome, code, replacing), alike in ordered
    ]


def mail_text(entries: Sequence[Entry], frame: Frame, *, summary: str = "") -> str:
    """Return the text for the entries of one cluster. A summary comes first."""
    cluster = entries[0].cluster
    where = f"HyperPod cluster {cluster}" if cluster else "HyperPod, cluster not known"
    where = "HyperPod, all clusters" if cluster == "*" else where
    parts = [summary] if summary else []
    parts.append(f"{where}, {frame.home.region}, account {frame.home.account}\n{_utc(frame.now)}")
    sections = by_section(entries)
    for section in sections:
        parts += [*_what_happened(section, frame), *_do_now(section, frame)]
        parts.append(f"    Runbook: {frame.places.runbook}#{section.anchor}")
    in_order = [entry for section in sections for entry in section.entries]
    parts += [*_look(in_order, frame), *_letters(in_order, frame)]
    return _sendable("\n\n".join(parts) + "\n")


# -- what happened


def _what_happened(section: Section, frame: Frame) -> list[str]:
    """Return the heading and what happened to each node. Nodes of which the same is to be said share a paragraph."""
    count, what = section.count, "nodes" if section.entries[0].node else "messages"
    what = "modes" if section.entries[0].mode else what
    heading = section.headline + (f" ({count} {what})" if count > 1 else "")
    alike: dict[str, list[Entry]] = {}
    for entry in section.entries:
        alike.setdefault(_said(entry, frame), []).append(entry)
    paragraphs = list(alike.items())
    shown, rest = paragraphs[:_MOST_PARAGRAPHS], paragraphs[_MOST_PARAGRAPHS:]
    parts = [heading, *("\n".join([*map(_node, of_text), said]) for said, of_text in shown)]
    if rest:
        lines = [f"    {_id(entry)}: {_short(entry.message)}" for _, of_text in rest for entry in of_text]
        parts.append("\n".join([f"And {len(lines)} more, in short (the JSON message has the full text):", *lines]))
    if section.outcome in _LETTERED and all(map(_is_over, section.entries)):
        parts.append("Nothing more happens automatically, unless a new report or request comes.")
    return parts


def _is_over(entry: Entry) -> bool:
    """Tell whether this system certainly does nothing more: else it may still watch the node after a reboot."""
    watched = entry.code in (codes.OUTCOME_UNKNOWN, codes.COOLING_DOWN, codes.UNDER_REPAIR)
    return entry.node is not None and not watched and not (entry.outcome is Outcome.FAILED and entry.reboots)


def _said(entry: Entry, frame: Frame) -> str:
    """Return what happened to an entry's node, in order: report, reboots, outcome, HyperPod's own words."""
    if entry.outcome is Outcome.DAILY_SUMMARY:
        return "\n".join(map(_wrapped, entry.history))
    lines = [_reported(entry, frame), _history(entry, frame)]
    coded = entry.code and entry.outcome is not Outcome.NOT_RECOVERED  # the heading says that, and so does the message
    if entry.history:
        lines += [f"Its latest incidents with the same reason, {entry.message}:", *entry.history]
    elif coded or entry.message != entry.trigger.reason:  # which is quoted above
        lines.append(f"{entry.code}: {entry.message}" if coded else entry.message)
    if entry.times > 1:
        lines.append(f"This happened {entry.times} times before this mail could be sent.")
    if entry.again_at and entry.outcome is Outcome.PROPOSED:
        lines.append(f"It waits for an answer until {_time(entry.again_at, frame)}.")
    elif entry.again_at:
        lines.append(f"The next try is at {_time(entry.again_at, frame)}, automatically.")
    if entry.outcome not in _OVER:
        lines.append(_in_hyperpods_words(entry))
    if entry.message_id:
        lines.append(f"Message ID on the intake queue: {entry.message_id}")
    if entry.excerpt:
        lines.append(f"The message begins: {entry.excerpt}")
    return "\n".join(_wrapped(line) for line in lines if line)


def _id(entry: Entry) -> str:
    if entry.mode:
        return f"Mode of {entry.mode.pattern}"
    if entry.outcome is Outcome.DAILY_SUMMARY:
        return f"The 24 hours until {_utc(entry.trigger.time)}"
    return entry.node.id if entry.node else "A message that names no node"


def _node(entry: Entry) -> str:
    instance, known = _instance(entry), []
    if entry.node and instance and instance != entry.node.id:
        known.append(f"instance {instance}")
    if entry.group:
        known.append(f"instance group {entry.group}")
    if entry.incident:
        known.append(f"incident {entry.incident}")
    if instance and entry.eks:
        known.append(f"Kubernetes node hyperpod-{instance}")
    return f"{_id(entry)} ({', '.join(known)})" if known else _id(entry)


def _reported(entry: Entry, frame: Frame) -> str:
    """Return when and by what the node was reported; nothing where an event could not be read."""
    trigger = entry.trigger
    if not trigger.detail_type:
        return ""
    when = _time(trigger.time, frame)
    requested = trigger.detail_type == own.REQUESTED
    said = f"Requested at {when}" if requested else f"Reported at {when} by {trigger.detail_type}"
    return f"{said}: {trigger.reason}" if trigger.reason else f"{said}."


def _history(entry: Entry, frame: Frame) -> str:
    """Return the node's latest reboots, and when HyperPod began its own repair."""
    parts = []
    if entry.reboots:
        times = [_clock(at, frame) for at in entry.reboots]
        listed = " and ".join([", ".join(times[:-1]), times[-1]] if len(times) > 1 else times)
        parts.append(f"Reboot requested by this system at {listed} UTC.")
    if entry.repair_since:
        parts.append(f"HyperPod announced its own repair at {_time(entry.repair_since, frame)}.")
    return " ".join(parts)


def _in_hyperpods_words(entry: Entry) -> str:
    """Return what HyperPod said about the node, and why that agrees with what this mail says."""
    action, advised = entry.repair_action, entry.recommendation
    quoted = [f'"{advised}"'] if advised else []
    quoted += [f"RepairAction {action}"] if action else []
    if not quoted:
        return ""
    words = ", ".join(quoted)
    words += "" if words.endswith('."') else "."
    late = " That repair has not made the node healthy in time." if entry.outcome is Outcome.NOT_RECOVERED else ""
    if action in (None, "None"):
        who = "HyperPod itself has announced no repair."
    elif entry.automatic or entry.code == codes.UNDER_REPAIR:
        return (
            f"HyperPod said: {words} HyperPod does this itself, because the cluster's NodeRecovery is Automatic.{late}"
        )
    elif entry.automatic is None and entry.code != codes.REPLACEMENT_ADVISED:
        return f"HyperPod said: {words} HyperPod does this itself if the cluster's NodeRecovery is Automatic."
    else:
        who = "HyperPod does not do this itself, because the cluster's NodeRecovery is None."
    return f"HyperPod said: {words} {who} {_why_a_reboot(entry)}".rstrip()


def _why_a_reboot(entry: Entry) -> str:
    """Return why this system reboots, or rebooted, a node of which HyperPod said something else."""
    code = entry.code
    if code == codes.REPLACEMENT_ADVISED or entry.replacing:
        return ""
    tried = entry.outcome in _LETTERED and entry.reboots and code not in (codes.OUTCOME_UNKNOWN, codes.COOLING_DOWN)
    if tried or code in (codes.REBOOT_LIMIT_REACHED, codes.NOT_RECOVERED):
        return "This system tried a reboot first, and it did not help."
    if code == codes.PROTECTED_NODE:
        return "This system reboots no protected node, so the choice is yours."
    return (
        "Where it may, this system tries a reboot first, because that is quicker than a replacement and keeps the "
        "node's volumes. If it does not help, do what HyperPod said."
    )


# -- do now


def _do_now(section: Section, frame: Frame) -> list[str]:
    """Return the advice with its commands, filled in for the section's nodes."""
    advice, entries = section.advice, section.entries
    if not advice.text:
        return []
    parts = [f"DO NOW\n{_wrapped(advice.text)}"]
    if section.outcome in (Outcome.NOT_RECOVERED, Outcome.UNVERIFIED) and not entries[0].eks:
        parts.append(_wrapped(_SLURM))
    parts += _commands(advice.command, entries, frame)
    retryable = codes.is_retryable(entries[0].code or "") and not entries[0].replacing
    if retryable and section.outcome in _LETTERED and advice.command is not Command.REPLACE:
        parts += _request(advice, entries, frame)
    return parts


def _commands(command: Command, entries: Sequence[Entry], frame: Frame) -> list[str]:
    if command is Command.RESUME:
        name = ("--name", frame.places.mode_parameter)
        return [
            _aws(frame, "ssm", "get-parameter", name),
            _aws(frame, "ssm", "put-parameter", name, ("--type", "String"), ("--overwrite", "--value", "active")),
        ]
    if command is Command.ANSWER:
        return _answers(entries, frame)
    cluster, nodes = entries[0].cluster, _taken(entries)
    if command is Command.NONE or cluster is None or not nodes:
        return []
    operation = f"batch-{command.value}-cluster-nodes"
    calls = [
        _aws(frame, "sagemaker", operation, ("--cluster-name", cluster), (option, *ids))
        for option, kind in (("--node-ids", IdKind.NODE_ID), ("--node-logical-ids", IdKind.LOGICAL_ID))
        for ids in _cut([node.id for node in nodes if node.kind is kind], _IDS_PER_CALL)
    ]
    if command is Command.REPLACE:
        return [*_drain(entries), _wrapped("Replace (this destroys the volumes of the node):"), *calls]
    return calls


def _answers(entries: Sequence[Entry], frame: Frame) -> list[str]:
    """Return the commands that approve proposed reboots, one for each incident."""
    parts = []
    for entry in entries:
        detail = f'"detail": {{"IncidentId": {json.dumps(entry.incident)}, "By": "YOUR NAME"}}'
        body = f'{{"source": "{own.SOURCE}", "detail-type": "{own.APPROVED}",\n{detail}}}'
        options = ("--queue-url", frame.places.intake_url), ("--message-body", body)
        name = f"For {_id(entry)}:\n\n" if len(entries) > 1 else ""
        parts.append(textwrap.indent(name, "    ") + _aws(frame, "sqs", "send-message", *options))
    return parts


def _drain(entries: Sequence[Entry]) -> list[str]:
    """Return how to move the work off the nodes, for the orchestrator, or for both where it is not known."""
    eks, names = entries[0].eks, _kubernetes_names(entries)
    ways = []
    if eks is not False and names:
        words = ["kubectl", "drain", *names[:_MOST_LOOKED_AT]]
        more = "  # and the others" if len(names) > _MOST_LOOKED_AT else ""
        ways.append(f"{'' if eks else 'On EKS: '}{shlex.join(words)} --ignore-daemonsets --delete-emptydir-data{more}")
    if not eks:
        ways.append(f"{'On Slurm: ' if eks is None else ''}scontrol update nodename=NAME state=drain reason=unhealthy")
    return [_wrapped("Move the work off the node:") + "".join(f"\n\n      {way}" for way in ways)] if ways else []


def _request(advice: Advice, entries: Sequence[Entry], frame: Frame) -> list[str]:
    """Return the command that requests the reboot of these nodes again, of no others.

    What names no node or no cluster can only be sent again as it came.
    """
    cluster, nodes = entries[0].cluster, _nodes(entries)
    lists = [
        f'"{field}": {_lines_of(ids)}'
        for field, kind in (("NodeIds", IdKind.NODE_ID), ("NodeLogicalIds", IdKind.LOGICAL_ID))
        if (ids := [node.id for node in nodes if node.kind is kind])
    ]
    queue = ("--queue-url", frame.places.intake_url)
    if cluster is None or not lists:
        text = (
            "The dead-letter queue has the message as it came. To try it again, put its body into a file and send it:"
        )
        return [_wrapped(text), _aws(frame, "sqs", "send-message", queue, ("--message-body", "file://body.json"))]
    reason = json.dumps(f"again after {entries[0].code}")
    body = (
        f'{{"source": "{own.SOURCE}", "detail-type": "{own.REQUESTED}",\n'
        f'"detail": {{"ClusterName": {json.dumps(cluster)}, "Reason": {reason},\n' + ",\n".join(lists) + "}}"
    )
    return [_wrapped(advice.again), _aws(frame, "sqs", "send-message", queue, ("--message-body", body))]


def _lines_of(ids: Sequence[str]) -> str:
    """Return a list of IDs as JSON with a few on each line."""
    return "[" + ",\n".join(", ".join(map(json.dumps, part)) for part in _cut(ids, _IDS_PER_LINE)) + "]"


# -- look, and tidy up


def _look(entries: Sequence[Entry], frame: Frame) -> list[str]:
    """Return where to look at the nodes that a person must care for."""
    concerned = [entry for entry in entries if entry.outcome in _LOOKED_AT]
    cluster = entries[0].cluster
    if not cluster or not concerned:
        return []
    of_cluster, nodes, names = ("--cluster-name", cluster), _taken(concerned), _kubernetes_names(concerned)
    few = 0 < len(nodes) <= _MOST_LOOKED_AT
    if few:
        ways = [_aws(frame, "sagemaker", "describe-cluster-node", of_cluster, _option(node)) for node in nodes]
    else:
        ways = [_aws(frame, "sagemaker", "list-cluster-nodes", of_cluster)]
    eks = concerned[0].eks
    if eks is not False:
        shown = f"kubectl get node {shlex.join(names)}" if few and names else "kubectl get nodes"
        ways.append(f"      {'' if eks else 'On EKS: '}{shown}")
    if not eks:
        ways.append(f"      {'On Slurm: ' if eks is None else ''}sinfo -N -l; scontrol show node NAME")
    incidents = list(dict.fromkeys(entry.incident for entry in concerned if entry.incident))
    if few and incidents:
        story = f"      hyperpod-remediation explain {incidents[0]}"
        ways.append(story + ("  # and the others" if len(incidents) > 1 else ""))
    host = _CONSOLES.get(frame.places.partition)
    if host:
        # The form that AWS's own HyperPod CLI gives (aws/sagemaker-hyperpod-cli, its test of get_training_job).
        region = frame.home.region
        place = f"sagemaker/home?region={region}#/cluster-management/{cluster}"
        ways.append(f"      Console: https://{host.format(region=region)}/{place}")
    return ["LOOK", *ways]


def _letters(entries: Sequence[Entry], frame: Frame) -> list[str]:
    """Return what becomes of the letters in the dead-letter queue, if there are any."""
    if not any(entry.outcome in _LETTERED for entry in entries):
        return []
    text = (
        "Each node or message above that failed, did not recover, was refused or could not be read has a letter in the "
        "dead-letter queue. A letter does nothing by itself and expires after 14 days. When this is settled, delete it "
        "(aws sqs delete-message), because a redrive of the whole queue tries each letter again. To read the letters:"
    )
    queue = ("--queue-url", frame.places.dead_letter_url)
    command = _aws(
        frame, "sqs", "receive-message", queue, ("--message-attribute-names", "All"), ("--max-number-of-messages", "10")
    )
    return [f"AFTERWARDS\n{_wrapped(text)}", command]


# -- parts


def _instance(entry: Entry) -> str | None:
    if entry.node and INSTANCE_ID.fullmatch(entry.node.id):
        return entry.node.id
    return entry.instance_id


def _nodes(entries: Iterable[Entry]) -> list[Node]:
    """Return the nodes, each once, by instance where that is known."""
    nodes = []
    for entry in entries:
        if instance := _instance(entry):
            nodes.append(Node(IdKind.NODE_ID, instance))
        elif entry.node:
            nodes.append(entry.node)
    return list(dict.fromkeys(nodes))


def _taken(entries: Iterable[Entry]) -> list[Node]:
    """Return the nodes whose IDs the API takes."""
    return [node for node in _nodes(entries) if node.well_formed]


def _kubernetes_names(entries: Iterable[Entry]) -> list[str]:
    return [f"hyperpod-{node.id}" for node in _taken(entries) if node.kind is IdKind.NODE_ID]


def _option(node: Node) -> tuple[str, str]:
    return ("--node-id" if node.kind is IdKind.NODE_ID else "--node-logical-id", node.id)


def _aws(frame: Frame, service: str, operation: str, *options: tuple[str, ...]) -> str:
    """Return a command of the AWS CLI with each option on a line of its own, long lists on several."""
    lines = [f"aws {service} {operation} --region {shlex.quote(frame.home.region)}"]
    for name, *values in options:
        first, *others = _cut([shlex.quote(value) for value in values], _IDS_PER_LINE)
        lines += [f"  {name} {' '.join(first)}", *(f"    {' '.join(part)}" for part in others)]
    return textwrap.indent(" \\\n".join(lines), "      ")


def _cut(items: Sequence[str], most: int) -> list[Sequence[str]]:
    return [items[start : start + most] for start in range(0, len(items), most)]


def _time(time: datetime, frame: Frame) -> str:
    return f"{_clock(time, frame)} UTC"


def _clock(time: datetime, frame: Frame) -> str:
    """Return the time of day, with the date where that is another day."""
    return f"{time:%H:%M}" if time.date() == frame.now.date() else f"{time:%Y-%m-%d %H:%M}"


def _utc(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _short(words: str) -> str:
    return textwrap.shorten(words, _SHORT, placeholder=" ...")


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
