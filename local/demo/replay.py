"""Plays one captured event against a cluster and nodes made for it, and shows what became of it."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from local.aws import PROJECT, LocalAws, LocalAwsError
from local.demo.captured import Capture, CapturedOrigin, Names, Way
from local.demo.looking import Readings, Watch
from local.demo.playing import LOOK_SECONDS, deploy_stack, local_aws
from local.demo.script import CONTEXT
from local.demo.view import Screen, Work
from local.deploy import STACK
from local.staging import SimulatedCluster

_SPARE_NODES = 3  # a cluster is more than the nodes that are reported
# How it ended is to be known soon.
_SOON = CONTEXT | {
    "remediation.verify_after": "2s",
    "remediation.verify_timeout": "8s",
    "remediation.repair_timeout": "8s",
}


@dataclass(frozen=True, slots=True)
class MadeForIt:
    """Holds the cluster's name, and which of the event's IDs have a node behind them; None: no such cluster."""

    cluster: str
    known: tuple[str, ...] | None


def replay(screen: Screen, capture: Capture, patience: float) -> bool:
    """Set up, play the event, show what became of it; return whether anything did."""
    screen.say("HyperPod Node Remediation: one event on a local AWS", style="bold")
    screen.heading("Setting up: less than half a minute")
    with local_aws(screen) as aws:
        home = CapturedOrigin(aws.account, aws.region)
        outputs = deploy_stack(screen, aws, _SOON | _prefixes(screen, capture.names.alarm))
        made = _make_named(aws, capture.names)
        watch = Watch(aws, outputs)
        screen.heading(str(capture.file))
        screen.say(*_summary(capture, made, home))
        event = capture.here(datetime.now(UTC), home)
        if capture.way is Way.BUS and not _has_rule(aws, event):
            screen.say("", "No rule of the stack takes this event: it never reaches the intake queue.")
            return True
        _deliver(aws, outputs, capture.way, event)
        return _show_outcome(screen, capture, _await(screen, watch, patience), patience)


def _prefixes(screen: Screen, alarm: str | None) -> dict[str, str]:
    """Return a setting that lets the event's alarm in, where cdk.json would not."""
    settings = json.loads((PROJECT / "cdk.json").read_text())["context"]["remediation"]
    prefixes = [str(prefix) for prefix in settings.get("alarm_name_prefixes", ["hyperpod-reboot-"])]
    if alarm is None or alarm.startswith(tuple(prefixes)):
        return {}
    mine = alarm.partition(",")[0]  # a comma parts the prefixes
    screen.say(f"alarm_name_prefixes has {mine!r} besides {', '.join(prefixes)}, so that it comes in")
    return {"remediation.alarm_name_prefixes": ",".join([*prefixes, mine])}


def _make_named(aws: LocalAws, names: Names) -> MadeForIt:
    """Make the cluster and the sick nodes that the event names, as far as HyperPod could have them."""
    name = names.hyperpod or "ml-training"
    count = len(names.nodes) + len(names.logical_ids) + _SPARE_NODES
    try:
        made = SimulatedCluster.make(aws, name, nodes=count, orchestrator={"eks": names.eks or f"{name}-eks"})
    except LocalAwsError:
        return MadeForIt(name, None)
    apart = 0 if names.one_node else len(names.nodes)
    # The logical IDs first: the nodes are found by the instance IDs that they were made with.
    wanted = [("logical_id", *pair) for pair in zip(made.nodes[apart:], names.logical_ids, strict=False)]
    wanted += [("instance_id", *pair) for pair in zip(made.nodes, names.nodes, strict=False)]
    known = [id_ for key, node, id_ in wanted if _set(aws, name, node, {key: id_})]
    for id_ in known:
        # An event of its own would be one more than the captured one.
        aws.admin("POST", "/_local/hyperpod/nodes/break", {"cluster": name, "node": id_, "event": False})
    return MadeForIt(name, tuple(known))


def _set(aws: LocalAws, cluster: str, node: str, what: Mapping[str, str]) -> bool:
    """Give a node an ID of the event's; not where HyperPod has no such IDs."""
    try:
        aws.admin("POST", "/_local/hyperpod/nodes/set", {"cluster": cluster, "node": node, **what})
    except LocalAwsError:
        return False
    return True


def _summary(capture: Capture, made: MadeForIt, home: CapturedOrigin) -> Iterator[str]:
    moved = f", its times moved by {(datetime.now(UTC) - capture.sent).days} days" if capture.sent else ""
    yield f"event     {capture.kind}"
    yield f"comes in  {capture.way.value}{moved}"
    if capture.origin and capture.origin != home:
        yield f"account   {capture.origin} in the file, {home} here: an event of elsewhere would be refused"
    yield f"cluster   {made.cluster}{': no name that a cluster can have' if made.known is None else ', made for it'}"
    for id_ in (*capture.names.nodes, *capture.names.logical_ids):
        yield f"node      {id_}{', made for it' if id_ in (made.known or ()) else ': no ID that a node can have'}"


def _has_rule(aws: LocalAws, event: Mapping[str, object]) -> bool:
    """Tell whether a rule of the stack matches the event, by EventBridge's own judgement."""
    events = aws.client("events")
    patterns = [
        rule["EventPattern"]
        for rule in events.list_rules()["Rules"]
        if rule["Name"].startswith(STACK) and rule.get("EventPattern")  # the sweep's has none
    ]
    envelope = {"account": aws.account, "region": aws.region, "resources": [], "version": "0", "id": "1"}
    whole = json.dumps(envelope | dict(event))
    return any(events.test_event_pattern(EventPattern=pattern, Event=whole)["Result"] for pattern in patterns)


def _deliver(aws: LocalAws, outputs: Mapping[str, str], way: Way, event: Mapping[str, object]) -> None:
    if way is Way.BUS:
        entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
        aws.put_events(entry | {"Resources": event.get("resources", [])})
    elif way is Way.QUEUE:
        aws.client("sqs").send_message(QueueUrl=outputs["IntakeQueueUrl"], MessageBody=json.dumps(event))
    else:
        invoked = {"FunctionName": outputs["FunctionName"], "InvocationType": "Event"}
        aws.client("lambda").invoke(**invoked, Payload=json.dumps(event))


def _await(screen: Screen, watch: Watch, patience: float) -> Readings:
    """Return the first look that shows an outcome, all that it leads to and how incidents ended, else the last one."""
    deadline = time.monotonic() + patience
    with screen.work(Work("one event", "until its incident has ended")):
        while time.monotonic() < deadline:
            readings = watch.look()
            if readings.log and not any(_still_open(readings)):
                break
            time.sleep(LOOK_SECONDS)
        return watch.look()  # the line comes last, but a look reads the log last too


def _show_outcome(screen: Screen, capture: Capture, seen: Readings, patience: float) -> bool:
    screen.heading("What became of it")
    if not seen.log:
        screen.say(f"Nothing in {patience:.0f} s: no line of the function's log tells of an outcome.", style="red")
        return False
    reported = {(line["incident"], line["outcome"]) for line in seen.log}
    for line in seen.log:
        if line["outcome"] or (line["incident"], line["state"]) not in reported:  # a line of the report says it already
            word, code = line["outcome"] or line["state"], f"  {line['code']}" if line["code"] else ""
            screen.show(
                [("bold", f"{word}: {line['node'] or 'no node'}{code}"), ("dim", f"    {line['reason'] or ''}")]
            )
    if capture.names.alarm and any(line["state"] == "unverified" for line in seen.log):
        screen.say("    Only this one event was played: no OK of the alarm followed, which would be recovery.")
    for call in seen.calls:
        ending = "the reboot started" if call.started else "nothing was rebooted"
        screen.say(f"BatchRebootClusterNodes was called for {', '.join(call.asked)}: {ending}.")
    if not seen.calls:
        screen.say("BatchRebootClusterNodes was not called.")
    if seen.letters:
        screen.letters(seen.letters)
    for mail in seen.mails:
        screen.mail(mail)
    unknown = list(_still_open(seen))
    screen.say(*(f"{node}: how its incident ended was not seen in {patience:.0f} s." for node in unknown))
    return not unknown


def _still_open(seen: Readings) -> Iterator[str]:
    """Yield the nodes that were rebooted, or that HyperPod repairs, and whose incident's end is not seen yet."""
    nodes = [line["node"] for line in seen.log if line["state"] in ("rebooted", "repairing") and line["node"]]
    return (node for node in dict.fromkeys(nodes) if not seen.ends_of(node))
