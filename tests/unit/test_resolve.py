"""Which alarms a composite alarm leads to; the rest of resolving is told in test_remediate.py."""

from typing import Any

from node_remediation.model import Alarm, Case, Composite, Trigger
from node_remediation.resolve import Resolver
from node_remediation.settings import Settings
from tests.unit.fakes import NOW, FakeAlarms, FakeClusters, instance_id, message

PREFIX = "arn:aws:cloudwatch:us-west-2:111122223333:alarm:"
TRIGGER = Trigger("aws.cloudwatch", "CloudWatch Alarm State Change", "event-1", NOW)


def metric_alarm(name: str, node: int) -> dict[str, Any]:
    dimensions = {"InstanceId": instance_id(node), "HyperPodClusterName": "ml-a"}
    pairs = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return {"AlarmName": name, "AlarmArn": PREFIX + name, "StateValue": "ALARM", "Dimensions": pairs}


def composite(name: str, *children: str) -> dict[str, Any]:
    triggering = ", ".join(f'{{"arn": "{PREFIX}{child}"}}' for child in children)
    return {"AlarmName": name, "AlarmRule": "rule", "StateReasonData": f'{{"triggeringAlarms": [{triggering}]}}'}


def nodes(alarms: FakeAlarms, *children: str) -> list[str | None]:
    """The nodes that a composite alarm with these children leads to."""
    resolver = Resolver(settings=Settings(), clusters=FakeClusters(), alarms=alarms)
    top = Composite(TRIGGER, Alarm("top"), tuple(PREFIX + child for child in children))
    cases = [part for part in resolver.resolve(message({}), top) if isinstance(part, Case)]
    return [case.node.id if case.node else None for case in cases]


def test_alarm_with_an_arns_part_in_its_name_is_found() -> None:
    """A name may hold almost anything, `:alarm:` too."""
    assert nodes(FakeAlarms([metric_alarm("gpu:alarm:xid", 1)]), "gpu:alarm:xid") == [instance_id(1)]


def test_child_of_two_composites_is_asked_for_and_reported_once() -> None:
    """Two roads to one alarm are one node."""
    alarms = FakeAlarms([composite("a", "leaf"), composite("b", "leaf"), metric_alarm("leaf", 1)])
    assert nodes(alarms, "a", "b") == [instance_id(1)]
    assert alarms.asked == [["a", "b"], ["leaf"]]
