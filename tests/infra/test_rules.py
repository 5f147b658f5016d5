"""Tests which events the rules match: every documented one, and further ones that we expect."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ministack.services import eventbridge

from infra.rules import INSTANCE_EVENTS, NODE_HEALTH, with_clusters
from node_remediation.settings import Settings
from tests.infra.template import Template, event_rules

SAMPLES = Path(__file__).parent.parent / "samples"
Event = dict[str, Any]
UNHEALTHY = "Instance i-0391f86fa0fe0d465 is unhealthy. Repair action: Reboot."


def _sample(name: str) -> Event:
    event: Event = json.loads((SAMPLES / f"{name}.documented.json").read_text())
    return event


def _changed(name: str, **at: object) -> Event:
    """Return a sample with the values at these paths (steps joined by __) replaced; `...` removes one."""
    event = copy.deepcopy(_sample(name))
    for path, value in at.items():
        *steps, last = path.split("__")
        place = event
        for step in steps:
            place = place[step]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return event


def _instance(description: str | None, **at: object) -> Event:
    changes = {"detail__EventDetails__Description": description, **at}
    return _changed("cluster-event-lifecycle-started", **changes)


def _matching(template: Template, event: Event) -> list[str]:
    """Return the rules that match, by the local AWS's matcher, after it has checked each pattern."""
    patterns = {name: json.dumps(rule["EventPattern"]) for name, rule in event_rules(template).items()}
    assert not [name for name, pattern in patterns.items() if eventbridge._event_pattern_error(pattern)]
    view = eventbridge._event_from_test_payload(event)
    return [name for name, pattern in patterns.items() if eventbridge._matches_pattern(pattern, view)]


WHERE = "i-0391f86fa0fe0d465 in Cluster sample-cluster and IG p5Inst"
ALARM = {"detail__alarmName": "hyperpod-node-unhealthy"}
HEALTH, CLUSTER = ["RulesNodeHealth"], ["RulesInstanceEvents"]
ALARMS = ["RulesAlarms"]

CASES: dict[str, tuple[Callable[[], Event], list[str]]] = {
    "node health": (lambda: _sample("node-health"), HEALTH),
    "node health, healthy": (
        lambda: _changed("node-health", detail__HealthSummary__HealthStatus="Healthy"),
        HEALTH,
    ),
    "node health, unknown status": (
        lambda: _changed("node-health", detail__HealthSummary__HealthStatus="Degraded"),
        HEALTH,
    ),
    "node health, nulls": (
        lambda: _changed("node-health", detail__HealthSummary={"HealthStatus": "Unhealthy", "RepairAction": None}),
        HEALTH,
    ),
    "node health of another source": (lambda: _changed("node-health", source="my.sagemaker"), []),
    "instance unhealthy": (lambda: _instance(UNHEALTHY), CLUSTER),
    "instance unhealthy, level Warn": (
        lambda: _instance(UNHEALTHY, detail__EventDetails__EventLevel="Warn"),
        CLUSTER,
    ),
    "reboot in progress": (lambda: _instance(f"Reboot of EC2 Instance {WHERE} is currently in progress on"), CLUSTER),
    "reboot not submitted": (lambda: _instance(f"Failed to submit reboot request for EC2 Instance {WHERE}"), CLUSTER),
    "reboot completed": (lambda: _instance(f"Instance reboot {WHERE} completed successfully"), CLUSTER),
    "reboot failed": (lambda: _instance(f"Instance Reboot {WHERE} failed"), CLUSTER),
    "instance terminating": (lambda: _instance(f"Termination of EC2 Instance {WHERE} is currently in progress"), []),
    "cluster unhealthy": (lambda: _instance(UNHEALTHY, detail__EventDetails__ResourceType="Cluster"), []),
    "instance without a description": (lambda: _instance(None), []),
    "instance creation failed": (lambda: _sample("cluster-event-create-failed"), []),
    "instance lifecycle started": (lambda: _sample("cluster-event-lifecycle-started"), []),
    "cluster state change": (lambda: _sample("cluster-state-change"), []),
    "alarm with a prefix": (lambda: _changed("alarm-single-metric", **ALARM), ALARMS),
    "alarm into OK": (lambda: _changed("alarm-single-metric", **ALARM, detail__state__value="OK"), ALARMS),
    "alarm into INSUFFICIENT_DATA": (
        lambda: _changed("alarm-single-metric", **ALARM, detail__state__value="INSUFFICIENT_DATA"),
        [],
    ),
    "alarm unmuted": (lambda: _changed("alarm-single-metric", **ALARM, detail__muteDetail=...), ALARMS),
    "alarm by metric math": (lambda: _changed("alarm-metric-math", **ALARM), ALARMS),
    "alarm of alarms": (lambda: _changed("alarm-composite-suppressed", **ALARM), ALARMS),
    "contributor": (lambda: _changed("alarm-contributor", **ALARM), ALARMS),
    "alarm of another name": (lambda: _sample("alarm-single-metric"), []),
    "metric math of another name": (lambda: _sample("alarm-metric-math"), []),
    "alarm of alarms of another name": (lambda: _sample("alarm-composite-suppressed"), []),
    "contributor of another name": (lambda: _sample("alarm-contributor"), []),
    "prefix inside the name": (lambda: _changed("alarm-single-metric", detail__alarmName="my-hyperpod-x"), []),
    "prefix in other letters": (lambda: _changed("alarm-single-metric", detail__alarmName="HyperPod-x"), []),
    "our own alarm": (
        lambda: _changed("alarm-single-metric", detail__alarmName="HyperPodNodeRemediation-dead-letters"),
        [],
    ),
    "alarm configuration change": (
        lambda: _changed("alarm-single-metric", **ALARM, **{"detail-type": "CloudWatch Alarm Configuration Change"}),
        [],
    ),
    "direct alarm payload": (lambda: _sample("alarm-direct-to-lambda"), []),
}


@pytest.mark.parametrize(("make", "rules"), CASES.values(), ids=CASES.keys())
def test_event_matches_its_rule_and_no_other(default: Template, make: Callable[[], Event], rules: list[str]) -> None:
    """An event that two rules match would arrive twice."""
    assert _matching(default, make()) == rules


def test_every_sample_has_a_case() -> None:
    """A new sample needs a case here."""
    tried = {json.dumps(make(), sort_keys=True) for make, _ in CASES.values()}
    names = {path.name.removesuffix(".documented.json") for path in SAMPLES.glob("*.documented.json")}
    assert {name for name in names if json.dumps(_sample(name), sort_keys=True) not in tried} == set()


@pytest.mark.parametrize("name", ["hyperpod-a", "gpu/a"])
def test_alarm_with_any_of_several_prefixes_matches(full: Template, name: str) -> None:
    """A prefix may have every character that a name may have."""
    assert _matching(full, _changed("alarm-single-metric", detail__alarmName=name)) == ALARMS


def test_alarms_match_nothing_when_there_are_no_prefixes(no_alarms: Template) -> None:
    """There is no rule then, because an empty list of prefixes is an invalid pattern."""
    assert list(event_rules(no_alarms)) == [*HEALTH, *CLUSTER]
    assert _matching(no_alarms, _changed("alarm-single-metric", **ALARM)) == []


def test_rules_deliver_to_the_intake_queue_or_else_to_the_dlq(default: Template) -> None:
    """This holds for every rule but the sweep's, whose target is the function."""
    rules = event_rules(default)
    assert list(rules) == [*HEALTH, *CLUSTER, *ALARMS]
    for rule in rules.values():
        (target,) = rule["Targets"]
        assert (target["Arn"], target["DeadLetterConfig"]["Arn"]) == ("<QueuesIntake.Arn>", "<QueuesDeadLetters.Arn>")


def test_rules_deliver_no_later_than_a_report_is_fresh(default: Template, full: Template) -> None:
    """In the queue, an event that EventBridge delivered after hours would look new: it goes to the DLQ instead."""
    ages = [
        {
            target["RetryPolicy"]["MaximumEventAgeInSeconds"]
            for rule in event_rules(each).values()
            for target in rule["Targets"]
        }
        for each in (default, full)
    ]
    assert ages == [{3_600}, {86_400}]


CLUSTERS = [
    (["*"], None, ["a", "b-1", "b-", None, ...]),
    (["b-*"], None, ["b-1", "b-"]),
    (["b-*", "a"], None, ["a", "b-1", "b-"]),
    (["b**1"], None, ["b-1"]),
    (["b-*", "a"], "a", ["a", "b-1", "b-", None, ...]),
    (["a"], None, ["a", None, ...]),
    ([f"b-{number:02}-{'x' * 50}" for number in range(80)], None, ["a", "b-1", "b-", None, ...]),
]


@pytest.mark.parametrize(("clusters", "default_cluster", "matched"), CLUSTERS)
def test_events_of_other_clusters_match_no_rule(
    clusters: list[str], default_cluster: str | None, matched: list[Any]
) -> None:
    """They would make mail and letters about another team's nodes; a list that is too long is left to the function.

    A name is null or missing (...) where only the settings say which cluster is meant.
    """
    settings = Settings(clusters=tuple(clusters), default_cluster=default_cluster)
    patterns = {
        "detail__ClusterName": with_clusters(NODE_HEALTH, settings, "detail"),
        "detail__EventDetails__ClusterName": with_clusters(INSTANCE_EVENTS, settings, "detail", "EventDetails"),
    }
    for path, pattern in patterns.items():
        text = json.dumps(pattern)
        assert eventbridge._event_pattern_error(text) is None
        assert len(text) <= 2_048
        found = []
        for name in ("a", "b-1", "b-", None, ...):
            sample = _sample("node-health") if path == "detail__ClusterName" else _instance(UNHEALTHY)
            *steps, last = path.split("__")
            place = sample
            for step in steps:
                place = place[step]
            place.pop(last) if name is ... else place.update({last: name})
            if eventbridge._matches_pattern(text, eventbridge._event_from_test_payload(sample)):
                found.append(name)
        assert found == matched
