"""Plays one captured event against a cluster and nodes made for it, and shows what became of it."""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from local.aws import PROJECT, LocalAws
from local.demo.captured import Capture, Place, Way
from local.demo.marks import heading, say, say_within
from local.demo.named import Made, make_named
from local.demo.readings import REBOOTED, REPAIRING, UNVERIFIED, Call, LogLine, Readings
from local.demo.report import show_letters, show_mail
from local.demo.setup import deploy_stack, local_aws
from local.demo.stage import SOON, listen_to_bus, subscribe_to_topic
from local.demo.watch import Watch
from local.deploy import STACK

_LOOK_SECONDS = 0.2


def replay(console: Console, capture: Capture, patience: float) -> bool:
    """Set up, play the event, show what became of it; return whether anything did."""
    say(console, "HyperPod Node Remediation: one event on a local AWS", style="bold")
    heading(console, "Setting up")
    with local_aws(console) as aws:
        outputs = deploy_stack(console, aws, SOON | _prefixes(console, capture.names.alarm))
        made = make_named(aws, capture.names)
        queues = {"topic_queue": subscribe_to_topic(aws, outputs), "bus_queue": listen_to_bus(aws)}
        watch = Watch(aws, outputs, **queues)
        heading(console, str(capture.file))
        say(console, *_summary(capture, made, _place(aws)))
        if capture.way is Way.BUS and not _rules_for(aws, capture):
            say(console, "", "No rule of the stack takes this event: it never reaches the intake queue.")
            return True
        _deliver(aws, outputs, capture)
        return _show_outcome(console, capture, _await(watch, patience), patience)


def _prefixes(console: Console, alarm: str | None) -> dict[str, str]:
    """Return a setting that lets the event's alarm in, where cdk.json would not."""
    if alarm is None:
        return {}
    settings = json.loads((PROJECT / "cdk.json").read_text())["context"]["remediation"]
    prefixes = [str(prefix) for prefix in settings.get("alarm_name_prefixes", ["hyperpod-"])]
    if alarm.startswith(tuple(prefixes)):
        return {}
    mine = alarm.partition(",")[0]  # a comma parts the prefixes
    say(console, f"alarm_name_prefixes has {mine!r} besides {', '.join(prefixes)}, so that it comes in")
    return {"remediation.alarm_name_prefixes": ",".join([*prefixes, mine])}


def _place(aws: LocalAws) -> Place:
    return Place(aws.account, aws.region)


def _summary(capture: Capture, made: Made, place: Place) -> Iterator[str]:
    moved = f", its times moved by {(datetime.now(UTC) - capture.sent).days} days" if capture.sent else ""
    yield f"event     {capture.kind}"
    yield f"comes in  {capture.way.value}{moved}"
    if capture.origin and capture.origin != place:
        yield f"account   {capture.origin} in the file, {place} here: an event of elsewhere would be refused"
    yield f"cluster   {made.cluster}{', made for it' if made.exists else ': no name that a cluster can have'}"
    yield from (f"node      {id_}, made for it" for id_ in made.known)
    yield from (f"node      {id_}: no ID that a node can have" for id_ in made.unknown)


def _rules_for(aws: LocalAws, capture: Capture) -> list[str]:
    """Return the stack's rules that match the event, by EventBridge's own judgement."""
    events = aws.client("events")
    rules = [rule for rule in events.list_rules()["Rules"] if rule["Name"].startswith(STACK)]
    rules = [rule for rule in rules if rule.get("EventPattern")]  # the sweep's has none
    envelope = {"account": aws.account, "region": aws.region, "resources": [], "version": "0", "id": "1"}
    event = json.dumps(envelope | capture.here(datetime.now(UTC), _place(aws)))
    return [
        rule["Name"]
        for rule in rules
        if events.test_event_pattern(EventPattern=rule["EventPattern"], Event=event)["Result"]
    ]


def _deliver(aws: LocalAws, outputs: Mapping[str, str], capture: Capture) -> None:
    event = capture.here(datetime.now(UTC), _place(aws))
    if capture.way is Way.BUS:
        entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
        aws.put_events(entry | {"Resources": event.get("resources", [])})
    elif capture.way is Way.QUEUE:
        aws.client("sqs").send_message(QueueUrl=outputs["IntakeQueueUrl"], MessageBody=json.dumps(event))
    else:
        aws.client("lambda").invoke(
            FunctionName=outputs["FunctionName"], InvocationType="Event", Payload=json.dumps(event)
        )


def _await(watch: Watch, patience: float) -> Readings:
    """Return the first look that shows an outcome, all that it leads to and how incidents ended, else the last one."""
    deadline = time.monotonic() + patience
    while True:
        readings = watch.look()
        if readings.log and not any(_still_open(readings)):
            return watch.look()  # the line comes last, but a look reads the log last too
        if time.monotonic() > deadline:
            return readings
        time.sleep(_LOOK_SECONDS)


def _show_outcome(console: Console, capture: Capture, readings: Readings, patience: float) -> bool:
    heading(console, "What became of it")
    if not readings.log:
        say(console, f"Nothing in {patience:.0f} s: no line of the function's log tells of an outcome.", style="red")
        return False
    reported = {(line.incident, line.outcome) for line in readings.outcomes}
    for line in readings.log:
        if line.outcome or (line.incident, line.state) not in reported:  # a line of the report says it already
            _show_line(console, line)
    if capture.names.alarm and any(line.state == UNVERIFIED for line in readings.log):
        say_within(console, "Only this one event was played: no OK of the alarm followed, which would be recovery.")
    asked = [_asked(call) for call in readings.calls] or ["BatchRebootClusterNodes was not called."]
    say(console, *asked)
    if readings.letters:
        show_letters(console, readings.letters)
    show_mail(console, readings.mails)
    unknown = list(_still_open(readings))
    say(console, *(f"{node}: how its incident ended was not seen in {patience:.0f} s." for node in unknown))
    return not unknown


def _still_open(readings: Readings) -> Iterator[str]:
    """Yield the nodes that were rebooted, or that HyperPod repairs, and whose incident's end is not seen yet."""
    nodes = [line.node for line in readings.log if line.state in (REBOOTED, REPAIRING) and line.node]
    return (node for node in dict.fromkeys(nodes) if not readings.ends_of(node))


def _show_line(console: Console, line: LogLine) -> None:
    about = f": {line.node or 'no node'}{f'  {line.code}' if line.code else ''}"
    console.print(Text.assemble((str(line.outcome or line.state), "bold"), about))
    say_within(console, line.reason)


def _asked(call: Call) -> str:
    ending = "the reboot started" if call.started else "nothing was rebooted"
    return f"BatchRebootClusterNodes was called for {', '.join(call.asked)}: {ending}."
