"""Tests which events the rules match: every documented one, and further ones that we expect."""

import json
from pathlib import Path
from typing import Any

import pytest
from ministack.services import eventbridge

from infra.rules import INSTANCE_EVENTS, NODE_HEALTH, with_clusters
from node_remediation.settings import Settings
from tests.infra.template import Template, event_rules

SAMPLES = Path(__file__).parent.parent / "samples"
Event = dict[str, Any]
LONGEST_PATTERN = 2_048


def _event(name: str, **at: object) -> Event:
    """Return a sample with the values at these paths (steps joined by __) replaced; `...` removes one."""
    event: Event = json.loads((SAMPLES / f"{name}.documented.json").read_text())
    for path, value in at.items():
        *steps, last = path.split("__")
        place = event
        for step in steps:
            place = place[step]
        place[last] = value
        if value is ...:
            del place[last]
    return event


def _matches(pattern: str, event: Event) -> bool:
    """Match by the local AWS's matcher, after it has checked the pattern."""
    assert eventbridge._event_pattern_error(pattern) is None
    assert len(pattern) <= LONGEST_PATTERN
    return bool(eventbridge._matches_pattern(pattern, eventbridge._event_from_test_payload(event)))


def _matching(template: Template, event: Event) -> list[str]:
    patterns = {name: json.dumps(rule["EventPattern"]) for name, rule in event_rules(template).items()}
    return [name for name, pattern in patterns.items() if _matches(pattern, event)]


def _named(name: str) -> dict[str, object]:
    return {"detail__alarmName": name}


def _described(description: str | None) -> dict[str, object]:
    return {"detail__EventDetails__Description": description}


ALARM = _named("hyperpod-reboot-node-unhealthy")
UNHEALTHY = _described("Instance i-0391f86fa0fe0d465 is unhealthy. Repair action: Reboot.")
WHERE = "i-0391f86fa0fe0d465 in Cluster sample-cluster and IG p5Inst"
NULLS = {"HealthStatus": "Unhealthy", "RepairAction": None}
HEALTH, CLUSTER, ALARMS = ["RulesNodeHealth"], ["RulesInstanceEvents"], ["RulesAlarms"]
LIFECYCLE, METRIC = "cluster-event-lifecycle-started", "alarm-single-metric"
# For each sample, what is changed in it and the rules that then match.
CASES: dict[str, list[tuple[dict[str, object], list[str]]]] = {
    "node-health": [
        ({}, HEALTH),
        ({"detail__HealthSummary__HealthStatus": "Healthy"}, HEALTH),
        ({"detail__HealthSummary__HealthStatus": "Degraded"}, HEALTH),
        ({"detail__HealthSummary": NULLS}, HEALTH),
        ({"source": "my.sagemaker"}, []),
    ],
    LIFECYCLE: [
        ({}, []),
        (UNHEALTHY, CLUSTER),
        ({**UNHEALTHY, "detail__EventDetails__EventLevel": "Warn"}, CLUSTER),
        ({**UNHEALTHY, "detail__EventDetails__ResourceType": "Cluster"}, []),
        (_described(None), []),
        (_described(f"Reboot of EC2 Instance {WHERE} is currently in progress on"), CLUSTER),
        (_described(f"Failed to submit reboot request for EC2 Instance {WHERE}"), CLUSTER),
        (_described(f"Instance reboot {WHERE} completed successfully"), CLUSTER),
        (_described(f"Instance Reboot {WHERE} failed"), CLUSTER),
        (_described(f"Termination of EC2 Instance {WHERE} is currently in progress"), []),
    ],
    "cluster-event-create-failed": [({}, [])],
    "cluster-state-change": [({}, [])],
    METRIC: [
        ({}, []),
        (ALARM, ALARMS),
        ({**ALARM, "detail__state__value": "OK"}, ALARMS),
        ({**ALARM, "detail__state__value": "INSUFFICIENT_DATA"}, []),
        ({**ALARM, "detail__muteDetail": ...}, ALARMS),
        ({**ALARM, "detail-type": "CloudWatch Alarm Configuration Change"}, []),
        (_named("hyperpod-gpu-idle"), []),
        (_named("my-hyperpod-reboot-x"), []),
        (_named("HyperPod-Reboot-x"), []),
        (_named("HyperPodNodeRemediation-undelivered"), []),
    ],
    "alarm-metric-math": [({}, []), (ALARM, ALARMS)],
    "alarm-composite-suppressed": [({}, []), (ALARM, ALARMS)],
    "alarm-contributor": [({}, []), (ALARM, ALARMS)],
    "alarm-direct-to-lambda": [({}, [])],
}


@pytest.mark.parametrize(
    ("name", "changes", "rules"), [(name, *case) for name, cases in CASES.items() for case in cases]
)
def test_event_matches_its_rule_and_no_other(
    default: Template, name: str, changes: dict[str, object], rules: list[str]
) -> None:
    """An event that two rules match would arrive twice."""
    assert _matching(default, _event(name, **changes)) == rules


def test_every_sample_has_a_case() -> None:
    """A new sample needs a case here."""
    assert set(CASES) == {path.name.removesuffix(".documented.json") for path in SAMPLES.glob("*.documented.json")}


@pytest.mark.parametrize("name", ["hyperpod-reboot-a", "gpu/a"])
def test_alarm_with_any_of_several_prefixes_matches(full: Template, name: str) -> None:
    """A prefix may have every character that a name may have."""
    assert _matching(full, _event(METRIC, **_named(name))) == ALARMS


def test_alarms_match_nothing_when_there_are_no_prefixes(no_alarms: Template) -> None:
    """There is no rule then, because an empty list of prefixes is an invalid pattern."""
    assert list(event_rules(no_alarms)) == [*HEALTH, *CLUSTER]
    assert _matching(no_alarms, _event(METRIC, **ALARM)) == []


def test_rules_deliver_to_the_intake_queue_or_else_to_the_undelivered(default: Template) -> None:
    """This holds for every rule but the sweep's, whose target is the function."""
    rules = event_rules(default)
    assert list(rules) == [*HEALTH, *CLUSTER, *ALARMS]
    for rule in rules.values():
        (target,) = rule["Targets"]
        assert (target["Arn"], target["DeadLetterConfig"]["Arn"]) == ("<QueuesIntake.Arn>", "<QueuesUndelivered.Arn>")


def test_rules_deliver_no_later_than_a_report_is_fresh(default: Template, full: Template) -> None:
    """In the queue, an event that EventBridge delivered after hours would look new: it is undelivered instead."""
    ages = [
        {
            target["RetryPolicy"]["MaximumEventAgeInSeconds"]
            for rule in event_rules(each).values()
            for target in rule["Targets"]
        }
        for each in (default, full)
    ]
    assert ages == [{3_600}, {86_400}]


MANY = [f"b-{number:02}-{'x' * 50}" for number in range(80)]


@pytest.mark.parametrize(
    ("clusters", "default_cluster", "matched"),
    [
        (["*"], None, ["a", "b-1", "b-", None, ...]),
        (["b-*"], None, ["b-1", "b-"]),
        (["b-*", "a"], None, ["a", "b-1", "b-"]),
        (["b**1"], None, ["b-1"]),
        (["b-*", "a"], "a", ["a", "b-1", "b-", None, ...]),
        (["a"], None, ["a", None, ...]),
        (MANY, None, ["a", "b-1", "b-", None, ...]),
    ],
)
def test_events_of_other_clusters_match_no_rule(
    clusters: list[str], default_cluster: str | None, matched: list[Any]
) -> None:
    """They would make mail and letters about another team's nodes; a list that is too long is left to the function.

    A name is null or missing (...) where only the settings say which cluster is meant.
    """
    settings = Settings(clusters=tuple(clusters), default_cluster=default_cluster)
    health = json.dumps(with_clusters(NODE_HEALTH, settings, "detail"))
    instance = json.dumps(with_clusters(INSTANCE_EVENTS, settings, "detail", "EventDetails"))
    for name in ("a", "b-1", "b-", None, ...):
        of_health = _event("node-health", detail__ClusterName=name)
        of_instance = _event(LIFECYCLE, **UNHEALTHY, detail__EventDetails__ClusterName=name)
        assert _matches(health, of_health) == _matches(instance, of_instance) == (name in matched)
